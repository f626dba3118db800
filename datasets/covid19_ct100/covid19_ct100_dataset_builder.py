"""TFDS builder of COVID-19-CT100: 100 CT slices of COVID-19 patients with lesion masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from absl import logging
from etils import epath

from jcs_datasets.common.builder import SourceBuilder
from jcs_datasets.common.contract import slice_features, slice_metadata
from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.pictures import read_gray, read_mask
from jcs_datasets.common.records import Record, gray8_example
from jcs_datasets.covid19_ct100.download import download_copy
from jcs_datasets.covid19_ct100.layout import Slice, read_clean, read_official

INFECTED = 1


@dataclasses.dataclass(eq=False, kw_only=True)
class Covid19Ct100Config(tfds.core.BuilderConfig):
    """How the slices are split.

    Attributes:
      folds: number of disjoint folds; 0 keeps the published lists.
      seed: of the assignment to folds.
    """

    folds: int = 0
    seed: int = 0


class Builder(SourceBuilder):
    """COVID-19-CT100 from a local copy in the official layout, given as `manual_dir`, or fetched from its public home.

    The whole copy is checked before anything is written; what is wrong raises `SourceError`. The network is
    used only where the option `download` is true; `mirror` is the URL of another web folder with the same files.
    """

    SOURCE_MEANING = "folder of your copy"
    OPTIONS = ("download", "mirror")

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {  # noqa: RUF012  TFDS's own convention
        "1.0.0": "Published lists, and five disjoint folds.",
        "1.1.0": "Digest, size, file type and lesions of each slice; two copies of one picture share a fold.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir must hold the lists (all.txt, or train.txt and test.txt) and the files they name: "
        "tr_im/*.png and tr_mask_new/*.png."
    )
    BUILDER_CONFIGS = [  # noqa: RUF012  TFDS's own convention
        Covid19Ct100Config(name="clean", description="Every listed slice once, in five disjoint folds.", folds=5),
        Covid19Ct100Config(name="official", description="The published lists; test lies inside train."),
    ]
    # Said outright: TFDS cannot find the folder of an editable install without datasets/__init__.py.
    code_path = epath.Path(__file__)
    pkg_dir_path = code_path.parent

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=slice_features("gray8"),
            homepage="https://medicalsegmentation.com/covid19/",
            disable_shuffling=True,
            metadata=slice_metadata(
                "gray8",
                licence="as the source of your copy states it (MedSeg, slices from SIRM); not part of this project",
                label_policy="every slice is of a patient with COVID-19, so label is 1, also where no lesion shows",
                split_note="patients are unknown: slices of one patient may be in two splits",
            ),
        )

    def download_and_prepare(self, *, download_dir: epath.PathLike | None = None, **arguments: Any) -> None:
        """As in TFDS, after checking the source, or fetching and checking it.

        Args:
          download_dir: keeps what is downloaded, for other configs too; by default `downloads` in the data_dir.
          **arguments: as of `SourceBuilder`.

        Raises:
          SourceError: the first thing that is wrong with the source or on the way to it.
        """
        self._downloads = Path(download_dir or self.data_dir_root / "downloads").expanduser()
        super().download_and_prepare(**arguments)

    def locate_source(self, manual_dir: Path | None) -> Path:
        """The copy that is given, or the one that is downloaded now."""
        mirror = self.options.get("mirror")
        if self.options.get("download"):
            if manual_dir is not None:
                raise SourceError(f"{self.name}: --download and --source are both given; keep one of the two")
            return download_copy(self._downloads, mirror)
        if mirror is not None:
            raise SourceError(f"{self.name}: --mirror says where to download from; add --download")
        if manual_dir is None:
            raise SourceError(
                f"{self.name}: no source given; name the {self.SOURCE_MEANING} with --source, or add --download to "
                "fetch it from its public home"
            )
        return manual_dir

    def read_source(self, source: Path) -> None:
        """Reads the lists and checks every file they name."""
        config: Covid19Ct100Config = self.builder_config
        self._layout = (
            read_clean(source, folds=config.folds, seed=config.seed) if config.folds else read_official(source)
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[str, dict]]]:
        del dl_manager  # the source has been read
        if self._layout.warning:
            logging.warning("%s: %s", self.info.full_name, self._layout.warning)
        self.info.metadata["warning"] = self._layout.warning
        self.info.metadata["source_digest"] = self._layout.digest
        return {split: self._generate_examples(slices) for split, slices in self._layout.splits.items()}

    def _generate_examples(self, slices: Sequence[Slice]) -> Iterator[tuple[str, dict]]:
        for item in slices:
            image, mask = item.entry.image, item.entry.mask
            record = Record(name=item.name, label=INFECTED, file_type=image.suffix.lower().lstrip("."))
            yield item.name, gray8_example(record, read_gray(image, str(image)), read_mask(mask, str(mask)))
