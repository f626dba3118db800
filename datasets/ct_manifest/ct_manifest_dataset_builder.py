"""TFDS builder of CT slices of your own: from one CSV file, or from class folders."""

from __future__ import annotations

from pathlib import Path

import tensorflow_datasets as tfds
from etils import epath

from jcs_datasets.common.errors import SourceError
from jcs_datasets.ct_manifest.class_folders import read_class_folders
from jcs_datasets.ct_manifest.manifest_builder import ManifestBuilder, ManifestConfig
from jcs_datasets.ct_manifest.rows import Row
from jcs_datasets.ct_manifest.tables import read_manifest

MANIFEST = "manifest.csv"


class Builder(ManifestBuilder):
    """Your own slices, listed in the CSV file, or lying in the class folders, that `manual_dir` names."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {  # noqa: RUF012  TFDS's own convention
        "1.0.0": "Pictures, DICOM and NIfTI, by CSV or class folders.",
        "1.1.0": "Millimetres between rows and columns, where the file or the manifest tells them.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir must be a CSV file with the column image and any of mask, label, patient, split, source, "
        "row_spacing and column_spacing; or a folder with such a manifest.csv; or a folder of class folders."
    )
    BUILDER_CONFIGS = [  # noqa: RUF012  TFDS's own convention
        ManifestConfig(name="pictures", description="8-bit pictures: PNG, JPEG, BMP, TIFF."),
        ManifestConfig(name="hounsfield", description="HU from DICOM and NIfTI.", encoding="hu16"),
    ]
    code_path = epath.Path(__file__)
    pkg_dir_path = code_path.parent
    SOURCE_MEANING = "CSV file, or the folder of class folders"
    LICENCE = "that of your own files; not part of this project"
    LABEL_POLICY = (
        "the manifest's own: 1 infected, 0 uninfected, -1 not told; the label of a volume is given to each of "
        "its slices"
    )

    def list_rows(self, source: Path) -> list[Row]:
        """The rows of the CSV file, or of the class folders."""
        if source.is_file():
            return read_manifest(source)
        if not source.is_dir():
            raise SourceError(f"{source}: is neither a file nor a folder; name your CSV file with --source")
        return read_manifest(source / MANIFEST) if (source / MANIFEST).is_file() else read_class_folders(source)
