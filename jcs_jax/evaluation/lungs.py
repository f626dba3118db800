"""The lungs of one slice by thresholds and morphology: no learning, for baselines and nothing else."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

# Chosen by eye on the 52 development slices of COVID-19-CT100; areas as shares of the body's, lengths of its root.
TISSUE_SHARE = 0.4  # of the way from Otsu's threshold to the mean of the tissue: ground glass counts as lung
SMALLEST_LUNG = 0.01  # keeps the lungs' tips, drops most of trachea and bowel gas
LARGEST_HOLE = 0.02  # vessels and consolidations are filled, a heart that the lungs surround is not
CLOSING_RADIUS = 0.06


def lung_mask(intensity: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Finds the lungs of an axial chest slice, opacities inside them included where they can be.

    Air inside the body's outline; each piece closed by a disc and its small holes filled. A consolidation as
    bright as the chest wall it touches is lost, and the main bronchi often come along.

    Args:
      intensity: (H, W) in [0, 1], any lung or wide window: air dark, soft tissue bright.

    Returns:
      (H, W) bool; all False where nothing looks like a lung.
    """
    image = np.asarray(intensity, np.float32)
    smooth = ndimage.gaussian_filter(image, sigma=1.0)
    tissue = smooth >= _tissue_threshold(smooth[~_padding(image)])
    body = ndimage.binary_fill_holes(_largest_piece(tissue))
    body_area = int(body.sum())
    pieces, _ = ndimage.label(body & ~tissue)
    lungs = np.zeros_like(body)
    for piece, box in enumerate(ndimage.find_objects(pieces), start=1):
        air = pieces[box] == piece
        if air.sum() >= SMALLEST_LUNG * body_area:
            closed = _close(air, CLOSING_RADIUS * np.sqrt(body_area))  # never leaves the box
            lungs[box] |= _fill_small_holes(closed, LARGEST_HOLE * body_area)
    return lungs & body


def _padding(image: np.ndarray) -> np.ndarray:
    """The even darkness around a round field of view; left in, it would be one of Otsu's two classes."""
    pieces, count = ndimage.label(image <= image.min() + 2 / 255)
    on_border = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    outside = np.zeros(count + 1, bool)
    outside[on_border[on_border > 0]] = True
    return outside[pieces]


def _tissue_threshold(pixels: np.ndarray) -> float:
    """Otsu's threshold of pixels in [0, 1], moved towards the mean of the brighter class."""
    counts, edges = np.histogram(pixels, bins=256, range=(0.0, 1.0))
    centres = (edges[:-1] + edges[1:]) / 2
    dark, dark_sum = np.cumsum(counts)[:-1], np.cumsum(counts * centres)[:-1]
    bright, bright_sum = counts.sum() - dark, (counts * centres).sum() - dark_sum
    if not (dark * bright).any():
        return np.inf  # one level only: nothing to tell apart
    dark_mean, bright_mean = dark_sum / np.maximum(dark, 1), bright_sum / np.maximum(bright, 1)
    split = int(np.argmax(dark * bright.astype(np.float64) * (bright_mean - dark_mean) ** 2))
    return float(edges[split + 1] + TISSUE_SHARE * (bright_mean[split] - edges[split + 1]))


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    pieces, _ = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return (pieces == sizes.argmax()) & mask


def _close(mask: np.ndarray, radius: float) -> np.ndarray:
    """Binary closing by a disc of any radius in pixels, by two distance transforms."""
    margin = int(radius) + 2
    padded = np.pad(mask, margin)
    dilated = ndimage.distance_transform_edt(~padded) <= radius
    closed = ndimage.distance_transform_edt(dilated) > radius
    return closed[margin:-margin, margin:-margin]


def _fill_small_holes(mask: np.ndarray, largest: float) -> np.ndarray:
    holes, _ = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
    small = np.bincount(holes.ravel()) <= largest
    small[0] = False  # label 0 is everything that is no hole
    return mask | small[holes]
