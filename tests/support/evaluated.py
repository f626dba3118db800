"""A network whose answer is known, slices to go with it, and their evaluation."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.evaluation.evaluate import Evaluation, evaluate
from jcs_jax.models.output import ModelOutput
from jcs_jax.models.presets import Preset
from jcs_jax.preprocessing import Preprocessing

SIDE = 16
PRESET = Preset("stub", "joint", {}, Preprocessing((SIDE, SIDE), mean=(0, 0, 0), std=(1, 1, 1)), source="test")


class Brightness(nn.Module):
    """Says opacified where a pixel is brighter than `level`, infected where the slice's mean is above 1/4."""

    level: float = 0.5

    def __call__(self, images, train=False):
        brightness = images[..., 0]
        mean = brightness.mean(axis=(1, 2))
        logits = jnp.stack([0 * mean, 10 * (mean - 0.25)], axis=-1)
        return ModelOutput(logits, jnp.repeat(40 * (brightness[..., None] - self.level), 5, axis=-1), {})


def noisy_slices(count: int, *, seed: int = 0, patients: int = 0) -> list[Example]:
    """Slices with a bright box, whose mask is the box moved a little; some without lesion or mask."""
    rng = np.random.default_rng(seed)
    examples = []
    for number in range(count):
        image = rng.uniform(0, 0.6, (SIDE, SIDE)).astype(np.float32)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        if number % 4:
            top, left = rng.integers(0, SIDE - 6, 2)
            image[top : top + 5, left : left + 6] = rng.uniform(0.45, 1.0)
            mask[top : top + 6, left + 1 : left + 6] = 1
        patient = f"p{number % patients}" if patients else ""
        drawn = None if number % 7 == 3 else mask
        examples.append(Example(image, mask=drawn, label=int(number % 4 > 0), patient=patient, name=f"slice {number}"))
    return examples


def evaluated(examples: list[Example], *, level: float = 0.5, batch_size: int = 8) -> Evaluation:
    """The evaluation of `Brightness` on these slices."""
    return evaluate(Brightness(level), {}, PRESET, ArraySource(examples), batch_size=batch_size)
