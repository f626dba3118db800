"""Where the lesions of a slice lie, in a radiologist's words."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

ZONES = ("upper", "middle", "lower")  # thirds of the lungs' height
PERIPHERAL_SHARE = 1 / 3
_EIGHT_CONNECTED = np.ones((3, 3))


def describe_locations(lesions: np.ndarray, lungs: np.ndarray, height: float) -> str:
    """Names the places where a slice shows lesions.

    Side: the patient's right is on the image's left. Zone: the third of the lungs' height that the slice cuts.
    Depth: measured inwards from the convex hull of both lungs, so that the mediastinum does not count as a
    border; a lesion is peripheral if at least half of it lies within a third of the hull's greatest depth.

    Args:
      lesions: (H, W) 0/1; each 8-connected region is one lesion.
      lungs: (H, W) 0/1.
      height: of the slice, 0 at the apex of the lungs, 1 at their base.

    Returns:
      Such as `right upper peripheral; left upper central`: each place once, right before left, peripheral before
      central. Empty where there is no lesion.
    """
    regions, count = ndimage.label(lesions, structure=_EIGHT_CONNECTED)
    if not count:
        return ""
    depth = _depth_below_hull(lungs)
    rim = depth <= PERIPHERAL_SHARE * depth.max()
    right = np.arange(lesions.shape[1]) < lesions.shape[1] / 2
    numbers = np.arange(1, count + 1)
    zone = ZONES[min(int(height * len(ZONES)), len(ZONES) - 1)]
    on_the_right = ndimage.mean(np.broadcast_to(right, lesions.shape), regions, numbers) >= 0.5
    peripheral = ndimage.mean(rim, regions, numbers) >= 0.5
    places = sorted(set(zip(on_the_right.tolist(), peripheral.tolist(), strict=True)), reverse=True)
    return "; ".join(
        f"{'right' if is_right else 'left'} {zone} {'peripheral' if is_rim else 'central'}"
        for is_right, is_rim in places
    )


def _depth_below_hull(lungs: np.ndarray) -> np.ndarray:
    """Distance in pixels to the outside of the lungs' convex hull, (H, W); zero outside."""
    rows, columns = np.nonzero(lungs)
    corners = cv2.convexHull(np.stack([columns, rows], axis=1).astype(np.int32))
    hull = cv2.fillConvexPoly(np.zeros(lungs.shape, np.uint8), corners, 1)
    return ndimage.distance_transform_edt(np.pad(hull, 1))[1:-1, 1:-1]
