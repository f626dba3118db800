"""A network whose every answer can be computed by hand, in the shape of a JCS network."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jcs_jax.models.output import ModelOutput
from jcs_jax.models.presets import Preset
from jcs_jax.preprocessing import Preprocessing
from jcs_jax.study.images import SliceImage

SIDE = 64
CELL = 8
# A cell of intensity v has 3 * (2 * v - 1) + 1 for infection and 2 - (2 * v - 1) against it: 4 * (2 * v - 1) - 1.
VARIABLES = {"params": {"class_head": {"kernel": np.array([[-1.0, 3.0], [2.0, 1.0]], np.float32)}}}


class StubNetwork(nn.Module):
    """Opacified where intensity is over one half; infected the more, the brighter the picture."""

    classifies: bool = True
    segments: bool = True

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> ModelOutput:
        bright = images[..., :1]
        logits = side_logits = None
        intermediates = {}
        if self.classifies:
            pooled = nn.avg_pool(bright, (CELL, CELL), (CELL, CELL))
            features = jnp.concatenate([pooled, jnp.ones_like(pooled)], axis=-1)
            intermediates["class_features"] = features
            logits = nn.Dense(2, use_bias=False, name="class_head")(features.mean((1, 2)))
        if self.segments:
            others = jnp.full((*bright.shape[:-1], 4), -50.0)  # deep supervision must not reach the answer
            side_logits = jnp.concatenate([50.0 * bright, others], axis=-1)
        return ModelOutput(logits, side_logits, intermediates)


def preset(**preprocessing) -> Preset:
    half = (0.5, 0.5, 0.5)
    options = {"size": (SIDE, SIDE), "mean": half, "std": half, **preprocessing}
    return Preset("stub", "joint", {}, Preprocessing(**options), source="made for tests")


def probability(intensity: np.ndarray) -> float:
    """The probability of infection by hand, for a slice of the network's own size."""
    return float(1 / (1 + np.exp(-(4 * (2 * intensity.mean(dtype=np.float64) - 1) - 1))))


def square(value: float = 1.0, side: int = SIDE, top: int = 16, left: int = 24, extent: int = 16) -> np.ndarray:
    """A dark slice with one bright square."""
    intensity = np.zeros((side, side), np.float32)
    intensity[top : top + extent, left : left + extent] = value
    return intensity


def slice_of(intensity: np.ndarray, name: str = "slice.png") -> SliceImage:
    return SliceImage(np.asarray(intensity, np.float32), name)
