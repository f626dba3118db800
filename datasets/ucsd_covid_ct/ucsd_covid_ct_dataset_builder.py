"""TFDS builder of UCSD COVID-CT: CT figures of papers and teaching collections, COVID against other findings."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tensorflow_datasets as tfds
from etils import epath

from jcs_datasets.common.errors import SourceError
from jcs_datasets.ct_manifest.manifest_builder import ManifestBuilder, ManifestConfig
from jcs_datasets.ct_manifest.rows import Row
from jcs_datasets.ct_manifest.tables import read_manifest
from jcs_datasets.ucsd_covid_ct.layout import LISTS, read_official, source_of

MANIFEST = "manifest.csv"


class Builder(ManifestBuilder):
    """UCSD COVID-CT from a local copy given as `manual_dir`, in its official splits; with `folds`, in folds instead."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Official splits, or folds."}  # noqa: RUF012  TFDS's own convention
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir must hold the official Data-split lists and the unzipped Images-processed folders, or a "
        "manifest.csv with path, label, patient and split."
    )
    BUILDER_CONFIGS = [  # noqa: RUF012  TFDS's own convention
        ManifestConfig(name="default", description="Every listed picture, converted to grey."),
    ]
    code_path = epath.Path(__file__)
    pkg_dir_path = code_path.parent
    HOMEPAGE = "https://github.com/UCSD-AI4H/COVID-CT"
    LICENCE = (
        "the pictures belong to the authors and publishers of the papers they were cut from, as the source states; for "
        "research only, not part of this project"
    )
    LABEL_POLICY = (
        "1: a figure that its paper's caption calls COVID-19; 0: other CT figures, from papers and MedPix, mostly of "
        "other diseases: non-COVID is not healthy"
    )
    SPLIT_NOTE = (
        "the classes come from different sources: the score of the mean brightness alone shows how far a model may "
        "have learned those"
    )

    def list_rows(self, source: Path) -> list[Row]:
        """Rows of manifest.csv, or of the official lists."""
        if (source / MANIFEST).is_file():
            rows = [_with_source(row) for row in read_manifest(source / MANIFEST)]
        elif (source / LISTS).is_dir():
            rows = read_official(source)
        else:
            raise SourceError(
                f"{source}: has neither {LISTS} nor {MANIFEST}; --source must be your copy of UCSD COVID-CT"
            )
        return [dataclasses.replace(row, split="") for row in rows] if "folds" in self.options else rows


def _with_source(row: Row) -> Row:
    return row if row.source else dataclasses.replace(row, source=source_of(row.image.name, row.patient, row.label))
