"""From a source of examples to batches, read ahead by Grain's threads: training and evaluation."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import grain
import numpy as np

from jcs_jax.data.examples import Example, Source
from jcs_jax.data.inputs import Batch, network_example, stack
from jcs_jax.data.mixing import Mixing
from jcs_jax.data.shares import Share
from jcs_jax.data.stream import ExampleStream
from jcs_jax.data.transforms import AUGMENTATIONS
from jcs_jax.errors import InputError
from jcs_jax.preprocessing import Preprocessing

_READ_AHEAD = 4  # batches


@dataclasses.dataclass(frozen=True)
class HostShard:
    """Which of the processes that share a run this one is.

    Attributes:
      index: 0 to count - 1.
      count: of all processes.
    """

    index: int = 0
    count: int = 1

    def rows(self, batch_size: int) -> int:
        """How many rows of each global batch this process reads.

        Raises:
          InputError: the batch can't be shared out evenly.
        """
        if batch_size % self.count:
            raise InputError(f"a batch of {batch_size} can't be shared by {self.count} hosts; choose a multiple")
        return batch_size // self.count


class _HostView:
    """A host's rows of every global batch, as one sequence: what it reads at i is in step i // rows."""

    def __init__(self, stream: ExampleStream | range, batch_size: int, host: HostShard):
        self._stream, self._batch_size = stream, batch_size
        self._rows, self._first = host.rows(batch_size), host.index * host.rows(batch_size)

    def __len__(self) -> int:
        return len(self._stream) // self._batch_size * self._rows

    def __getitem__(self, index: int) -> Any:
        step, row = divmod(int(index), self._rows)
        return self._stream[step * self._batch_size + self._first + row]


