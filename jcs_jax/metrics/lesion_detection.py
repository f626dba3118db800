"""Lesions found and missed, one by one, whatever their size; of one image."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy import ndimage

# This project's choice, not a clinical standard. In a picture of 350 mm a side 0.1 % is a disc 12 mm across, 1 % one of
# 40 mm.
SIZE_CLASSES = ("small", "medium", "large")
SIZE_LIMITS = (0.001, 0.01)  # share of the picture's area from which a lesion is medium, and large
LEAST_OVERLAP = 0.1
EIGHT_NEIGHBOURS = np.ones((3, 3), bool)


@dataclasses.dataclass(frozen=True)
class LesionDetection:
    """What became of each lesion of an image.

    Attributes:
      areas: (L,) of each true lesion, in pixels; from the top of the image downwards.
      areas_mm2: (L,) the same in mm2; nan where the size of a pixel isn't known.
      detected: (L,) whether it was found.
      false_lesions: predicted lesions that share no pixel with a true one.
    """

    areas: Int[np.ndarray, " l"]
    areas_mm2: Float[np.ndarray, " l"]
    detected: Bool[np.ndarray, " l"]
    false_lesions: int


def detected_lesions(
    predicted: Bool[np.ndarray, "h w"],
    target: Shaped[np.ndarray, "h w"],
    *,
    pixel_area: float = math.nan,
    least_overlap: float = LEAST_OVERLAP,
) -> LesionDetection:
    """Tells for each true lesion of an image whether it was found, and counts the invented ones.

    A lesion is an 8-connected piece of a mask. It is found if at least `least_overlap` of its pixels are predicted: one
    predicted piece may find several lesions, and several pieces together one. A predicted piece that shares some pixels
    with a lesion, too few to find it, counts neither as found nor as false.

    Args:
      predicted: (H, W) bool.
      target: (H, W), true or 1 where opacified.
      pixel_area: of one pixel, in mm2; nan if it isn't known.
      least_overlap: share of a lesion, above 0, at most 1.

    Returns:
      L = 0 lesions where the target is empty; what is predicted there is false.

    Raises:
      ValueError: if the shapes differ, the share is outside its range or the area zero, negative or infinite.
    """
    predicted, target = np.asarray(predicted, bool), np.asarray(target).astype(bool)
    if predicted.shape != target.shape or target.ndim != 2:
        raise ValueError(f"prediction {predicted.shape} and mask {target.shape} must both be one (H, W)")
    if not 0 < least_overlap <= 1:
        raise ValueError(f"least_overlap is {least_overlap}; it must be above 0, at most 1")
    if pixel_area <= 0 or math.isinf(pixel_area):
        raise ValueError(f"pixel_area is {pixel_area} mm2; it must be above 0 and finite, or nan if it isn't known")
    areas, found = _pieces(target, predicted)
    _, true = _pieces(predicted, target)
    return LesionDetection(areas, areas * float(pixel_area), found / areas >= least_overlap, int((true == 0).sum()))


def size_classes(areas: Int[np.ndarray, " l"], picture: tuple[int, int]) -> Int[np.ndarray, " l"]:
    """The class of each lesion by its share of the picture's area, the same at every resolution.

    Small is below 0.1 %, medium below 1 %, large the rest.

    Args:
      areas: (L,), in pixels.
      picture: its height and width in pixels.

    Returns:
      (L,) index into `SIZE_CLASSES`.
    """
    return np.digitize(np.asarray(areas) / math.prod(picture), SIZE_LIMITS)


def _pieces(mask: Bool[np.ndarray, "h w"], other: Bool[np.ndarray, "h w"]) -> tuple[np.ndarray, np.ndarray]:
    """Of each 8-connected piece of a mask: its pixels, and those of them in the other mask; (L,) int64 each."""
    numbers, count = ndimage.label(mask, EIGHT_NEIGHBOURS)
    area, shared = (np.bincount(numbers[part], minlength=count + 1)[1:] for part in (mask, mask & other))
    return area, shared
