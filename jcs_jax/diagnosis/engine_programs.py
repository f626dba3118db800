"""An exported network as a diagnosis runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from jcs_jax.diagnosis.programs import Screening, averaged_screening, averaged_segmentation
from jcs_jax.engines.exported import IMAGES, ONNX, SCREEN, SEGMENT, TRUNK, Exported
from jcs_jax.engines.runtimes import Run, open_program


class EnginePrograms:
    """A network's two stages, run slice by slice by an engine: memory depends on no batch.

    Args:
      exported: the network.
      engine: one of `jcs_jax.engines.names.ENGINES`.
      precision: one of `PRECISIONS` there.
      flip: average over the slice and its mirror image.

    Raises:
      InputError: the engine isn't installed or can't run it.
    """

    def __init__(self, exported: Exported, engine: str, precision: str = "float32", *, flip: bool = False):
        self.few_shapes = False  # one slice at a time
        self.classifies, self.segments = SCREEN in exported.programs, SEGMENT in exported.programs
        self._flip, self._trunk = flip, exported.trunk
        self._run: dict[str, Run] = {
            name: open_program(exported.file(name, ONNX), engine, precision) for name in exported.programs
        }

    def screen(self, images: Float[np.ndarray, "n h w 3"]) -> Screening:
        """As `jcs_jax.diagnosis.programs.Programs.screen`."""
        return averaged_screening(self._screen_once, images, flip=self._flip, xp=np)

    def segment(self, images: Float[np.ndarray, "n h w 3"], trunk: Mapping[str, Any]) -> Float[np.ndarray, "n h w"]:
        """As `jcs_jax.diagnosis.programs.Programs.segment`."""
        if self._trunk and not trunk:  # another network screened
            trunk = self.screen(images).trunk
        return averaged_segmentation(self._segment_once, images, trunk, flip=self._flip, xp=np)

    def _screen_once(self, images: np.ndarray) -> Screening:
        answer = self._each(SCREEN, {IMAGES: images})
        trunk = {name: answer[TRUNK + name] for name in self._trunk}
        return Screening(answer["probability"], answer["activation"], answer["features"], trunk)

    def _segment_once(self, images: np.ndarray, trunk: Mapping[str, np.ndarray]) -> np.ndarray:
        maps = {TRUNK + name: trunk[name] for name in self._trunk}
        return self._each(SEGMENT, {IMAGES: images, **maps})["probability"]

    def _each(self, program: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs of a batch, one slice after the other."""
        count = len(inputs[IMAGES])
        run = self._run[program]
        told = [
            run({name: np.ascontiguousarray(value[index : index + 1]) for name, value in inputs.items()})
            for index in range(count)
        ]
        return {name: np.concatenate([one[name] for one in told]) for name in told[0]}
