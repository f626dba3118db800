"""What every source of training and evaluation data yields, whether a prepared TFDS or plain arrays."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Protocol

import numpy as np

from jcs_jax.errors import InputError
from jcs_jax.preprocessing import Preprocessing

UNKNOWN_LABEL = UNKNOWN_NUMBER = -1


@dataclasses.dataclass(frozen=True)
class Example:
    """One CT slice with what is known about it.

    Attributes:
      image: (H, W) float32; HU, or display intensities in [0, 1]. None where only stage features are public.
      encoding: which of the two `image` holds.
      mask: (H, W) uint8, 1 where opacified; None where nobody drew one.
      label: 0 uninfected, 1 infected, -1 unknown.
      patient: identifier that groups slices of one patient; empty if unknown.
      name: unique within its source.
      vgg_features: (h, w, C) uint8, the quantised output of VGG's stage 1; None where the image is given.
      res2net_features: (h, w, C) uint8, the quantised output of Res2Net's stem; None where the image is given.
      spacing: mm between the centres of neighbouring rows, and of columns; None if unknown.
    """

    image: np.ndarray | None
    encoding: Literal["intensity", "hounsfield"] = "intensity"
    mask: np.ndarray | None = None
    label: int = UNKNOWN_LABEL
    patient: str = ""
    name: str = ""
    vgg_features: np.ndarray | None = None
    res2net_features: np.ndarray | None = None
    spacing: tuple[float, float] | None = None

    @property
    def stage_features(self) -> dict[str, np.ndarray]:
        """The stored first-stage features by the name of the network's argument; empty where there are none."""
        features = {"vgg_features": self.vgg_features, "res2net_features": self.res2net_features}
        return {name: array for name, array in features.items() if array is not None}


@dataclasses.dataclass(frozen=True)
class SliceRecord:
    """What is known of a slice without looking at its pixels.

    Attributes:
      name: unique within its source.
      patient: identifier that groups slices of one patient; empty if unknown.
      label: 0 uninfected, 1 infected, -1 unknown.
      origin: site, paper or collection that the slice comes from; empty if unknown.
      file_type: `png`, `jpeg`, `dicom`, ...: the form it was read from; empty if unknown.
      digest: SHA-256 of the slice's values: equal for the same picture in two files; empty for a blank slice.
      height: rows.
      width: columns.
      slice_index: counted from the apex of the lungs; -1 unknown.
      lesion_count: -1 unknown.
      lesion_area: pixels, -1 unknown.
      lesion_location: in the source's words; empty if unknown.
      spacing: mm between the centres of neighbouring rows and of neighbouring columns; None if unknown.
    """

    name: str
    patient: str
    label: int
    origin: str
    file_type: str
    digest: str
    height: int
    width: int
    slice_index: int = UNKNOWN_NUMBER
    lesion_count: int = UNKNOWN_NUMBER
    lesion_area: float = UNKNOWN_NUMBER
    lesion_location: str = ""
    spacing: tuple[float, float] | None = None


class Source(Protocol):
    """A random-access sequence of examples."""

    @property
    def info(self) -> Mapping[str, str | int]:
        """What the data set says of itself (licence, warnings)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...

    def records(self) -> Iterator[SliceRecord]:
        """What is known of every slice, in order, without decoding pictures where that can be avoided."""
        ...


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

    def records(self) -> Iterator[SliceRecord]:
        """What is known of every slice, in order."""
        for example in self._examples:
            arrays = [example.image] if example.image is not None else list(example.stage_features.values())
            values = b"".join(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes() for array in arrays)
            yield SliceRecord(
                name=example.name,
                patient=example.patient,
                label=example.label,
                origin="",
                file_type="",
                digest=""
                if all(array.min() == array.max() for array in arrays)
                else hashlib.sha256(values).hexdigest(),
                height=arrays[0].shape[0],
                width=arrays[0].shape[1],
                lesion_area=UNKNOWN_NUMBER if example.mask is None else float(np.count_nonzero(example.mask)),
                spacing=example.spacing,
            )


def example_intensity(example: Example, preprocessing: Preprocessing) -> np.ndarray:
    """The example's slice as display intensities in [0, 1], (H, W) float32; HU go through the preset's window.

    Raises:
      InputError: the data set holds stage features instead of pictures.
    """
    if example.image is None:
        raise InputError(f"{example.name}: has stored features but no picture; choose a data set with pictures")
    if example.encoding == "hounsfield":
        return preprocessing.window(example.image)
    return np.asarray(example.image, np.float32)
