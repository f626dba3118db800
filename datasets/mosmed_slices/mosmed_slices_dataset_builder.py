"""TFDS builder of MosMedData slices: one CT slice a study, in the folders of their categories CT-0 to CT-4."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import tensorflow_datasets as tfds
from etils import epath

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.text_lists import inside
from jcs_datasets.ct_manifest.manifest_builder import ManifestBuilder, ManifestConfig
from jcs_datasets.ct_manifest.rows import Row, check_distinct

_CATEGORY = re.compile(r"CT-[0-4]")
_UNINFECTED = "CT-0"


@dataclasses.dataclass(eq=False, kw_only=True)
class MosMedConfig(ManifestConfig):
    """Which categories are read.

    Attributes:
      left_out: category folders that are passed over.
    """

    left_out: tuple[str, ...] = ()


class Builder(ManifestBuilder):
    """MosMedData slices from a local copy given as `manual_dir`; splits are assigned, stratified by category."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "CT-0 to CT-4, one slice a study."}  # noqa: RUF012  TFDS's own convention
    MANUAL_DOWNLOAD_INSTRUCTIONS = "manual_dir must hold folders CT-0, CT-1, ... of pictures, one a study."
    BUILDER_CONFIGS = [  # noqa: RUF012  TFDS's own convention
        MosMedConfig(name="default", description="Every category."),
        MosMedConfig(
            name="ct0_ct2",
            description="Without CT-1, of which many slices show no lesion.",
            left_out=("CT-1",),
        ),
    ]
    code_path = epath.Path(__file__)
    pkg_dir_path = code_path.parent
    HOMEPAGE = "https://mosmed.ai/en/datasets/covid191110"
    LICENCE = "CC BY-NC-ND 3.0, as the source states; for research only, not part of this project"
    LABEL_POLICY = (
        "the study's category: 0 for CT-0 (no sign of viral pneumonia), 1 for CT-1 and more; it is the study's and not "
        "the slice's, and a CT-1 slice often shows no lesion"
    )
    SPLIT_NOTE = "one slice a study, and a study counts as a patient"

    def list_rows(self, source: Path) -> list[Row]:
        """A row for each picture; its category is the first part of its name."""
        folders = sorted(path for path in source.iterdir() if _CATEGORY.fullmatch(path.name)) if source.is_dir() else []
        folders = [folder for folder in folders if folder.name not in self.builder_config.left_out]
        rows = [row for folder in folders for row in _category_rows(source.resolve(), folder)]
        if len({row.label for row in rows}) < 2:
            raise SourceError(
                f"{source}: holds no pictures in {_UNINFECTED} and in another of CT-1 to CT-4; --source must be the "
                "folder of these folders"
            )
        check_distinct(rows)
        return rows


def _category_rows(root: Path, folder: Path) -> list[Row]:
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    rows = []
    for file in files:
        image = inside(root, f"{folder.name}/{file.name}", str(file))
        rows.append(
            Row(
                image=image,
                name=image.relative_to(root).as_posix(),
                label=int(folder.name != _UNINFECTED),
                patient=f"{folder.name}/{file.stem}",
                source="MosMedData",
                stratum=folder.name,
            )
        )
    return rows
