"""Augmentation of one slice and its mask, in the network's frame.

Functions of (slice, mask, generator): the same generator state gives the same result. Axes are named as a
viewer sees them: `left_right` mirrors the picture, `top_bottom` turns it upside down.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from jcs_jax.preprocessing import tissue_grey_of

Transform = Callable[[np.ndarray, np.ndarray | None, np.random.Generator], tuple[np.ndarray, np.ndarray | None]]
REFERENCE_CROP = 16  # pixels off each side, at most
ELASTIC_KNOTS = 6
REFERENCE_FLIPS = ("top_bottom",)
MODERN_FLIPS = ("left_right", "top_bottom")


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """An augmentation by name.

    Attributes:
      transform: of a slice and its mask.
      flips: the axes along which it mirrors, each with probability 0.5: all that can be done to stored stage
        features. A mirrored feature map is not quite the features of the mirrored slice, since the filters are
        not symmetric.
    """

    transform: Transform
    flips: tuple[str, ...] = ()

    def __call__(
        self, image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Slice and mask, (H, W), of the same size as before."""
        return self.transform(image, mask, rng)


def keep(image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
    """No augmentation."""
    del rng
    return image, mask


def reference(
    image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """The release's augmentation: a crop of up to 16 pixels off each side, resized back, and a vertical flip.

    Each happens with probability 0.5. The crop is bilinear for the slice and nearest for the mask.

    Args:
      image: (H, W) float32.
      mask: (H, W) 0/1, or None.
      rng: draws everything.

    Returns:
      Slice and mask of the same size.

    Source: training transforms of the JCS release, as described in the project's reference notes.
    """
    if rng.random() < 0.5:
        height, width = image.shape
        limit = min(REFERENCE_CROP, (min(height, width) - 1) // 2)
        top, bottom, left, right = rng.integers(0, limit + 1, 4)
        window = np.s_[top : height - bottom, left : width - right]
        image = cv2.resize(image[window], (width, height), interpolation=cv2.INTER_LINEAR)
        if mask is not None:
            mask = cv2.resize(mask[window], (width, height), interpolation=cv2.INTER_NEAREST)
    flipped, mask = flip_some({"image": image}, mask, REFERENCE_FLIPS, rng)
    return flipped["image"], mask


def modern(
    image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """Ours: flips, rotation, anisotropic scale, shift, elastic warp, contrast, gamma and noise.

    One warp moves slice and mask together, so that they are resampled once and stay aligned. CT slices differ
    in window and field of view between scanners, hence the wide intensity and scale ranges. Patients are
    scanned prone as well as supine, hence the vertical flip.

    Args:
      image: (H, W) float32 in [0, 1].
      mask: (H, W) 0/1, or None.
      rng: draws everything.

    Returns:
      Slice in [0, 1] and mask in {0, 1}, of the same size.
    """
    flipped, mask = flip_some({"image": image}, mask, MODERN_FLIPS, rng)
    image = flipped["image"]
    if rng.random() < 0.9:
        map_x, map_y = _warp_maps(image.shape, rng)
        image = cv2.remap(np.ascontiguousarray(image), map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        if mask is not None:
            mask = np.ascontiguousarray(mask, np.float32)
            warped = cv2.remap(mask, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
            mask = (warped > 0.5).astype(np.float32)
    return _intensity(image, rng), mask


def with_opacities(
    image: np.ndarray,
    mask: np.ndarray | None,
    other: np.ndarray,
    other_mask: np.ndarray | None,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray | None]:
    """A slice with the opacities of another one laid over it, mirrored along each axis with probability 0.5.

    Opacities are brighter than the lung that they fill. So they are laid where they are brighter than what is there,
    with soft tissue of both at one grey, and there alone the mask grows: heart, chest wall and vessels stay in front.

    Args:
      image: (H, W) float32 in [0, 1].
      mask: (H, W) 0/1, or None.
      other: of the same shape, whose opacities are laid over.
      other_mask: which pixels those are, or None.
      rng: draws the mirroring.

    Returns:
      Slice in [0, 1] and mask in {0, 1}; as they were where one of the masks isn't known.

    Source: Ghiasi et al., Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation, CVPR 2021.
    """
    if mask is None or other_mask is None:
        return image, mask
    mirrored, other_mask = flip_some({"image": other}, other_mask, MODERN_FLIPS, rng)
    tissue, other_tissue = tissue_grey_of(image), tissue_grey_of(other)
    if tissue is None or other_tissue is None or other_mask is None:
        return image, mask
    laid = np.clip(mirrored["image"] * np.float32(tissue / other_tissue), 0, 1)
    seen = (other_mask > 0.5) & (laid > image)
    return np.where(seen, laid, image), np.where(seen, np.float32(1), mask)


def flip(array: np.ndarray, axis: str) -> np.ndarray:
    """Mirrors an array (H, W, ...) along `left_right` or `top_bottom`."""
    return np.flip(array, {"top_bottom": 0, "left_right": 1}[axis])


def flip_some(
    arrays: dict[str, np.ndarray], mask: np.ndarray | None, axes: Sequence[str], rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Mirrors arrays (H, W, ...) and mask together along each of the axes, each time with probability 0.5."""
    for axis in axes:
        if rng.random() < 0.5:
            arrays = {name: flip(array, axis) for name, array in arrays.items()}
            mask = None if mask is None else flip(mask, axis)
    return arrays, mask


def _warp_maps(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """For every output pixel the source position: rotation, scale per axis, shift, and a smooth displacement."""
    height, width = shape
    angle = np.deg2rad(rng.uniform(-20, 20))
    scale = rng.uniform(0.8, 1.25) * np.array([rng.uniform(0.9, 1.1), rng.uniform(0.9, 1.1)])
    shift = rng.uniform(-0.08, 0.08, 2) * (height, width)
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = (y - centre[0]) / scale[0], (x - centre[1]) / scale[1]
    map_y = np.cos(angle) * y - np.sin(angle) * x + centre[0] + shift[0]
    map_x = np.sin(angle) * y + np.cos(angle) * x + centre[1] + shift[1]
    if rng.random() < 0.5:
        knots = rng.normal(0, 0.015 * min(height, width), (2, ELASTIC_KNOTS, ELASTIC_KNOTS)).astype(np.float32)
        map_y = map_y + cv2.resize(knots[0], (width, height), interpolation=cv2.INTER_CUBIC)
        map_x = map_x + cv2.resize(knots[1], (width, height), interpolation=cv2.INTER_CUBIC)
    return map_x.astype(np.float32), map_y.astype(np.float32)


def _intensity(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another window (contrast and brightness), gamma, and sometimes noise or blur."""
    image = np.clip((image - 0.5) * rng.uniform(0.75, 1.3) + 0.5 + rng.uniform(-0.12, 0.12), 0, 1)
    image = image ** np.exp(rng.uniform(-0.4, 0.4))
    if rng.random() < 0.2:
        image = image + rng.normal(0, rng.uniform(0.005, 0.04), image.shape)
    elif rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.0))
    return np.clip(image, 0, 1).astype(np.float32)


AUGMENTATIONS = {
    "none": Augmentation(keep),
    "reference": Augmentation(reference, REFERENCE_FLIPS),
    "modern": Augmentation(modern, MODERN_FLIPS),
}
