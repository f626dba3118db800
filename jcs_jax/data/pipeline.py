"""From a source of examples to batches: a pure function of the position, read ahead by Grain's threads."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import grain
import numpy as np

from jcs_jax.data.examples import UNKNOWN_LABEL, Example, Source, example_intensity
from jcs_jax.data.transforms import AUGMENTATIONS, Augmentation
from jcs_jax.errors import InputError
from jcs_jax.preprocessing import Preprocessing

Batch = dict[str, np.ndarray]
MASK_AREA_THRESHOLD = 0.5


def framed(example: Example, preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray | None]:
    """Slice and mask of an example in the network's frame: (h, w) float32 in [0, 1], and 0/1 or None."""
    image = preprocessing.frame(example_intensity(example, preprocessing))
    if example.mask is None:
        return image, None
    mask = preprocessing.frame(np.asarray(example.mask, np.float32))
    return image, (mask > MASK_AREA_THRESHOLD).astype(np.float32)


def network_example(
    example: Example, preprocessing: Preprocessing, augment: Augmentation, rng: np.random.Generator
) -> Batch:
    """One example as the network's arrays, without the batch axis.

    Args:
      example: slice, mask, label.
      preprocessing: of the network.
      augment: applied in the network's frame, before normalisation.
      rng: for `augment`.

    Returns:
      image (h, w, 3) float32, normalised; mask (h, w) float32 in {0, 1}, zeros where there is none; label int32;
      valid, mask_valid, label_valid float32, 1 where there is something to learn from.
    """
    image, mask = augment(*framed(example, preprocessing), rng)
    return {
        "image": preprocessing.normalize(image),
        "mask": np.zeros_like(image) if mask is None else np.asarray(mask, np.float32),
        "label": np.asarray(max(example.label, 0), np.int32),
        "valid": np.asarray(1, np.float32),
        "mask_valid": np.asarray(mask is not None, np.float32),
        "label_valid": np.asarray(example.label != UNKNOWN_LABEL, np.float32),
    }


class ExampleStream:
    """An endless, shuffled, augmented stream that can be read at any position.

    What stands at a position depends on the seed and that position alone, not on who reads it or when: a
    training run resumes by starting at another position. Every epoch is a permutation of its own.

    Args:
      source: the examples.
      preprocessing: of the network.
      augment: name of an augmentation.
      seed: of order and augmentation.
      length: positions that may be read.
    """

    def __init__(self, source: Source, preprocessing: Preprocessing, augment: str, seed: int, length: int):
        if not len(source):
            raise InputError("the training split is empty; name a split that has examples")
        if augment not in AUGMENTATIONS:
            raise InputError(f"no augmentation is called {augment!r}; choose one of {', '.join(AUGMENTATIONS)}")
        self._source, self._preprocessing, self._augment = source, preprocessing, AUGMENTATIONS[augment]
        self._seed, self._length = seed, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, position: int) -> Batch:
        epoch, offset = divmod(int(position), len(self._source))
        order = _epoch_order(self._seed, epoch, len(self._source))
        rng = np.random.default_rng([self._seed, 1, int(position)])
        return network_example(self._source[int(order[offset])], self._preprocessing, self._augment, rng)


@functools.lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """The order of an epoch; kept, since every example of the epoch asks for it."""
    return np.random.default_rng([seed, 0, epoch]).permutation(size)


def stack(examples: list[Batch]) -> Batch:
    """Adds the batch axis."""
    return {key: np.stack([example[key] for example in examples]) for key in examples[0]}


def training_batches(
    source: Source,
    preprocessing: Preprocessing,
    *,
    augment: str,
    batch_size: int,
    seed: int,
    steps: int,
    first_step: int = 0,
    threads: int = 2,
) -> Iterator[Batch]:
    """Batches of training steps first_step .. steps - 1, decoded ahead by threads.

    Args:
      source: a prepared data set or examples in memory.
      preprocessing: of the network.
      augment: `none`, `reference` or `modern`.
      batch_size: examples per step; consecutive steps go on through the epochs, no example is dropped.
      seed: of order and augmentation.
      steps: number of steps of the whole run.
      first_step: where to begin; the batches are those an uninterrupted run would have seen.
      threads: that read, decode and augment.

    Returns:
      Iterator over dictionaries as of `network_example`, with a batch axis.
    """
    stream = ExampleStream(source, preprocessing, augment, seed, steps * batch_size)
    data = grain.MapDataset.source(stream)[first_step * batch_size :].batch(batch_size, batch_fn=stack)
    return iter(data.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4)))
