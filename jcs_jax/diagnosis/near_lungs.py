"""Keeps opacities that can be of a lung: the rest of a mask is a mistake on table, arm or bowel."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool

from jcs_jax.diagnosis.pieces import Pieces
from jcs_jax.memory import let_go, paged_zeros
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
    pieces = Pieces(mask)
    near = np.zeros(pieces.count + 1, bool)
    rows, columns = (max(1, round(REACH / spacing)) for spacing in volume.pixel_spacing)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * columns + 1, 2 * rows + 1))
    for box, numbers in pieces:
        for found, labels in zip(numbers, lungs.labels[box[0]], strict=True):
            if found.any() and labels.any():
                around = cv2.dilate((labels > 0).astype(np.uint8), disc)[box[1:]] > 0
                near[np.unique(found[around])] = True
        let_go(lungs.labels)
    near[0] = False
    if near[1:].all():
        return mask, ()
    kept, volume_ml = paged_zeros(mask.shape, bool), 0.0
    for box, numbers in pieces:
        kept[box] = near[numbers]
        far = np.count_nonzero(numbers, axis=(1, 2)) - np.count_nonzero(kept[box], axis=(1, 2))  # pixels
        volume_ml += float(far @ volume.voxel_volumes[box[0]] / 1000)
        let_go(kept)
    lost = pieces.count - int(near.sum())
    told = f"{lost} piece{'s' * (lost > 1)} of the mask left out, {volume_ml:.1f} ml"
    return kept, (f"{told}, farther than {REACH:.0f} mm from lung",)
