"""COVID-SemiSeg on disk: slices with a doctor's mask, and slices of volumes without."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.splits import TEST, TRAIN, UNLABELLED
from jcs_datasets.common.text_lists import inside
from jcs_datasets.ct_manifest.rows import Row, check_distinct

INFECTED = 1
LABELLED, PSEUDO, HELD_OUT = (
    "TrainingSet/LungInfection-Train/Doctor-label",
    "TrainingSet/LungInfection-Train/Pseudo-label/Imgs",
    "TestingSet/LungInfection-Test",
)
_SLICE = re.compile(r"Data-\d+_(?P<site>coronacases|radiopaedia)_org_(?P<volume>.+)_\d+")
# A case of Radiopaedia is one patient, here with volumes of several studies and series:
# covid-19-pneumonia-29_86490_1 and covid-19-pneumonia-29_86491_1.
_CASE = re.compile(r"(?P<case>.+-\d+)_\d+_\d+-dcm")


def read_semiseg(folder: Path) -> list[Row]:
    """Rows of the training part, and of the 48 test slices where they lie beside it.

    Args:
      folder: holds `TrainingSet`.

    Returns:
      Rows of the splits `train` and `test`, with masks, and `unlabelled`, without.

    Raises:
      SourceError: a folder or a mask is missing, or a slice of a volume has a name that doesn't tell which.
    """
    root = folder.resolve()
    if not (root / LABELLED / "Imgs").is_dir():
        raise SourceError(
            f"{folder / LABELLED / 'Imgs'}: is missing; --source must be the folder that holds TrainingSet"
        )
    rows = _labelled_rows(root, LABELLED, TRAIN)
    rows += [_volume_row(root, file) for file in _pictures(root / PSEUDO, _volume_order)]
    rows += _labelled_rows(root, HELD_OUT, TEST)
    check_distinct(rows)
    return rows


def patient_of(stem: str) -> tuple[str, str]:
    """Patient and site of a slice by its file name without suffix; empty where it doesn't tell.

    Source: the volumes are the 20 of COVID-19-CT-Seg, whose authors say that radiopaedia_10_85902_1 and _3 are of
    one patient (issue 3 of the repository COVID-19-CT-Seg-Benchmark).
    """
    match = _SLICE.fullmatch(stem)
    if match is None:
        return "", ""
    case = _CASE.fullmatch(match["volume"])
    return f"{match['site']}:{case['case'] if case else match['volume']}", match["site"]


def _labelled_rows(root: Path, part: str, split: str) -> list[Row]:
    rows = []
    for file in _pictures(root / part / "Imgs", lambda path: (path.stem.zfill(8), 0)):
        image, mask = (
            inside(root, f"{part}/{name}", str(file)) for name in (f"Imgs/{file.name}", f"GT/{file.stem}.png")
        )
        if not mask.is_file():
            raise SourceError(f"{mask}: the mask of {file.name} is missing; complete the copy")
        rows.append(
            Row(
                image=image,
                name=image.relative_to(root).as_posix(),
                mask=mask,
                label=INFECTED,
                split=split,
                source="MedSeg",
            )
        )
    return rows


def _volume_row(root: Path, file: Path) -> Row:
    patient, site = patient_of(file.stem)
    if not patient:
        raise SourceError(
            f"{file}: its name doesn't tell the volume; the source names slices Data-1_coronacases_org_001_1.jpg"
        )
    image = inside(root, f"{PSEUDO}/{file.name}", str(file))
    return Row(
        image=image,
        name=image.relative_to(root).as_posix(),
        label=INFECTED,
        patient=patient,
        split=UNLABELLED,
        source=site,
    )


def _pictures(folder: Path, order: Callable[[Path], tuple[str, int]]) -> list[Path]:
    """The files of a folder, none if it isn't there."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=order)


def _volume_order(path: Path) -> tuple[str, int]:
    """Slices of a volume in the order of their numbers."""
    volume, _, number = path.stem.rpartition("_")
    return volume, int(number) if number.isdecimal() else -1
