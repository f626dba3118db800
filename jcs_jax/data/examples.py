"""What every source of training and evaluation data yields, whether a prepared TFDS or plain arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import numpy as np

from jcs_jax.preprocessing import Preprocessing

UNKNOWN_LABEL = -1


@dataclasses.dataclass(frozen=True)
class Example:
    """One CT slice with what is known about it.

    Attributes:
      image: (H, W) float32; HU, or display intensities in [0, 1].
      encoding: which of the two `image` holds.
      mask: (H, W) uint8, 1 where opacified; None where nobody drew one.
      label: 0 uninfected, 1 infected, -1 unknown.
      patient: identifier that groups slices of one patient; empty if unknown.
      name: unique within its source.
    """

    image: np.ndarray
    encoding: Literal["intensity", "hounsfield"] = "intensity"
    mask: np.ndarray | None = None
    label: int = UNKNOWN_LABEL
    patient: str = ""
    name: str = ""


class Source(Protocol):
    """A random-access sequence of examples."""

    @property
    def info(self) -> Mapping[str, str | int]:
        """What the data set says of itself (licence, warnings)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...


class ArraySource:
    """Examples that are already in memory: training without any data-set library.

    Args:
      examples: the examples, in order.
      info: what to say of them.
    """

    def __init__(self, examples: Sequence[Example], info: Mapping[str, str | int] | None = None):
        self._examples = list(examples)
        self.info: Mapping[str, str | int] = dict(info or {})

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Example:
        return self._examples[index]


def example_intensity(example: Example, preprocessing: Preprocessing) -> np.ndarray:
    """The example's slice as display intensities in [0, 1], (H, W) float32; HU go through the preset's window."""
    if example.encoding == "hounsfield":
        return preprocessing.window(example.image)
    return np.asarray(example.image, np.float32)
