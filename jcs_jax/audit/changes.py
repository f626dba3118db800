"""Says in words what was done to a slice to get its copy."""

from __future__ import annotations

import math

import numpy as np

from jcs_jax.audit.near_duplicates import NearPair

_RIGHT_ANGLE_WITHIN = 4.0  # degrees
_RESIZED_FROM, _CROPPED_BELOW = 0.02, 0.97
# Mirroring left to right and then turning clockwise, by the angle.
_MIRRORED = {0: "mirrored left to right", 90: "anti-transposed", 180: "mirrored top to bottom", 270: "transposed"}


def describe_change(pair: NearPair, *, enlarged: float) -> str:
    """What turns the first slice of a pair into the second.

    Args:
      pair: of copies.
      enlarged: how much more the second's picture was reduced for comparison than the first's.

    Returns:
      Mirroring and turning, cropping with the share that is left, and resizing, as far as they happened.
    """
    linear = pair.alignment.matrix[:, :2]
    words = _orientation(linear)
    scale = pair.alignment.scale * enlarged
    if pair.second_shown >= _CROPPED_BELOW > pair.first_shown:
        words.append(f"cropped to {pair.first_shown:.0%} of the first")
    elif pair.first_shown >= _CROPPED_BELOW > pair.second_shown:
        words.append(f"of which the first is a crop of {pair.second_shown:.0%}")
    elif max(pair.first_shown, pair.second_shown) < _CROPPED_BELOW:
        words.append(f"both cropped, {pair.first_shown:.0%} and {pair.second_shown:.0%} in common")
    if abs(scale - 1) > _RESIZED_FROM:
        words.append(f"resized to {scale:.0%}")
    return ", ".join(words) or "the same frame with other pixels"


def _orientation(linear: np.ndarray) -> list[str]:
    """The mirroring and turning in a (2, 2) matrix; x runs to the right and y downwards."""
    mirrored = np.linalg.det(linear) < 0
    rotation = linear @ np.diag([-1.0, 1.0]) if mirrored else linear
    angle = math.degrees(math.atan2(rotation[1, 0] - rotation[0, 1], rotation[0, 0] + rotation[1, 1]))
    quarters = round(angle / 90)
    if abs(angle - 90 * quarters) <= _RIGHT_ANGLE_WITHIN:
        angle = 90 * quarters
        if mirrored:
            return [_MIRRORED[angle % 360]]
    turned = [f"turned {abs(angle):.0f} degrees {'clockwise' if angle > 0 else 'counter-clockwise'}"] if angle else []
    return [_MIRRORED[0], *turned] if mirrored else turned
