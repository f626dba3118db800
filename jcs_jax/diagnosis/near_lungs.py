"""Keeps opacities that can be of a lung: the rest of a mask is a mistake on table, arm or bowel."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from jcs_jax.study.lung_grid import bounding_box
from jcs_jax.study.lungs import Lungs
from jcs_jax.study.volume import Volume

REACH = 10.0  # mm in a slice: consolidation at the chest wall is often left out of the lungs that are found


def keep_near_lungs(
    mask: Bool[np.ndarray, "s h w"], volume: Volume, lungs: Lungs
) -> tuple[Bool[np.ndarray, "s h w"], tuple[str, ...]]:
    """Leaves out pieces of a mask of which no pixel lies within 10 mm of a lung.

    Args:
      mask: (S, H, W), opacities.
      volume: that it was drawn on.
      lungs: of that volume.

    Returns:
      The mask without them, and a note if there were any.
    """
    if not mask.any():
        return mask, ()
    box = bounding_box(mask)
    pieces, count = ndimage.label(mask[box], np.ones((3, 3, 3)))
    near = np.zeros(count + 1, bool)
    rows, columns = (max(1, round(REACH / spacing)) for spacing in volume.pixel_spacing)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * columns + 1, 2 * rows + 1))
    for found, labels in zip(pieces, lungs.labels[box[0]], strict=True):
        if found.any() and labels.any():
            around = cv2.dilate((labels > 0).astype(np.uint8), disc)[box[1:]] > 0
            near[np.unique(found[around])] = True
    near[0] = False
    if near[1:].all():
        return mask, ()
    kept = np.zeros_like(mask)
    far = np.zeros(len(pieces), np.int64)  # pixels
    for index, found in enumerate(pieces):
        kept[box][index] = near[found]
        far[index] = np.count_nonzero(found) - np.count_nonzero(kept[box][index])
    lost = count - int(near.sum())
    volume_ml = float(far @ volume.voxel_volumes[box[0]] / 1000)
    told = f"{lost} piece{'s' * (lost > 1)} of the mask left out, {volume_ml:.1f} ml"
    return kept, (f"{told}, farther than {REACH:.0f} mm from lung",)
