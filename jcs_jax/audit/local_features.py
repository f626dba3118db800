"""Local features of a slice that find it again when it was flipped, turned, cropped, resized or re-encoded.

SIFT features don't depend on position, rotation and scale. Of a mirrored picture they are the same numbers in
another order, so that mirrored copies cost no second pass over the pixels.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, UInt8

SIDE = 256  # pixels on the longer side: enough to tell neighbouring slices of 1 mm apart
FEATURES = 300
_LENGTH = 128
_CONTRAST = 0.02
_DARK, _BRIGHT = 1.0, 99.0  # percentiles that become black and white
_NOTHING = np.zeros((0, 0), np.float32)
# A descriptor holds 4 x 4 cells of 8 directions, in the frame of its keypoint's own direction. Mirroring turns
# the order of the rows and the sense of the directions.
MIRROR = np.arange(_LENGTH).reshape(4, 4, 8)[::-1, :, (8 - np.arange(8)) % 8].ravel()


@dataclasses.dataclass(frozen=True)
class LocalFeatures:
    """A slice reduced to what is compared.

    Attributes:
      picture: (h, w) uint8, at most 256 pixels a side, contrast stretched.
      points: (n, 2) float32, x and y in `picture`.
      descriptors: (n, 128) uint8.
    """

    picture: UInt8[np.ndarray, "h w"]
    points: Float[np.ndarray, "n 2"]
    descriptors: UInt8[np.ndarray, "n 128"]

    def directions(self) -> Float[np.ndarray, "n 128"]:
        """Descriptors as float32 vectors of length 1, whose products tell how alike they are (root-SIFT)."""
        values = self.descriptors.astype(np.float32)
        return np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1))


def extract(intensity: Float[np.ndarray, "H W"]) -> LocalFeatures:
    """Finds up to 300 local features.

    Args:
      intensity: (H, W) float32 in [0, 1].

    Returns:
      The features; none for a plain picture.
    """
    picture = _reduce(intensity)
    finder = cv2.SIFT.create(nfeatures=FEATURES, contrastThreshold=_CONTRAST)
    keypoints, descriptors = finder.detectAndCompute(picture, None)
    if descriptors is None:
        return LocalFeatures(picture, np.zeros((0, 2), np.float32), np.zeros((0, _LENGTH), np.uint8))
    points = np.array([keypoint.pt for keypoint in keypoints], np.float32)
    return LocalFeatures(picture, points[:FEATURES], descriptors[:FEATURES].astype(np.uint8))


def products(rows: Float[np.ndarray, "n d"], others: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """`rows @ others.T` of float32 matrices, by OpenCV.

    NumPy's product of matrices this small takes many times as long on a busy machine, waiting for its threads.
    """
    return np.asarray(cv2.gemm(rows, others, 1, _NOTHING, 0, flags=cv2.GEMM_2_T))


def _reduce(intensity: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "h w"]:
    """The slice at most 256 pixels a side, with its darkest and brightest hundredth made black and white."""
    factor = SIDE / max(intensity.shape)
    if factor < 1:
        size = tuple(max(1, round(side * factor)) for side in intensity.shape[::-1])
        intensity = cv2.resize(np.ascontiguousarray(intensity), size, interpolation=cv2.INTER_AREA)
    dark, bright = np.percentile(intensity, (_DARK, _BRIGHT))
    scaled = (intensity - dark) / max(float(bright - dark), 1 / 255)
    return np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
