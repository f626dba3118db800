"""TFDS builder of COVID-19-CT100: 100 CT slices of COVID-19 patients with lesion masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from absl import logging
from etils import epath

from jcs_datasets.common.contract import UNKNOWN_INDEX, gray8_picture, slice_features, slice_metadata
from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.pictures import read_gray, read_mask
from jcs_datasets.covid19_ct100.layout import Layout, Slice, read_clean, read_official

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


class Builder(tfds.core.GeneratorBasedBuilder):
    """COVID-19-CT100 from a local copy in the official layout, given as `manual_dir`.

    The whole copy is checked before anything is written; what is wrong raises `SourceError`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Published lists, and five disjoint folds."}  # noqa: RUF012  TFDS's own convention
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

    def download_and_prepare(
        self, *, download_config: tfds.download.DownloadConfig | None = None, **options: Any
    ) -> None:
        """As in TFDS, after checking the source, so that a bad one leaves nothing behind.

        Args:
          download_config: its `manual_dir` is the local copy.
          **options: passed on to TFDS.

        Raises:
          SourceError: the first thing that is wrong with the copy.
        """
        config = download_config or tfds.download.DownloadConfig()
        if not self.data_path.exists() or config.download_mode.overwrite_dataset:
            if not config.manual_dir:
                raise SourceError("covid19_ct100: no source folder given; name your copy with --source (manual_dir)")
            self._layout = self._read_layout(Path(config.manual_dir).expanduser())
        super().download_and_prepare(download_config=config, **options)

    def _read_layout(self, folder: Path) -> Layout:
        config: Covid19Ct100Config = self.builder_config
        return read_clean(folder, folds=config.folds, seed=config.seed) if config.folds else read_official(folder)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[str, dict]]]:
        del dl_manager  # nothing is downloaded, and the source has been read
        if self._layout.warning:
            logging.warning("%s: %s", self.info.full_name, self._layout.warning)
        self.info.metadata["warning"] = self._layout.warning
        self.info.metadata["source_digest"] = self._layout.digest
        return {split: self._generate_examples(slices) for split, slices in self._layout.splits.items()}

    def _generate_examples(self, slices: Sequence[Slice]) -> Iterator[tuple[str, dict]]:
        for item in slices:
            yield (
                item.name,
                {
                    "image": gray8_picture(read_gray(item.entry.image, str(item.entry.image))),
                    "mask": gray8_picture(read_mask(item.entry.mask, str(item.entry.mask))),
                    "label": INFECTED,
                    "patient": "",
                    "name": item.name,
                    "slice_index": UNKNOWN_INDEX,
                },
            )
