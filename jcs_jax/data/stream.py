"""The endless training stream: what stands at a position depends on seed and position alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from jcs_jax.data.examples import Source
from jcs_jax.data.inputs import Batch, network_example
from jcs_jax.data.mixing import Mixing
from jcs_jax.data.shares import Share
from jcs_jax.data.transforms import AUGMENTATIONS
from jcs_jax.errors import InputError
from jcs_jax.preprocessing import Preprocessing

_ORDER, _AUGMENT, _MIX, _PARTNER, _PASTE = range(5)  # second words of the generators' seeds


class ExampleStream:
    """An endless, shuffled, augmented stream that can be read at any position.

    What stands at a position depends on the seed and that position alone, not on who reads it or when: a
    training run resumes by starting at another position. Every epoch is a permutation of its own. With shares, every
    batch has its rows of each part of the source, and each part has epochs of its own; what is mixed is of one part.

    Args:
      source: the examples.
      preprocessing: of the network.
      augment: name of an augmentation.
      seed: of order, augmentation and mixing.
      length: positions that may be read.
      mixing: whether and how each example is mixed with another one.
      paste: probability that the opacities of another slice of the same part are laid over one.
      stage_features: which stored features the network takes in place of a picture.
      shares: of the source's parts in every batch, in the order of the batch's rows; none: the source is one part.

    Raises:
      InputError: an empty source, no such augmentation, or opacities to be laid over stored features.
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
        paste: float = 0.0,
        stage_features: Sequence[str] = (),
        shares: Sequence[Share] = (),
    ):
        if not len(source):
            raise InputError("the training split is empty; name a split that has examples")
        if augment not in AUGMENTATIONS:
            raise InputError(f"no augmentation is called {augment!r}; choose one of {', '.join(AUGMENTATIONS)}")
        if paste and source[0].image is None:
            raise InputError("config.data.paste_opacities: stored features have no opacities to lay over; set it to 0")
        self._source, self._preprocessing, self._augment = source, preprocessing, AUGMENTATIONS[augment]
        self._seed, self._length = seed, length
        self._mixing, self._paste, self._stage_features = mixing, paste, tuple(stage_features)
        self._shares = tuple(shares) or (Share(0, len(source), 1),)
        self._rows = sum(share.rows for share in self._shares)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, position: int) -> Batch:
        position = int(position)
        example = self._example(self._own(position), _AUGMENT, position, self._pasted(position))
        if not self._mixing.alpha:
            return example
        partner, weight = self._partner(position)
        return self._mixing.combine(example, self._example(partner, _PARTNER, position), weight)

    def indices(self, position: int) -> list[int]:
        """Which slices an example is made of: its own, the one whose opacities it gets, the one it is mixed with."""
        pasted = self._pasted(position)
        others = [] if pasted is None else [pasted]
        return [self._own(position), *others, *([self._partner(position)[0]] if self._mixing.alpha else [])]

    def _own(self, position: int) -> int:
        """The slice that an example is made of, unless it is mixed."""
        step, part, row = self._place(position)
        share = self._shares[part]
        epoch, offset = divmod(step * share.rows + row, share.size)
        seed = (self._seed, _ORDER, epoch, *([part] if part else []))
        return share.first + int(_epoch_order(seed, share.size)[offset])

    def _partner(self, position: int) -> tuple[int, float]:
        """The slice of the same part that an example is mixed with, and the weight of the example itself."""
        rng = np.random.default_rng([self._seed, _MIX, position])
        share = self._shares[self._place(position)[1]]
        return share.first + int(rng.integers(share.size)), self._mixing.draw(rng)

    def _pasted(self, position: int) -> int | None:
        """The slice of the same part whose opacities are laid over an example; None: none are."""
        if not self._paste:
            return None
        rng = np.random.default_rng([self._seed, _PASTE, position])
        share = self._shares[self._place(position)[1]]
        return share.first + int(rng.integers(share.size)) if rng.random() < self._paste else None

    def _place(self, position: int) -> tuple[int, int, int]:
        """The step that a position is of, its part of the source, and its row among that part's."""
        step, row = divmod(position, self._rows)
        part = 0
        while row >= self._shares[part].rows:
            row, part = row - self._shares[part].rows, part + 1
        return step, part, row

    def _example(self, index: int, purpose: int, position: int, pasted: int | None = None) -> Batch:
        rng = np.random.default_rng([self._seed, purpose, position])
        other = None if pasted is None else self._source[pasted]
        options = (self._preprocessing, self._augment, rng, self._stage_features)
        return network_example(self._source[index], *options, opacities_of=other)


@functools.lru_cache(maxsize=16)
def _epoch_order(seed: tuple[int, ...], size: int) -> np.ndarray:
    """The order of an epoch; kept, since every example of the epoch asks for it."""
    return np.random.default_rng(seed).permutation(size)
