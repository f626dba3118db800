"""What is audited: the splits of one or more data sets, each of them a part."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from jcs_jax.data import preparation
from jcs_jax.data.examples import SliceRecord, Source
from jcs_jax.data.sources import INFO_FILE, open_source, prepared_folder, split_sizes
from jcs_jax.errors import InputError

_NAME = re.compile(r"\w+(/\w+)?")
_OWN = "ct_manifest"  # the builder of a user's own slices, and its configs
_PICTURES, _VOLUMES = "pictures", "hounsfield"


class Part(NamedTuple):
    """One split of one data set.

    Attributes:
      dataset: its name in reports.
      split: its name.
      namespace: patients and slice names mean the same throughout it: a data set in all its variants.
      source: its slices.
    """

    dataset: str
    split: str
    namespace: str
    source: Source

    @property
    def name(self) -> str:
        """`dataset:split`."""
        return f"{self.dataset}:{self.split}"


class Slice(NamedTuple):
    """One slice of a part.

    Attributes:
      part: name of its part.
      namespace: of its part.
      record: what is known of it.
    """

    part: str
    namespace: str
    record: SliceRecord

    @property
    def person(self) -> tuple[str, str] | None:
        """What slices of one patient share; None if the patient is unknown."""
        return (self.namespace, self.record.patient) if self.record.patient else None


def list_slices(parts: Sequence[Part]) -> list[Slice]:
    """The slices of all parts, in order, from their indexes."""
    return [Slice(part.name, part.namespace, record) for part in parts for record in part.source.records()]


@contextlib.contextmanager
def open_parts(data: Sequence[str], data_dir: str | None) -> Iterator[list[Part]]:
    """Opens all splits of data sets that are prepared, and prepares for the time being those that aren't.

    Args:
      data: each the name of a prepared data set, `name` or `name/config`; the folder of one; or a CSV manifest or
        a folder of class folders.
      data_dir: holds the data sets that are given by name.

    Yields:
      The parts.

    Raises:
      InputError: one can't be found, read or prepared, or is given twice.
    """
    with TemporaryDirectory(prefix="jcs-audit.") as folder:
        parts: list[Part] = []
        for number, given in enumerate(data):
            parts += _open(given, data_dir, Path(folder) / str(number))
        _check_distinct(parts)
        yield parts


def _check_distinct(parts: Sequence[Part]) -> None:
    """Refuses a data set that was given under two names, and two data sets that reports couldn't tell apart."""
    homes = [(part.namespace, part.source.info.get("dataset"), part.split) for part in parts]
    for keys in (homes, [part.name for part in parts]):
        seen = Counter(keys)
        for key, part in zip(keys, parts, strict=True):
            if seen[key] > 1:
                raise InputError(f"{part.dataset}: is given twice; name every data set once, and folders differently")


def _open(given: str, data_dir: str | None, scratch: Path) -> list[Part]:
    """The parts of one data set, wherever it is."""
    path = Path(given).expanduser()
    by_name = _NAME.fullmatch(given) is not None
    if data_dir and by_name and ((Path(data_dir).expanduser() / given).is_dir() or not path.exists()):
        home = Path(data_dir).expanduser().resolve() / given.partition("/")[0]
        return _splits(data_dir, given, shown=given, namespace=str(home))
    if not path.exists():
        cure = "add --data_dir, or name a file or folder that is there" if by_name else "check the path"
        raise InputError(f"{given}: no such data set, file or folder; {cure}")
    path = path.resolve()
    depths = (INFO_FILE, f"*/{INFO_FILE}", f"*/*/{INFO_FILE}")  # of a version, a config, or a data set with configs
    found = next((file for depth in depths for file in sorted(path.glob(depth))), None)
    if found is not None:
        return _prepared(path, found.parent)
    dataset = _prepare(path, scratch)
    return _splits(scratch, dataset, shown=path.stem if path.is_file() else path.name, namespace=str(path))


def _splits(data_dir: str | Path, dataset: str, *, shown: str, namespace: str) -> list[Part]:
    return [
        Part(shown, split, namespace, open_source(data_dir, dataset, split))
        for split, count in split_sizes(data_dir, dataset).items()
        if count
    ]


def _prepared(path: Path, version: Path) -> list[Part]:
    """The splits of a folder DATA_DIR/NAME, DATA_DIR/NAME/CONFIG or DATA_DIR/NAME/CONFIG/VERSION."""
    try:
        info = json.loads((version / INFO_FILE).read_text(encoding="utf-8"))
        names = [str(name) for name in (info["name"], info.get("configName")) if name]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{version / INFO_FILE}: is damaged; prepare the data set again with --overwrite") from error
    folder, dataset = version.parent, "/".join(names)
    data_dir = version.parents[len(names)]
    if folder != data_dir / dataset:
        raise InputError(f"{path}: was moved; a prepared data set lies in DATA_DIR/{dataset}/{version.name}")
    if path == data_dir / names[0]:
        dataset = names[0]  # with several configs there, one has to be named
    if path == version and prepared_folder(data_dir, dataset) != version:
        raise InputError(f"{path}: there is a newer version; audit {folder}")
    return _splits(data_dir, dataset, shown="/".join(names), namespace=str(data_dir / names[0]))


def _prepare(path: Path, data_dir: Path) -> str:
    """Builds a user's own slices; returns the name of the data set."""
    try:
        return _build(path, data_dir, _PICTURES)
    except InputError as error:
        if _VOLUMES not in str(error):  # else it says that there are DICOM or NIfTI files
            raise
    return _build(path, data_dir, _VOLUMES)


def _build(path: Path, data_dir: Path, config: str) -> str:
    builder_class = importlib.import_module(f"jcs_datasets.{_OWN}").Builder  # loaded by name, never imported
    errors = importlib.import_module("jcs_datasets.common.errors")
    try:
        return preparation.prepare(builder_class, data_dir=data_dir, config=config, source=path).dataset
    except errors.SourceError as error:
        raise InputError(str(error)) from error