class TrainingBatches:
    """The batches of training steps `step` .. `steps` - 1: an iterator whose position can be saved and restored.

    The global batch of a step depends on source and seed alone. With several hosts each reads its own rows of
    it, so that a run can go on with another number of them.

    Args:
      source: a prepared data set or examples in memory.
      preprocessing: of the network.
      augment: `none`, `reference` or `modern`.
      batch_size: examples per step on all hosts together; consecutive steps go on through the epochs, no
        example is dropped.
      seed: of order, augmentation and mixing.
      steps: number of steps of the whole run.
      mixing: whether and how each example is mixed with another one.
      paste: probability that the opacities of another slice of the same part are laid over one.
      stage_features: which stored features the network takes in place of a picture.
      shares: of the source's parts in every batch, whose rows add up to `batch_size`; none: the source is one part.
      host: which rows to read.
      threads: that read, decode and augment.

    Attributes:
      step: of the next batch.

    Raises:
      InputError: for an empty source, an unknown augmentation, a batch that the hosts can't share.
    """

    def __init__(
        self,
        source: Source,
        preprocessing: Preprocessing,
        *,
        augment: str,
        batch_size: int,
        seed: int,
        steps: int,
        mixing: Mixing = Mixing(),  # noqa: B008  frozen
        paste: float = 0.0,
        stage_features: Sequence[str] = (),
        shares: Sequence[Share] = (),
        host: HostShard = HostShard(),
        threads: int = 2,
    ):
        options: dict[str, Any] = {"mixing": mixing, "paste": paste, "stage_features": stage_features, "shares": shares}
        stream = ExampleStream(source, preprocessing, augment, seed, steps * batch_size, **options)
        self._stream, self._view = stream, _HostView(stream, batch_size, host)
        self._rows, self._threads = host.rows(batch_size), threads
        self._source = source
        self._told: dict[str, Any] = {
            **{"batch_size": batch_size, "seed": seed, "augment": augment},
            "mixing": dataclasses.asdict(mixing),
            **({"paste": paste} if paste else {}),
            **({"rows": [share.rows for share in shares]} if len(shares) > 1 else {}),
        }
        self.step = 0
        self._batches: Iterator[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._batches is None:
            self._batches = self._read_from(self.step)
        batch = next(self._batches)
        self.step += 1
        return batch

    def state(self) -> dict[str, Any]:
        """The position, and what it is a position in: plain values for a checkpoint."""
        return {"step": self.step, **self._told, "source": self._fingerprint}

    def names(self, step: int) -> list[str]:
        """The slices of a step's whole batch; several joined by + where they are mixed or pasted."""
        known = [record.name for record in self._source.records()]
        size = self._told["batch_size"]
        positions = range(step * size, (step + 1) * size)
        return [" + ".join(known[index] for index in self._stream.indices(position)) for position in positions]

    @functools.cached_property
    def _fingerprint(self) -> str:
        """Of the source, which does not change; kept, since every checkpoint asks for it."""
        return source_fingerprint(self._source)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes to a position that `state` gave, here or on another number of hosts.

        Args:
          state: as `state` gave it.

        Raises:
          InputError: it is a position in another stream: other data, seed, batch size, rows of its parts,
            augmentation or mixing.
        """
        own = self.state()
        other = sorted(key for key in own.keys() | state.keys() if key != "step" and state.get(key) != own.get(key))
        if other:
            raise InputError(
                f"the saved data position belongs to another stream: {', '.join(other)} changed; undo that"
            )
        self.step = int(state["step"])
        self._batches = None

    def _read_from(self, step: int) -> Iterator[Batch]:
        data = grain.MapDataset.source(self._view)[step * self._rows :].batch(self._rows, batch_fn=stack)
        return iter(data.to_iter_dataset(_read_options(self._threads)))


class EvaluationBatch(NamedTuple):
    """Slices of a data set beside what a network is given of them.

    Attributes:
      examples: the slices, at most as many as the batch has rows.
      arrays: as of `network_example`, with a batch axis; rows beyond the examples are zeros, also in `valid`.
    """

    examples: tuple[Example, ...]
    arrays: Batch


def evaluation_batches(
    source: Source,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    stage_features: Sequence[str] = (),
    host: HostShard = HostShard(),
    threads: int = 2,
) -> Iterator[EvaluationBatch]:
    """Every slice once, in order, in batches of one size; the last ones are filled up with zeros.

    Args:
      source: the slices.
      preprocessing: of the network.
      batch_size: slices per batch on all hosts together.
      stage_features: which stored features the network takes in place of a picture.
      host: which rows to read; all hosts make the same number of batches.
      threads: that read and decode.

    Returns:
      Iterator over batches.

    Raises:
      InputError: a batch that the hosts can't share; a slice that can't be decoded.
    """
    if not len(source):
        return iter(())
    rows = host.rows(batch_size)

    def prepare(index: int) -> tuple[Example | None, Batch]:
        example = source[min(index, len(source) - 1)]
        unused = np.random.default_rng(0)  # `none` draws nothing
        arrays = network_example(example, preprocessing, AUGMENTATIONS["none"], unused, stage_features)
        if index < len(source):
            return example, arrays
        return None, {key: np.zeros_like(value) for key, value in arrays.items()}

    def assemble(members: Sequence[tuple[Example | None, Batch]]) -> EvaluationBatch:
        examples = tuple(example for example, _ in members if example is not None)
        return EvaluationBatch(examples, stack([arrays for _, arrays in members]))

    padded = range(-(-len(source) // batch_size) * batch_size)
    data = grain.MapDataset.source(_HostView(padded, batch_size, host)).map(prepare)
    return iter(data.batch(rows, batch_fn=assemble).to_iter_dataset(_read_options(threads)))


def source_fingerprint(source: Source) -> str:
    """SHA-256 over the names and digests of all slices, in order: the same for the same data."""
    lines = "\n".join(f"{record.name} {record.digest}" for record in source.records())
    return hashlib.sha256(lines.encode()).hexdigest()


def _read_options(threads: int) -> grain.ReadOptions:
    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, _READ_AHEAD))
