"""The same inference as `workload` times, run by another engine than JAX."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jcs_jax.benchmark.workload import Compiled, Workload, random_batch, random_network
from jcs_jax.diagnosis.programs import Network
from jcs_jax.engines.exported import IMAGES, ONNX, SCREEN, SEGMENT, TRUNK
from jcs_jax.engines.runtimes import Run, open_program, pays_abreast


def compile_for_engine(work: Workload) -> Compiled:
    """Exports the network and opens it; that another process makes the files keeps this one's memory the engine's.

    Raises:
      ValueError: the network isn't there, or images of that size are too small for it.
      InputError: the engine isn't installed or can't compute so.
    """
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
        names, flops = pool.submit(_export, work, Path(folder)).result()
        least_bytes = sum((Path(folder) / f"{name}.{ONNX}").stat().st_size for name in names)
        abreast = pays_abreast((work.side, work.side), work.batch)
        programs = {
            name: open_program(Path(folder) / f"{name}.{ONNX}", work.engine, work.dtype, abreast=abreast)
            for name in names
        }
    images = random_batch(work.batch, work.side)["image"]
    return Compiled(lambda: _run(programs, images), flops, least_bytes + images.nbytes)


def _run(programs: dict[str, Run], images: np.ndarray) -> None:
    """As a diagnosis does it."""
    inputs = {IMAGES: images}
    if SCREEN in programs:
        told = programs[SCREEN](inputs)
        inputs |= {name: maps for name, maps in told.items() if name.startswith(TRUNK)}
    if SEGMENT in programs:
        programs[SEGMENT](inputs)


def _export(work: Workload, folder: Path) -> tuple[list[str], float]:
    """Writes the stages' files; returns their names, and what XLA counts of them for the whole batch."""
    from jcs_jax.export.programs import stages_of, to_onnx  # noqa: PLC0415  needs an extra

    model, variables, preset = random_network(work)
    network = Network.of(model, variables, preset)
    stages, flops = stages_of(network, variables, (work.side, work.side)), 0.0
    for name, stage in stages.items():
        (folder / f"{name}.{ONNX}").write_bytes(to_onnx(stage))
        inputs = {key: jax.ShapeDtypeStruct((1, *one.shape[1:]), jnp.float32) for key, one in stage.inputs.items()}
        flops += float((jax.jit(stage).lower(inputs).cost_analysis() or {})["flops"])
    return list(stages), flops * work.batch
