"""TFDS builder of COVID-SemiSeg: 50 CT slices with lesion masks, and 1,600 slices of 20 volumes without."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tensorflow_datasets as tfds
from etils import epath

from jcs_datasets.common.splits import TRAIN
from jcs_datasets.covid_semiseg.layout import read_semiseg
from jcs_datasets.ct_manifest.manifest_builder import ManifestBuilder, ManifestConfig
from jcs_datasets.ct_manifest.rows import Row


class Builder(ManifestBuilder):
    """COVID-SemiSeg from a local copy given as `manual_dir`; with `folds`, its training slices in folds."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Lesion masks, and the slices of volumes."}  # noqa: RUF012  TFDS's own convention
    MANUAL_DOWNLOAD_INSTRUCTIONS = "manual_dir must hold TrainingSet, and may hold TestingSet."
    BUILDER_CONFIGS = [  # noqa: RUF012  TFDS's own convention
        ManifestConfig(name="default", description="Splits train and unlabelled, and test where it lies there."),
    ]
    code_path = epath.Path(__file__)
    pkg_dir_path = code_path.parent
    HOMEPAGE = "https://github.com/DengPingFan/Inf-Net"
    LICENCE = "non-commercial use only, as the source states; for research, not part of this project"
    LABEL_POLICY = "every slice is of a patient with COVID-19, so label is 1, also where no lesion shows"
    SPLIT_NOTE = (
        "train and test are slices of COVID-19-CT100, the same pictures as in covid19_ct100 but transposed and cropped "
        "to the lungs, of unknown patients; unlabelled are slices of 20 volumes without masks, of 18 cases that count "
        "as patients"
    )

    def list_rows(self, source: Path) -> list[Row]:
        """The slices with masks, and those of the volumes."""
        rows = read_semiseg(source)
        if "folds" in self.options:
            rows = [dataclasses.replace(row, split="") if row.split == TRAIN else row for row in rows]
        return rows
