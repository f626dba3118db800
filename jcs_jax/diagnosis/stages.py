"""The two stages of a diagnosis, slice by slice: classification of all, segmentation of some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jcs_jax.diagnosis.programs import JaxPrograms, Programs, Screening
from jcs_jax.errors import InputError
from jcs_jax.models.presets import Preset


class Stages:
    """Gathers slices into batches for a network's programs.

    Args:
      programs: that run the network.
      preset: how slices become its input.
      batch_size: most slices that go through the network at once.

    Attributes:
      classifies: whether there is a class head.
      segments: whether there are side maps.
    """

    def __init__(self, programs: Programs, preset: Preset, *, batch_size: int = 8):
        self.preset, self.batch_size = preset, batch_size
        self.classifies, self.segments = programs.classifies, programs.segments
        self._programs = programs

    @classmethod
    def of(
        cls,
        model: nn.Module,
        variables: Mapping[str, Any],
        preset: Preset,
        *,
        flip: bool = False,
        batch_size: int = 8,
    ) -> Stages:
        """Of a network that JAX runs; the arguments are those of `JaxPrograms`, too."""
        return cls(JaxPrograms(model, variables, preset, flip=flip), preset, batch_size=batch_size)

    def screen(self, inputs: Sequence[Float[np.ndarray, "h w 3"]]) -> list[Screening]:
        """Classifies as many slices as a batch holds; what `trunk` holds stays where the programs left it.

        Raises:
          InputError: an answer that is not finite.
        """
        answer = self._programs.screen(self._batch(inputs))
        told = jax.device_get(answer._replace(trunk={}))
        _require_finite(told)
        return [
            Screening(
                told.probability[index],
                told.activation[index],
                told.features[index],
                {name: maps[:, index] for name, maps in answer.trunk.items()},
            )
            for index in range(len(inputs))
        ]

    def segment(
        self, inputs: Sequence[Float[np.ndarray, "h w 3"]], trunks: Sequence[Mapping[str, Any]]
    ) -> list[Float[np.ndarray, "h w"]]:
        """Probability of opacity of every pixel of as many slices as a batch holds.

        Args:
          inputs: of the network.
          trunks: of every slice, as `screen` gave them; empty mappings to start anew.

        Raises:
          InputError: an answer that is not finite.
        """
        images = self._batch(inputs)
        filled = [*trunks, *[trunks[0]] * (len(images) - len(trunks))]
        trunk = {name: _stacked([one[name] for one in filled]) for name in trunks[0]}
        probability = np.asarray(jax.device_get(self._programs.segment(images, trunk)))
        _require_finite(probability)
        return list(probability[: len(inputs)])

    def _batch(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Slices, filled up to a power of two with blank ones where few shapes are wanted."""
        width = min(self.batch_size, 1 << (len(inputs) - 1).bit_length()) if self._programs.few_shapes else len(inputs)
        padding = np.zeros((width - len(inputs), *inputs[0].shape), np.float32)
        return np.concatenate([np.stack(inputs), padding])


def _stacked(maps: Sequence[Any]) -> Any:
    """(V, N, ...) of slices' (V, ...), where they are."""
    return np.stack(maps, axis=1) if isinstance(maps[0], np.ndarray) else jnp.stack(maps, axis=1)


def _require_finite(values: Any) -> None:
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(values)):
        raise InputError("the network's answer is not finite; convert or train its checkpoint again")
