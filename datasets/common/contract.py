"""What every builder stores: feature names, types and metadata keys that a reader can rely on."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import tensorflow_datasets as tfds

HU_OFFSET = 1024
FEATURE_SCALE = 20  # stored first-stage features are round-down(value * 20) in 8 bits
UNKNOWN = -1

RESEARCH_USE_ONLY = "For research only: not for diagnosis or for the care of patients."
ABSENT_VALUES = (
    "unknown: label -1, slice_index -1, lesion_count -1, lesion_area -1, row_spacing and column_spacing -1, an empty "
    "patient, source, file_type or lesion_location, and a mask or lungs of 1 x 1 pixel"
)
LESION_VALUES = (
    "where a mask is stored and the source does not annotate them, lesion_count is the number of 8-connected "
    "regions of the mask and lesion_area their pixels"
)

Encoding = Literal["gray8", "hu16", "features"]
_DTYPES: dict[str, type[np.generic]] = {"gray8": np.uint8, "hu16": np.uint16}
_VGG_CHANNELS = _RES2NET_CHANNELS = 64


def slice_features(encoding: Literal["gray8", "hu16"]) -> tfds.features.FeaturesDict:
    """The features of one CT slice stored as a picture.

    Args:
      encoding: `gray8` stores display intensities 0..255 in 8 bits; `hu16` stores HU + 1024 in 16 bits.

    Returns:
      image (H, W, 1) of that type; mask (H, W, 1) uint8, 1 where opacified; lungs (H, W, 1) uint8, 1 in the
      lungs; and the scalars of `_record_features`.
    """
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 1), dtype=_DTYPES[encoding], encoding_format="png"),
            "mask": _mask_feature(),
            "lungs": _mask_feature(),
            **_record_features(),
        }
    )


def stage_features(*, vgg_side: int | None, res2net_side: int) -> tfds.features.FeaturesDict:
    """The features of one CT slice of which only the first encoder stages' outputs are public.

    Args:
      vgg_side: rows and columns of VGG's stage 1; None where it isn't stored.
      res2net_side: rows and columns of Res2Net's stem.

    Returns:
      vgg_features (S, S, 64) and res2net_features (s, s, 64), uint8, 20 to the unit; mask (H, W, 1) uint8;
      and the scalars of `_record_features`.
    """
    sides = {"vgg_features": (vgg_side, _VGG_CHANNELS), "res2net_features": (res2net_side, _RES2NET_CHANNELS)}
    arrays = {
        # As bytes: by default TFDS would write every value as a 64-bit integer of its own.
        name: tfds.features.Tensor(shape=(side, side, channels), dtype=np.uint8, encoding="bytes")
        for name, (side, channels) in sides.items()
        if side is not None
    }
    return tfds.features.FeaturesDict({**arrays, "mask": _mask_feature(), **_record_features()})


def _mask_feature() -> tfds.features.Image:
    return tfds.features.Image(shape=(None, None, 1), dtype=np.uint8, encoding_format="png")


def _record_features() -> dict[str, tfds.features.FeatureConnector]:
    """What is told of a slice in a word or a number; how an unknown value is written is in the metadata.

    label: 0 uninfected, 1 infected; patient, name, source (site, paper or collection) and file_type, text;
    digest: SHA-256 of the slice's values, empty for a blank slice; slice_index: counted from the apex of the
    lungs; height, width: of the slice in pixels; row_spacing, column_spacing: mm between the centres of neighbouring
    rows and columns, both known or none; lesion_count, lesion_area (pixels), lesion_location (words of the source).
    """
    texts = ("patient", "name", "source", "file_type", "digest", "lesion_location")
    numbers = ("label", "slice_index", "height", "width", "lesion_count")
    measures = ("lesion_area", "row_spacing", "column_spacing")
    return {
        **{name: tfds.features.Text() for name in texts},
        **{name: tfds.features.Scalar(np.int64) for name in numbers},
        **{name: tfds.features.Scalar(np.float32) for name in measures},
    }


def slice_metadata(encoding: Encoding, *, licence: str, **notes: str) -> tfds.core.MetadataDict:
    """The metadata every data set carries, with what a builder adds in `notes`; `warning` is empty at first."""
    values: dict[str, str | int] = {
        "image_encoding": encoding,
        "hu_offset": HU_OFFSET if encoding == "hu16" else 0,
        "feature_scale": FEATURE_SCALE if encoding == "features" else 0,
        "research_use_only": RESEARCH_USE_ONLY,
        "licence": licence,
        "absent_values": ABSENT_VALUES,
        "lesion_values": LESION_VALUES,
        "warning": "",
    }
    return tfds.core.MetadataDict({**values, **notes})


def gray8_png(array: np.ndarray) -> bytes:
    """A (H, W) uint8 array, an image or a 0/1 mask, as PNG, which TFDS stores as it is."""
    values = np.ascontiguousarray(array, np.uint8)
    return _mask_png(values) if values.max() <= 1 else _slice_png(values)


def hu16_png(hounsfield: np.ndarray) -> bytes:
    """A (H, W) array of HU as the 16-bit PNG that stores HU + 1024, clipped to what 16 bits hold."""
    shifted = np.asarray(hounsfield, np.int32) + HU_OFFSET
    return _slice_png(np.clip(shifted, 0, np.iinfo(np.uint16).max).astype(np.uint16))


def _slice_png(values: np.ndarray) -> bytes:
    """Differences of rows, not deflated.

    ArrayRecord compresses them by itself: they are smaller and read in half the time
    (COVID-19-CT100: 169 KB and 1.1 ms of processor time a pair, against 175 KB and 2.4 ms deflated).
    """
    return _png(values, cv2.IMWRITE_PNG_FILTER_UP, level=0)


def _mask_png(values: np.ndarray) -> bytes:
    return _png(values, cv2.IMWRITE_PNG_FILTER_NONE, level=1)


def _png(values: np.ndarray, row_filter: int, *, level: int) -> bytes:
    options = [cv2.IMWRITE_PNG_COMPRESSION, level, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT]
    return cv2.imencode(".png", values, [*options, cv2.IMWRITE_PNG_FILTER, row_filter])[1].tobytes()
