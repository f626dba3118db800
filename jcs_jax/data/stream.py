"""The endless training stream: what stands at a position depends on seed and position alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from jcs_jax.data.examples import Source
from jcs_jax.data.inputs import Batch, network_example
from jcs_jax.data.mixing import Mixing
from jcs_jax.data.transforms import AUGMENTATIONS
from jcs_jax.errors import InputError
from jcs_jax.preprocessing import Preprocessing

_ORDER, _AUGMENT, _MIX, _PARTNER = range(4)  # second words of the generators' seeds


class ExampleStream:
    """An endless, shuffled, augmented stream that can be read at any position.

    What stands at a position depends on the seed and that position alone, not on who reads it or when: a
    training run resumes by starting at another position. Every epoch is a permutation of its own.

    Args:
      source: the examples.
      preprocessing: of the network.
      augment: name of an augmentation.
      seed: of order, augmentation and mixing.
      length: positions that may be read.
      mixing: whether and how each example is mixed with another one.
      stage_features: which stored features the network takes in place of a picture.

    Raises:
      InputError: an empty source, or no such augmentation.
    """

    def __init__(
        self,
        source: Source,
        preprocessing: Preprocessing,
        augment: str,
        seed: int,
        length: int,
        *,
        mixing: Mixing = Mixing(),  # noqa: B008  frozen
        stage_features: Sequence[str] = (),
    ):
        if not len(source):
            raise InputError("the training split is empty; name a split that has examples")
        if augment not in AUGMENTATIONS:
            raise InputError(f"no augmentation is called {augment!r}; choose one of {', '.join(AUGMENTATIONS)}")
        self._source, self._preprocessing, self._augment = source, preprocessing, AUGMENTATIONS[augment]
        self._seed, self._length = seed, length
        self._mixing, self._stage_features = mixing, tuple(stage_features)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, position: int) -> Batch:
        position = int(position)
        own, *others = self.indices(position)
        example = self._example(own, _AUGMENT, position)
        if not others:
            return example
        partner, weight = self._partner(position)
        return self._mixing.combine(example, self._example(partner, _PARTNER, position), weight)

    def indices(self, position: int) -> list[int]:
        """Which slices of the source an example is made of: one, or two where it is mixed, the partner second."""
        epoch, offset = divmod(position, len(self._source))
        own = int(_epoch_order(self._seed, epoch, len(self._source))[offset])
        return [own, self._partner(position)[0]] if self._mixing.alpha else [own]

    def _partner(self, position: int) -> tuple[int, float]:
        """The slice that an example is mixed with, and the weight of the example itself."""
        rng = np.random.default_rng([self._seed, _MIX, position])
        return int(rng.integers(len(self._source))), self._mixing.draw(rng)

    def _example(self, index: int, purpose: int, position: int) -> Batch:
        rng = np.random.default_rng([self._seed, purpose, position])
        return network_example(self._source[index], self._preprocessing, self._augment, rng, self._stage_features)


@functools.lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """The order of an epoch; kept, since every example of the epoch asks for it."""
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(size)
