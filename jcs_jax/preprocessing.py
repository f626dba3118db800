"""From CT intensities to what a network sees, and back: the constants that travel with a model's weights.

NumPy and OpenCV only, so that the data pipeline, the predictor and the presets can share it without
importing one another.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import cv2
import numpy as np

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
FEATURE_SCALE = 20  # steps to the unit in stored first-stage features


def resize_array(array: np.ndarray, size: tuple[int, int], *, antialias: bool = False) -> np.ndarray:
    """Resizes a 2-D or (H, W, C) array bilinearly with half-pixel centres.

    Args:
      array: (H, W) or (H, W, C), any real dtype; computed and returned as float32.
      size: (height, width) wanted.
      antialias: average the source pixels under each output pixel where a side shrinks (area weights).

    Returns:
      (height, width) or (height, width, C) float32.
    """
    array = np.ascontiguousarray(array, dtype=np.float32)
    if array.shape[:2] == tuple(size):
        return array
    resized = array
    if antialias:
        height, width = (min(wanted, side) for wanted, side in zip(size, array.shape[:2], strict=True))
        resized = cv2.resize(resized, (width, height), interpolation=cv2.INTER_AREA)
    resized = cv2.resize(resized, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return resized if resized.ndim == array.ndim else resized[..., np.newaxis]


def display_window(hounsfield: np.ndarray, level: float, width: float) -> np.ndarray:
    """Maps HU of any shape to float32 intensities: 0 at the window's lower end and below, 1 at its upper end and above.

    Args:
      hounsfield: HU.
      level: the window's centre in HU.
      width: of the window in HU.
    """
    low = level - width / 2
    return np.clip((np.asarray(hounsfield, np.float32) - low) / width, 0.0, 1.0)


def tissue_grey_of(intensity: np.ndarray) -> float | None:
    """The grey of a slice's soft tissue: the median of what Otsu's threshold finds bright.

    Heart, vessels and chest wall outweigh bone, and consolidations have their grey.

    Args:
      intensity: (H, W) float32 in [0, 1].

    Returns:
      In (0, 1]; None for a slice of one grey.

    Source: Otsu, A threshold selection method from gray-level histograms, IEEE Trans. SMC 9(1), 1979.
    """
    levels = np.rint(np.clip(intensity, 0, 1) * 255).astype(np.uint8)
    if levels.min() == levels.max():
        return None
    threshold, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    return float(np.median(intensity[levels > threshold]))


def with_tissue_at(intensity: np.ndarray, grey: float) -> np.ndarray:
    """Scales a slice so that its soft tissue has a given grey, whatever display window the picture was made with.

    Black stays black.

    Args:
      intensity: (H, W) float32 in [0, 1].
      grey: of soft tissue, in (0, 1].

    Returns:
      (H, W) float32 in [0, 1]; a slice of one grey comes back as it is.
    """
    found = tissue_grey_of(intensity)
    return intensity if found is None else np.clip(intensity * np.float32(grey / found), 0.0, 1.0)


def decode_features(stored: Any) -> Any:
    """Stored first-stage features, a NumPy or JAX array of uint8, as the float32 a network starts from: value / 20.

    Source: README of the JCS release. Its encoder wraps instead of clipping (12.8 is stored as 0), which no reader
    can undo.
    """
    return stored.astype(np.float32) / FEATURE_SCALE


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How a slice becomes a network input; stored with the weights.

    Attributes:
      size: (height, width) of the network's input in pixels.
      geometry: `stretch` resizes the whole slice to `size`; `centre_crop` resizes the shorter side to
        `shorter_side` and cuts `size` out of the centre, as the reference classifier does.
      shorter_side: pixels; used by `centre_crop` only.
      antialias: average when shrinking. The reference does not.
      mean: per channel, of intensities in [0, 1].
      std: per channel, of intensities in [0, 1].
      window_level: centre of the display window in HU that maps to [0, 1].
      window_width: width of that window in HU.
      tissue_grey: intensity that every slice's soft tissue is brought to, see `with_tissue_at`; 0 leaves slices as
        they are.
    """

    size: tuple[int, int]
    geometry: Literal["stretch", "centre_crop"] = "stretch"
    shorter_side: int = 256
    antialias: bool = True
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    window_level: float = -600.0
    window_width: float = 1500.0
    tissue_grey: float = 0.0

    def window(self, hounsfield: np.ndarray) -> np.ndarray:
        """Maps HU of any shape to float32 intensities in [0, 1] by the preset's display window."""
        return display_window(hounsfield, self.window_level, self.window_width)

    def frame(self, plane: np.ndarray) -> np.ndarray:
        """Brings a plane (H, W), float32, into the network's frame: `size`, by the preset's geometry."""
        if self.geometry == "stretch":
            return resize_array(plane, self.size, antialias=self.antialias)
        resized = resize_array(plane, self._resized_shape(plane.shape), antialias=self.antialias)
        top, left = self._crop_origin(resized.shape)
        return resized[top : top + self.size[0], left : left + self.size[1]]

    def normalize(self, intensity: np.ndarray) -> np.ndarray:
        """Repeats intensities (..., H, W) in [0, 1] into three channels and standardises them: (..., H, W, 3)."""
        intensity = np.asarray(intensity, np.float32)
        plane = intensity.reshape(-1, intensity.shape[-1])
        # Channel by channel and merged: 15 times faster than broadcasting over a last axis of three.
        channels = [(plane - np.float32(mean)) / np.float32(std) for mean, std in zip(self.mean, self.std, strict=True)]
        return cv2.merge(channels).reshape(*intensity.shape, len(channels))

    def picture(self, intensity: np.ndarray) -> np.ndarray:
        """One slice, (H, W) float32 in [0, 1], in the network's frame and its greys: `size`, in [0, 1]."""
        framed = self.frame(intensity)
        return with_tissue_at(framed, self.tissue_grey) if self.tissue_grey else framed

    def network_input(self, intensity: np.ndarray) -> np.ndarray:
        """One slice, (H, W) float32 in [0, 1], as the network's input (height, width, 3) float32."""
        return self.normalize(self.picture(intensity))

    def to_source(self, plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Puts a map on the network's frame back onto the slice it came from.

        Args:
          plane: (h, w) real; a map over the network's input of any resolution (an activation map is coarse).
          shape: (H, W) of the source slice.

        Returns:
          (H, W) float32; zero where the network never looked (outside a centre crop).
        """
        if self.geometry == "stretch":
            return resize_array(plane, shape)
        resized_shape = self._resized_shape(shape)
        canvas = np.zeros(resized_shape, np.float32)
        top, left = self._crop_origin(resized_shape)
        canvas[top : top + self.size[0], left : left + self.size[1]] = resize_array(plane, self.size)
        return resize_array(canvas, shape)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values that `from_json` reads."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Preprocessing:
        """Rebuilds what `to_json` wrote; an unknown key raises TypeError."""
        restored: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**restored)

    def _resized_shape(self, shape: tuple[int, ...]) -> tuple[int, int]:
        height, width = (self.shorter_side * side // min(shape[:2]) for side in shape[:2])
        return max(height, self.size[0]), max(width, self.size[1])

    def _crop_origin(self, shape: tuple[int, ...]) -> tuple[int, int]:
        return round((shape[0] - self.size[0]) / 2), round((shape[1] - self.size[1]) / 2)
