"""The lists of COVID-CS: which slices each split has, and where their files are."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.records import Record
from jcs_datasets.common.text_lists import Row, check_present, inside, read_rows
from jcs_datasets.covid_cs.annotations import parse_label
from jcs_datasets.covid_cs.feature_files import find_features
from jcs_datasets.covid_cs.forms import Form, Slice

SPLITS = ("train", "validation", "test")
_OPTIONAL = "validation"
RELEASED_FEATURES = "feats_joint_pretrained"
INFECTED = 1


class _ListForm(NamedTuple):
    """What a line of a list is: in signs, in words, its columns, and what makes a slice of it."""

    form: str
    meaning: str
    columns: Collection[int]
    parse: Callable[[Path, Path, Row], Slice]


def read_lists(folder: Path, form: Form) -> tuple[dict[str, list[Slice]], str]:
    """Reads the lists and finds every file they name.

    Args:
      folder: holds `train.txt` and `test.txt`, and perhaps `validation.txt`.
      form: says what a line is.

    Returns:
      Split name -> its slices in the list's order, each once; and the name of the folder of features, if there is
      one.

    Raises:
      SourceError: a list is missing or malformed; a path leaves the folder; files are missing; one name for two
        slices; a slice with two masks or labels.
    """
    root = folder.resolve()
    if not root.is_dir():
        raise SourceError(f"{folder}: is not a folder; --source must be your copy of COVID-CS")
    kind = _LIST_FORMS[form.content]
    rows = {}
    for split in SPLITS:
        path = folder / f"{split}.txt"
        if split != _OPTIONAL or path.exists():
            rows[split] = read_rows(path, form=kind.form, meaning=kind.meaning, columns=kind.columns)
    features = root
    if form.content == "segmentation":
        first = rows["train"][0]
        inside(root, first.columns[1], first.where)
        features = _features_folder(root, Path(first.columns[1]).stem, form)
    known: dict[str, Slice] = {}
    splits = {}
    for split, listed in rows.items():
        slices = [kind.parse(root, features, row) for row in listed]
        _check_files(folder / f"{split}.txt", root, slices, listed)
        for item in slices:
            _check_same(known.setdefault(item.record.name, item), item)
        splits[split] = [known[name] for name in dict.fromkeys(item.record.name for item in slices)]
    return splits, features.name if features != root else ""


def _segmentation_slice(root: Path, features: Path, row: Row) -> Slice:
    """`image mask`: the pictures themselves aren't public, so only the mask has to be there."""
    inside(root, row.columns[0], row.where)
    mask = inside(root, row.columns[1], row.where)
    name = Path(row.columns[1]).stem
    stored = inside(root, f"{features.name}/{name}.mat", row.where)
    record = Record(name=name, label=INFECTED, file_type="mat")
    return Slice(record=record, features=stored, mask=mask, line=row.where)


def _classification_slice(root: Path, _: Path, row: Row) -> Slice:
    """`features.mat label`."""
    stored = inside(root, row.columns[0], row.where)
    label = parse_label(row.columns[1], row.where)
    record = Record(name=Path(row.columns[0]).stem, label=label, file_type="mat")
    return Slice(record=record, features=stored, line=row.where)


def _picture_slice(root: Path, _: Path, row: Row) -> Slice:
    """`image` or `image mask`."""
    image, mask = [*(inside(root, column, row.where) for column in row.columns), None][:2]
    path = Path(row.columns[0])
    record = Record(name=path.stem, file_type=path.suffix.lower().lstrip("."))
    return Slice(record=record, image=image, mask=mask, line=row.where)


_LIST_FORMS = {
    "segmentation": _ListForm("image mask", "two relative paths", (2,), _segmentation_slice),
    "classification": _ListForm("features.mat label", "a relative path and 0 or 1", (2,), _classification_slice),
    "pictures": _ListForm("image [mask]", "one or two relative paths", (1, 2), _picture_slice),
}


def _features_folder(root: Path, name: str, form: Form) -> Path:
    """The folder of features: the only one, or of several the released one, or the only one of this edition."""
    folders = sorted(path for path in root.glob("feats*") if path.is_dir())
    if len(folders) == 1:
        return folders[0]
    fitting = [path for path in folders if _fits(path / f"{name}.mat", form)]
    released = [path for path in fitting if path.name == RELEASED_FEATURES]
    if len(fitting) != 1 and not released:
        shown = ", ".join(path.name for path in fitting or folders) or "none"
        raise SourceError(
            f"{root}: must hold one folder feats... with the features of this --config ({RELEASED_FEATURES} in the "
            f"release), but has {shown}; keep one of them there"
        )
    return (released or fitting)[0]


def _fits(path: Path, form: Form) -> bool:
    try:
        find_features(path, form, str(path))
    except SourceError:
        return False
    return True


def _check_files(path: Path, root: Path, slices: list[Slice], rows: list[Row]) -> None:
    files = [
        (file, row.number)
        for item, row in zip(slices, rows, strict=True)
        for file in (item.image, item.mask, item.features)
        if file is not None
    ]
    check_present(path, root, files)


def _check_same(earlier: Slice, item: Slice) -> None:
    """Two lines with one name must be about the same slice."""
    name = item.record.name
    if (earlier.features, earlier.image) != (item.features, item.image):
        raise SourceError(f"{item.line}: another file of the name {name} is in '{earlier.line}'; rename one of them")
    if earlier.mask != item.mask:
        raise SourceError(f"{item.line}: {name} has another mask in '{earlier.line}'; keep one of the two")
    if earlier.record.label != item.record.label:
        raise SourceError(f"{item.line}: {name} has another label in '{earlier.line}'; keep one of the two")
