"""Writing the examples of a split one by one, whatever their number and size.

TFDS's own writer gathers a split before it writes: beyond 1,000 MiB it asks for TensorFlow, and where the order is
kept it then reads the whole split into memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow_datasets as tfds
from tensorflow_datasets.core.example_serializer import ExampleSerializer
from tensorflow_datasets.core.naming import ShardedFileTemplate
from tensorflow_datasets.core.writer import ExampleWriter

SHARD_BYTES = 256 << 20  # before compression


class Shard(NamedTuple):
    """A file that was written: its path, how many examples it holds and their bytes before compression."""

    path: str
    examples: int
    size: int


def write_shards(
    prefix: Path, features: tfds.features.FeaturesDict, writer: ExampleWriter, examples: Iterable[Mapping[str, Any]]
) -> list[Shard]:
    """Writes examples in their order, holding one or two of them at a time.

    Args:
      prefix: path of the files without their number; they get their final names from `name_shards`.
      features: of the data set.
      writer: of TFDS, for the format of the files.
      examples: as the features take them.

    Returns:
      The files in order, each of `SHARD_BYTES` at most or of one example.
    """
    serializer = ExampleSerializer(features.get_serialized_info())
    stream = _Stream(serializer.serialize_example(features.encode_example(example)) for example in examples)
    shards = []
    while stream:
        path = f"{prefix}-{len(shards)}"
        writer.write(path, stream.one_shard())
        shards.append(Shard(path, stream.examples, stream.size))
    return shards


def name_shards(template: ShardedFileTemplate, split: str, shards: Sequence[Shard]) -> tfds.core.SplitInfo:
    """Gives the files of a split their final names.

    Args:
      template: of the split's files.
      split: its name.
      shards: its files in order; they lie in the template's folder.
    """
    for index, shard in enumerate(shards):
        Path(shard.path).replace(template.sharded_filepath(shard_index=index, num_shards=len(shards)))
    return tfds.core.SplitInfo(
        name=split,
        shard_lengths=[shard.examples for shard in shards],
        num_bytes=sum(shard.size for shard in shards),
        filename_template=template,
    )


class _Stream:
    """Serialized examples, handed out a shard at a time; true while there are more.

    Attributes:
      examples: number of them in the last shard.
      size: their bytes.
    """

    def __init__(self, serialized: Iterable[bytes]):
        self._serialized = iter(serialized)
        self._next = next(self._serialized, None)
        self.examples = self.size = 0

    def __bool__(self) -> bool:
        return self._next is not None

    def one_shard(self) -> Iterator[tuple[int, bytes]]:
        """Yields (number, example) until the shard is full."""
        self.examples = self.size = 0
        while self._next is not None and (not self.examples or self.size + len(self._next) <= SHARD_BYTES):
            self.examples += 1
            self.size += len(self._next)
            yield self.examples, self._next
            self._next = next(self._serialized, None)
