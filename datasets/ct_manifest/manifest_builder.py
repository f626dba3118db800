"""The builder behind every data set that is a list of pictures or volumes."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import tensorflow_datasets as tfds
from absl import logging

from jcs_datasets.common.builder import SourceBuilder
from jcs_datasets.common.contract import slice_features, slice_metadata
from jcs_datasets.common.splits import TEST, TRAIN, UNLABELLED, VALIDATION
from jcs_datasets.ct_manifest.reading import CheckedRow, check_row, row_examples
from jcs_datasets.ct_manifest.rows import Row
from jcs_datasets.ct_manifest.splitting import Splits, choose_splits
from jcs_datasets.ct_manifest.tables import manifest_text, write_manifest


@dataclasses.dataclass(eq=False, kw_only=True)
class ManifestConfig(tfds.core.BuilderConfig):
    """What is stored of a slice.

    Attributes:
      encoding: `gray8` for 8-bit pictures, `hu16` for HU.
    """

    encoding: Literal["gray8", "hu16"] = "gray8"


class ManifestBuilder(SourceBuilder, skip_registration=True):
    """Builds rows; a subclass says in `list_rows` which, and in constants what is to be known of them.

    Options: `folds`, as many folds in place of train, validation and test; `seed` of the assignment; `manifest`,
    a CSV file to which the rows are written with their splits when all is built.
    """

    OPTIONS = ("folds", "seed", "manifest")
    HOMEPAGE = ""
    LICENCE = ""
    LABEL_POLICY = ""
    SPLIT_NOTE = ""  # what the data set adds to where its splits come from
    _manifest: tuple[Path, str] | None = None

    def list_rows(self, source: Path) -> list[Row]:
        """The rows that a source holds.

        Raises:
          SourceError: the first thing that is wrong with its lists or folders.
        """
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        encoding = self.builder_config.encoding
        return self.dataset_info_from_configs(
            features=slice_features(encoding),
            homepage=self.HOMEPAGE,
            disable_shuffling=True,
            metadata=slice_metadata(
                encoding,
                licence=self.LICENCE,
                label_policy=self.LABEL_POLICY,
                split_note=self.SPLIT_NOTE,
                conversion_note="",
            ),
        )

    def read_source(self, source: Path) -> None:
        """Lists the rows, reads every file they name, and gives them their splits."""
        rows = self.list_rows(source)
        self._checked = [check_row(row, self.builder_config.encoding) for row in rows]
        self._splits = choose_splits(
            self._checked, folds=self.options.get("folds"), seed=self.options.get("seed"), source=str(source)
        )
        if "manifest" in self.options:
            target = Path(self.options["manifest"]).expanduser()
            self._manifest = target, manifest_text(target, rows, self._splits.names)

    def download_and_prepare(self, **arguments: Any) -> None:
        """As in `SourceBuilder`; the manifest is written last, when there is something that it describes."""
        super().download_and_prepare(**arguments)
        if self._manifest:
            write_manifest(*self._manifest)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[str, dict]]]:
        del dl_manager  # nothing is downloaded, and the source has been read
        metadata = self.info.metadata
        metadata["split_note"] = "; ".join(filter(None, (self._splits.note, self.SPLIT_NOTE)))
        metadata["warning"] = self._splits.warning
        metadata["source_digest"] = _digest(self._checked, self._splits)
        coloured = sum(item.coloured for item in self._checked)
        if coloured:
            metadata["conversion_note"] = (
                f"{coloured} of {len(self._checked)} pictures had colour (unequal channels) and were converted to grey"
            )
        if self._splits.warning:
            logging.warning("%s: %s", self.info.full_name, self._splits.warning)
        items: dict[str, list[CheckedRow]] = {}
        for item, split in zip(self._checked, self._splits.names, strict=True):
            items.setdefault(split, []).append(item)
        return {split: self._generate_examples(items[split]) for split in sorted(items, key=_rank)}

    def _generate_examples(self, items: Sequence[CheckedRow]) -> Iterator[tuple[str, dict]]:
        for item in items:
            yield from row_examples(item, self.builder_config.encoding)


def _rank(split: str) -> tuple[int, int, str]:
    """Train before validation before test, folds by their numbers."""
    known = (TRAIN, VALIDATION, TEST, UNLABELLED)
    return (known.index(split) if split in known else len(known), len(split), split)


def _digest(checked: Sequence[CheckedRow], splits: Splits) -> str:
    """SHA-256 over names, pictures and splits."""
    lines = [" ".join((split, item.row.name, *item.digests)) for item, split in zip(checked, splits.names, strict=True)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
