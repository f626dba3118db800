"""An exported network as a diagnosis runs it."""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from jcs_jax.diagnosis.programs import Screening, averaged_screening, averaged_segmentation
from jcs_jax.engines.exported import IMAGES, ONNX, SCREEN, SEGMENT, TRUNK, Exported
from jcs_jax.engines.runtimes import Run, open_program, pays_abreast, require_engine


class EnginePrograms:
    """A network's two stages, run slice by slice by an engine: memory depends on no batch.

    The first is opened in the background, while slices are read; the second when its first slice comes: of a patient
    without findings none does.

    Args:
      exported: the network.
      engine: one of `jcs_jax.engines.names.ENGINES`.
      precision: one of `PRECISIONS` there.
      flip: average over the slice and its mirror image.
      batch_size: most slices that come at once.

    Raises:
      InputError: the engine isn't installed or can't compute so; later, that it can't run the network.
    """

    def __init__(
        self, exported: Exported, engine: str, precision: str = "float32", *, flip: bool = False, batch_size: int = 8
    ):
        self.few_shapes = False  # one slice at a time
        self.classifies, self.segments = SCREEN in exported.programs, SEGMENT in exported.programs
        self._flip, self._trunk = flip, exported.trunk
        require_engine(engine, precision)
        abreast = pays_abreast(exported.preset.preprocessing.size, batch_size)

        def opened(program: str) -> Run:
            return open_program(exported.file(program, ONNX), engine, precision, abreast=abreast)

        self._segment = functools.cache(functools.partial(opened, SEGMENT))
        thread = concurrent.futures.ThreadPoolExecutor(1)
        self._screen = thread.submit(opened, SCREEN) if self.classifies else None
        thread.shutdown(wait=False)

    def screen(self, images: Float[np.ndarray, "n h w 3"]) -> Screening:
        """As `jcs_jax.diagnosis.programs.Programs.screen`."""
        return averaged_screening(self._screen_once, images, flip=self._flip, xp=np)

    def segment(self, images: Float[np.ndarray, "n h w 3"], trunk: Mapping[str, Any]) -> Float[np.ndarray, "n h w"]:
        """As `jcs_jax.diagnosis.programs.Programs.segment`."""
        if self._trunk and not trunk:  # another network screened
            trunk = self.screen(images).trunk
        return averaged_segmentation(self._segment_once, images, trunk, flip=self._flip, xp=np)

    def _screen_once(self, images: np.ndarray) -> Screening:
        if self._screen is None:
            raise ValueError("this network does not classify")
        answer = self._screen.result()({IMAGES: images})
        trunk = {name: answer[TRUNK + name] for name in self._trunk}
        return Screening(answer["probability"], answer["activation"], answer["features"], trunk)

    def _segment_once(self, images: np.ndarray, trunk: Mapping[str, np.ndarray]) -> np.ndarray:
        maps = {TRUNK + name: trunk[name] for name in self._trunk}
        return self._segment()({IMAGES: images, **maps})["probability"]
