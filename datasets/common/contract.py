"""What every builder stores: feature names, types and metadata keys that a reader can rely on."""

from __future__ import annotations

from typing import Literal

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

HU_OFFSET = 1024
UNKNOWN_INDEX = -1

RESEARCH_USE_ONLY = "For research only: not for diagnosis or for the care of patients."
ABSENT_VALUES = "label -1, patient '', slice_index -1 and a mask of 1 x 1 pixel mean: unknown"

Encoding = Literal["gray8", "hu16"]
_DTYPES: dict[Encoding, type[np.generic]] = {"gray8": np.uint8, "hu16": np.uint16}


def slice_features(encoding: Encoding) -> tfds.features.FeaturesDict:
    """The features of one CT slice.

    Args:
      encoding: `gray8` stores display intensities 0..255 in 8 bits; `hu16` stores HU + 1024 in 16 bits.

    Returns:
      image (H, W, 1) of that type; mask (H, W, 1) uint8, 1 where opacified; label int64, 0 uninfected,
      1 infected; patient and name, text; slice_index int64, counted from the apex of the lungs.
    """
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 1), dtype=_DTYPES[encoding], encoding_format="png"),
            "mask": tfds.features.Image(shape=(None, None, 1), dtype=np.uint8, encoding_format="png"),
            "label": tfds.features.Scalar(np.int64),
            "patient": tfds.features.Text(),
            "name": tfds.features.Text(),
            "slice_index": tfds.features.Scalar(np.int64),
        }
    )


def slice_metadata(encoding: Encoding, *, licence: str, **notes: str) -> tfds.core.MetadataDict:
    """The metadata every data set carries, with what a builder adds in `notes`; `warning` is empty at first."""
    values: dict[str, str | int] = {
        "image_encoding": encoding,
        "hu_offset": HU_OFFSET if encoding == "hu16" else 0,
        "research_use_only": RESEARCH_USE_ONLY,
        "licence": licence,
        "absent_values": ABSENT_VALUES,
        "warning": "",
    }
    return tfds.core.MetadataDict({**values, **notes})


def gray8_picture(array: np.ndarray) -> Image.Image:
    """A (H, W) uint8 array, an image or a 0/1 mask, as TFDS takes it without TensorFlow."""
    return Image.fromarray(np.ascontiguousarray(array, np.uint8))


def hu16_picture(hounsfield: np.ndarray) -> Image.Image:
    """A (H, W) array of HU as the 16-bit picture that stores HU + 1024, clipped to what 16 bits hold."""
    shifted = np.asarray(hounsfield, np.int32) + HU_OFFSET
    return Image.fromarray(np.clip(shifted, 0, np.iinfo(np.uint16).max).astype(np.uint16))
