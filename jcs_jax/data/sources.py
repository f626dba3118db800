"""Reading prepared data sets: the ArrayRecord folders of a TFDS builder, without builder or TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import tensorflow_datasets as tfds
from google.protobuf import json_format

from jcs_jax.data.examples import Example, SliceRecord
from jcs_jax.data.index import RECORD_FIELDS, Shard, read_index, stored_record, stored_spacing
from jcs_jax.errors import InputError

INFO_FILE = "dataset_info.json"
_ENCODINGS: dict[str, Literal["intensity", "hounsfield"]] = {"gray8": "intensity", "hu16": "hounsfield"}
_STAGE_FEATURES = ("vgg_features", "res2net_features")
_PICTURES = ("image", "mask", "lungs")
_ABSENT_MASK_SHAPE = (1, 1)


def open_source(data_dir: str | Path, dataset: str, split: str) -> PreparedSource:
    """Opens a split of a prepared data set for random access.

    Args:
      data_dir: the folder given to `jcs prepare`.
      dataset: `name` or `name/config`; without a config, the only one that is prepared.
      split: as TFDS writes them: `train`, `fold0+fold1`, `train[:10]`, `train[50%:]`.

    Returns:
      A random-access sequence of `Example`; many threads may read it at once, and it can be pickled.

    Raises:
      InputError: not prepared, not finished, no such split, an empty split, or not data of this project.
    """
    folder = prepared_folder(data_dir, dataset)
    builder = _open_builder(folder)
    known = list(builder.info.splits)
    try:
        data = _encoded(builder, split)
        shards = _shards(builder, split)
    except (ValueError, KeyError, AssertionError) as error:
        if _names_known_splits(split, known):
            raise InputError(f"split '{split}' of {dataset}: holds no slice; choose a wider range") from error
        raise InputError(
            f"split '{split}' of {dataset}: no such split; it has {', '.join(known)}; join them with '+', "
            "cut them as in train[:10]"
        ) from error
    info = {**(builder.info.metadata or {}), "dataset": builder.info.full_name}
    return PreparedSource(data, info, folder, shards)


def split_sizes(data_dir: str | Path, dataset: str) -> dict[str, int]:
    """The splits of a prepared data set and how many slices each has.

    Raises:
      InputError: as `open_source`.
    """
    builder = _open_builder(prepared_folder(data_dir, dataset))
    return {name: info.num_examples for name, info in builder.info.splits.items()}


def prepared_folder(data_dir: str | Path, dataset: str) -> Path:
    """The newest finished version of a prepared data set.

    Raises:
      InputError: no such folder, nothing finished in it, or several configs to choose from.
    """
    root = Path(data_dir).expanduser()
    name, _, config = dataset.partition("/")
    variant = f" --config {config}" if config else ""
    cure = f"run `jcs prepare {name} --data_dir {root}{variant}`"
    if not re.fullmatch(r"\w+(/\w+)?", dataset):
        raise InputError(f"data set '{dataset}': is not a name; write 'name' or 'name/config'")
    base = root / name
    if not base.is_dir():
        raise InputError(f"{base}: no prepared data set; {cure}")
    if not config and not _finished_versions(base):
        configs = sorted(path.name for path in base.iterdir() if _finished_versions(path))
        if len(configs) > 1:
            raise InputError(f"{base}: has configs {', '.join(configs)}; name one, as in '{name}/{configs[0]}'")
        config = configs[0] if configs else ""
    folder = base / config
    versions = _finished_versions(folder)
    if not versions:
        state = "the build was not finished" if folder.is_dir() else "no prepared data set"
        raise InputError(f"{folder}: {state}; {cure}")
    return versions[-1]


class PreparedSource:
    """A split of a prepared data set: `len`, indexing and iteration.

    Attributes:
      info: the data set's metadata (licence, warning, encoding) and its full name as `dataset`.
    """

    def __init__(self, data: Sequence[dict], info: Mapping[str, str | int], folder: Path, shards: Sequence[Shard]):
        self._data = data
        self.info: Mapping[str, str | int] = dict(info)
        self._folder, self._shards = folder, list(shards)

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Example:
        """The example at an index; negative ones count from the end, others raise IndexError."""
        stored = self._data[self._position(index)]
        mask = decode_picture(stored["mask"])
        image, encoding = None, _ENCODINGS.get(str(self.info["image_encoding"]), "intensity")
        if "image" in stored:
            values = decode_picture(stored["image"]).astype(np.float32)
            image = values / 255 if encoding == "intensity" else values - np.float32(self.info["hu_offset"])
        return Example(
            image=image,
            encoding=encoding,
            mask=None if mask.shape == _ABSENT_MASK_SHAPE else mask,
            label=int(stored["label"]),
            patient=stored["patient"].decode(),
            name=stored["name"].decode(),
            spacing=stored_spacing(stored),
            **{name: stored[name] for name in _STAGE_FEATURES if name in stored},
        )

    def records(self) -> Iterator[SliceRecord]:
        """What is known of every slice, in order, from the index that `jcs prepare` leaves; no picture is decoded."""
        indexed = read_index(self._folder, self._shards)
        if indexed is not None:
            return iter(indexed)
        return map(stored_record, self._data)

    def _position(self, index: int) -> int:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"index {index} is outside the {len(self)} slices")
        return position


def decode_picture(data: bytes) -> np.ndarray:
    """(H, W) uint8 or uint16 of an encoded grey picture.

    Raises:
      InputError: the bytes are no picture.
    """
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if picture is None:
        raise InputError("a stored picture can't be decoded; prepare the data set again with --overwrite")
    return picture


def open_metadata(folder: Path) -> dict[str, str | int]:
    """What a finished data-set folder says of itself.

    Raises:
      InputError: as `open_source`.
    """
    return dict(_open_builder(folder).info.metadata or {})


def stored_shards(folder: Path) -> Iterator[tuple[str, Iterator[dict]]]:
    """Yields the name of every file of a finished data-set folder and its stored examples, pictures still encoded.

    Raises:
      InputError: as `open_source`.
    """
    builder = _open_builder(folder)
    for split in builder.info.splits:
        data, start = _encoded(builder, split), 0
        for shard in _shards(builder, split):
            yield shard.file, (data[index] for index in range(start, start + shard.take))
            start += shard.take


def _finished_versions(folder: Path) -> list[Path]:
    """Finished version folders, oldest first."""
    if not folder.is_dir():
        return []
    versions = [path for path in folder.iterdir() if re.fullmatch(r"\d+\.\d+\.\d+", path.name)]
    finished = [path for path in versions if (path / INFO_FILE).is_file()]
    return sorted(finished, key=lambda path: tuple(map(int, path.name.split("."))))


def _open_builder(folder: Path) -> tfds.core.DatasetBuilder:
    """A reader of what was written there, after checking that it is whole and of this project's form."""
    try:
        builder = tfds.builder_from_directory(folder)
    except (ValueError, KeyError, OSError, json_format.Error) as error:
        raise InputError(f"{folder}: is damaged; prepare it again with --overwrite") from error
    encoding = (builder.info.metadata or {}).get("image_encoding")
    values = "res2net_features" if encoding == "features" else "image"
    absent = {*RECORD_FIELDS.values(), "mask", values} - set(builder.info.features or {})
    if absent or encoding not in (*_ENCODINGS, "features"):
        wrong = f"lacks {', '.join(sorted(absent))}" if absent else f"image_encoding is '{encoding}'"
        raise InputError(f"{folder}: is not a CT data set of this project: {wrong}; prepare it with `jcs prepare`")
    files = [Path(file) for info in builder.info.splits.values() for file in info.filepaths]
    lost = [file for file in files if not file.is_file()]
    if lost:
        raise InputError(f"{lost[0]}: is missing; prepare the data set again with --overwrite")
    return builder


def _encoded(builder: tfds.core.DatasetBuilder, split: str) -> Sequence[dict]:
    """The stored examples with their pictures still encoded: OpenCV decodes them faster, and outside the lock."""
    pictures = {name: tfds.decode.SkipDecoding() for name in _PICTURES if name in builder.info.features}
    return builder.as_data_source(split, decoders=pictures)


def _shards(builder: tfds.core.DatasetBuilder, split: str) -> list[Shard]:
    """Which part of which file a split reads, in order."""
    parts = builder.info.splits[split].file_instructions
    return [Shard(Path(part.filename).name, part.skip, part.take) for part in parts]


def _names_known_splits(split: str, known: Sequence[str]) -> bool:
    """Whether the expression is well formed and names existing splits only."""
    terms = [term.strip() for term in split.split("+")]
    return all(re.fullmatch(r"(\w+)(\[-?\d*%?:-?\d*%?\])?", term) and term.split("[")[0] in known for term in terms)
