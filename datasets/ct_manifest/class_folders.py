"""Class folders: DIR/CLASS/*, or DIR/SPLIT/CLASS/*, where the folder's name is the label."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.text_lists import inside
from jcs_datasets.ct_manifest.rows import Row, check_distinct, parse_split

_INFECTED = ("infected", "covid", "covid19", "ctcovid", "positive", "1")
_UNINFECTED = ("uninfected", "noncovid", "noncovid19", "ctnoncovid", "normal", "negative", "healthy", "0")
_LABELS = dict.fromkeys(_INFECTED, 1) | dict.fromkeys(_UNINFECTED, 0)
_TEXT = {".txt", ".csv", ".md"}
_CLASSES = "infected, covid, positive or 1, and uninfected, noncovid, normal, negative, healthy or 0"


def read_class_folders(folder: Path) -> list[Row]:
    """The pictures, or DICOM files, series folders and NIfTI files, of class folders.

    Names of classes count without their case, dashes, underscores and spaces. Hidden files, and .txt, .csv and
    .md files, are passed over.

    Args:
      folder: holds the class folders, or a folder for each split that holds them.

    Returns:
      A row for each file, in the order of their paths.

    Raises:
      SourceError: a folder that is no class, files between the class folders, no file at all, or a link that
        leaves the folder.
    """
    root = folder.resolve()
    rows = []
    for entry in _entries(folder):
        _check_folder(entry, folder)
        if _label(entry) is not None:
            rows += _class_rows(root, entry, "")
            continue
        split = _split(entry)
        for part in _entries(entry):
            _check_folder(part, entry)
            if _label(part) is None:
                raise SourceError(f"{part}: is no class; name class folders {_CLASSES}")
            rows += _class_rows(root, part, split)
    if not rows:
        raise SourceError(
            f"{folder}: holds no class folder with files, and no manifest.csv; write a manifest, or name class folders "
            f"{_CLASSES}"
        )
    check_distinct(rows)
    return rows


def _class_rows(root: Path, folder: Path, split: str) -> Iterator[Row]:
    for entry in _entries(folder):
        image = inside(
            root, entry.relative_to(folder.parent if not split else folder.parent.parent).as_posix(), str(entry)
        )
        yield Row(image=image, name=image.relative_to(root).as_posix(), label=_label(folder), split=split)


def _entries(folder: Path) -> list[Path]:
    kept = [path for path in folder.iterdir() if not path.name.startswith(".") and path.suffix.lower() not in _TEXT]
    return sorted(kept)


def _check_folder(entry: Path, parent: Path) -> None:
    if not entry.is_dir():
        raise SourceError(f"{entry}: lies beside the folders of {parent}; put it into a class folder, or take it out")


def _label(folder: Path) -> int | None:
    return _LABELS.get(re.sub(r"[-_ ]", "", folder.name.lower()))


def _split(folder: Path) -> str:
    try:
        return parse_split(folder.name, str(folder))
    except SourceError:
        raise SourceError(
            f"{folder}: is neither a class nor a split; name class folders {_CLASSES}, and those around them train, "
            "validation or test"
        ) from None
