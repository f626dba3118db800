"""A local copy of COVID-19-CT100, read and checked whole: which slices there are and which split each is in."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.pictures import read_gray, read_mask
from jcs_datasets.common.records import pixel_digest
from jcs_datasets.covid19_ct100.folds import assign_folds
from jcs_datasets.covid19_ct100.lists import Entry, read_list

# Found by `jcs audit` among 52 of the 100 slices: one is the other cropped to 93 % and enlarged.
KNOWN_COPIES = (("tr_im/tr_im_0010.png", "tr_im/tr_im_0043.png"),)
ALL_LIST, TRAIN_LIST, TEST_LIST = "all.txt", "train.txt", "test.txt"


@dataclasses.dataclass(frozen=True)
class Slice:
    """One checked slice.

    Attributes:
      name: unique in the data set.
      entry: where its files are.
      digest: of the picture, as `pixel_digest`.
    """

    name: str
    entry: Entry
    digest: str


@dataclasses.dataclass(frozen=True)
class Layout:
    """What the folder holds.

    Attributes:
      splits: split name -> its slices, in the lists' order.
      warning: what a user must know before trusting a score; empty if nothing.
      digest: SHA-256 over names and pictures: two copies with one digest give the same splits.
    """

    splits: dict[str, list[Slice]]
    warning: str
    digest: str


def read_official(folder: Path) -> Layout:
    """The published lists as splits `train` and `test`, with a warning for what they share.

    Args:
      folder: holds `train.txt`, `test.txt` and the files they name.

    Raises:
      SourceError: the first thing that is wrong with the lists or the pictures.
    """
    _check_folder(folder)
    if (folder / ALL_LIST).is_file() and not (folder / TRAIN_LIST).is_file():
        raise SourceError(
            f"{folder / TRAIN_LIST}: the published list is missing; use config clean, which reads {ALL_LIST}"
        )
    listed = {"train": read_list(folder, TRAIN_LIST), "test": read_list(folder, TEST_LIST)}
    slices = {item.entry.key: item for item in _check_slices(_union(*listed.values()))}
    splits = {split: [slices[entry.key] for entry in entries] for split, entries in listed.items()}
    seen = {item.digest for item in splits["train"]}
    shared = sum(item.digest in seen for item in splits["test"])
    warning = ""
    if shared:
        warning = (
            f"{shared} of the {len(splits['test'])} test images are also in train (published lists): "
            "a score on this test split is a training score; config clean has disjoint folds"
        )
    return Layout(splits, warning, _digest(list(slices.values())))


def read_clean(folder: Path, *, folds: int, seed: int) -> Layout:
    """All listed slices, each once, in disjoint splits `fold0`, `fold1`, ...

    Args:
      folder: holds `all.txt`, or else `train.txt` and `test.txt`, and the files they name.
      folds: how many.
      seed: of the assignment.

    Raises:
      SourceError: the first thing that is wrong with the lists or the pictures.
    """
    _check_folder(folder)
    if (folder / ALL_LIST).is_file():
        entries = read_list(folder, ALL_LIST)
    elif (folder / TRAIN_LIST).is_file() or (folder / TEST_LIST).is_file():
        entries = _union(read_list(folder, TRAIN_LIST), read_list(folder, TEST_LIST))
    else:
        raise SourceError(
            f"{folder}: has neither {ALL_LIST} nor {TRAIN_LIST} and {TEST_LIST}; "
            "--source must be the folder that holds the lists"
        )
    slices = _check_slices(entries)
    try:
        digests = {item.entry.key: item.digest for item in slices}
        assigned = assign_folds(digests, folds=folds, seed=seed, copies=KNOWN_COPIES)
    except ValueError as error:
        raise SourceError(f"{folder}: {error}; complete the copy") from None
    splits = {f"fold{fold}": [item for item in slices if assigned[item.entry.key] == fold] for fold in range(folds)}
    return Layout(splits, _unlisted(entries), _digest(slices))


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise SourceError(f"{folder}: is not a folder; --source must be your copy of COVID-19-CT100")


def _union(*lists: Sequence[Entry]) -> list[Entry]:
    """Every slice of the lists once; two lists may not disagree on its mask."""
    entries: dict[str, Entry] = {}
    for entry in (entry for listed in lists for entry in listed):
        earlier = entries.setdefault(entry.key, entry)
        if earlier.mask != entry.mask:
            raise SourceError(f"{entry.line}: {entry.key} has another mask in '{earlier.line}'; keep one of the two")
    return list(entries.values())


def _check_slices(entries: Sequence[Entry]) -> list[Slice]:
    """Reads every picture and mask once, so that nothing is found wrong after writing has begun."""
    stems = Counter(Path(entry.key).stem for entry in entries)
    unique = max(stems.values()) == 1
    slices = []
    for entry in entries:
        image = read_gray(entry.image, f"{entry.image} ({entry.line})")
        mask = read_mask(entry.mask, f"{entry.mask} ({entry.line})")
        if image.shape != mask.shape:
            raise SourceError(
                f"{entry.mask} ({entry.line}): is {mask.shape[1]}x{mask.shape[0]} pixels, but its slice "
                f"{entry.key} is {image.shape[1]}x{image.shape[0]}; use the mask drawn on this slice"
            )
        slices.append(Slice(Path(entry.key).stem if unique else entry.key, entry, pixel_digest(image)))
    return slices


def _unlisted(entries: Sequence[Entry]) -> str:
    """Says how many pictures lie beside the listed ones and are in no list."""
    listed = {file for entry in entries for file in (entry.image, entry.mask)}
    folders = {entry.image.parent for entry in entries} - {entry.mask.parent for entry in entries}
    suffixes = {entry.image.suffix for entry in entries}
    beside = {file.resolve() for folder in folders for file in folder.iterdir() if file.suffix in suffixes}
    count = len(beside - listed)
    return f"{count} images in the folder are in no list and are left out; name them in {ALL_LIST}" if count else ""


def _digest(slices: Sequence[Slice]) -> str:
    lines = sorted(f"{item.entry.key} {item.digest}" for item in slices)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
