"""What a network can be called with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Array, Shaped

from jcs_jax.preprocessing import decode_features

# Architecture -> the arguments that take stored first-stage features in place of the image.
STAGE_FEATURES: dict[str, tuple[str, ...]] = {
    "classifier": ("res2net_features",),
    "segmenter": ("vgg_features",),
    "joint": ("vgg_features", "res2net_features"),
    "unet": (),
    "res2net_segmenter": ("res2net_features",),
}


def network_arguments(batch: Mapping[str, Shaped[Array | np.ndarray, "n ..."]]) -> dict[str, Any]:
    """The part of a batch that a network is called with, by argument.

    Args:
      batch: has `image`, (N, h, w, 3) float32, normalised; or stored stage features, uint8, 20 to the unit.

    Returns:
      `images`, or the features decoded to float32.
    """
    features = {name: decode_features(batch[name]) for name in STAGE_FEATURES["joint"] if name in batch}
    return features or {"images": batch["image"]}
