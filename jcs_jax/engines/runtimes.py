"""Programs that run ONNX files on the CPU, each an extra to install."""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jcs_jax.errors import InputError

_SMALL = 256 * 256  # pixels

Run = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


def open_program(file: Path, engine: str, precision: str, *, abreast: bool = False) -> Run:
    """Makes a program ready to run.

    Args:
      file: in ONNX.
      engine: one of `engines.names.ENGINES`.
      precision: one of `engines.names.PRECISIONS`, in which most is computed; inputs and outputs are float32.
      abreast: compute as many slices at a time as the engine thinks best, each with a share of the cores; sooner done
        where slices are small, with more memory. OpenVINO only.

    Returns:
      A function from inputs to outputs, both float32 and by name, with a leading axis of slices; none depends on the
      others.

    Raises:
      InputError: the engine isn't installed, can't compute so, or can't read the file.
    """
    package = require_engine(engine, precision)
    try:
        return _openvino(package, file, precision, abreast) if engine == "openvino" else _onnxruntime(package, file)
    except Exception as error:  # each package raises its own kinds
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise InputError(f"{file}: {engine} can't run it ({reason}); export it again") from error


def pays_abreast(size: tuple[int, int], slices: int) -> bool:
    """Whether slices of that size, that many at a time, are sooner done abreast than one after the other.

    Measured on two cores, bfloat16: a tenth sooner at 224 x 224, no sooner at 512 x 512.
    """
    return slices > 1 and math.prod(size) <= _SMALL


def require_engine(engine: str, precision: str) -> Any:
    """The package of an engine.

    Raises:
      InputError: it isn't installed, or can't compute so.
    """
    _keep_quiet()
    try:
        package = importlib.import_module(engine)
    except ImportError as error:
        raise InputError(f"{engine}: this engine is an extra; pip install 'jcs-jax[{engine}]'") from error
    if precision == "float32":
        return package
    if engine == "onnxruntime":
        raise InputError(f"onnxruntime computes in float32 only; for {precision} add --engine=openvino")
    if "BF16" not in package.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise InputError("this processor doesn't compute in bfloat16; leave --precision out")
    return package


def _keep_quiet() -> None:
    """Both packages report their use to their makers unless told not to before they are loaded."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)  # OpenVINO does without it


def _onnxruntime(package: Any, file: Path) -> Run:
    session = package.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers = [session.run(names, one) for one in _one_by_one(inputs)]
        return dict(zip(names, map(np.concatenate, zip(*answers, strict=True)), strict=True))

    return run


def _openvino(package: Any, file: Path, precision: str, abreast: bool) -> Run:
    core = package.Core()
    model = core.read_model(str(file))
    model.reshape({port.get_any_name(): [1, *list(port.get_partial_shape())[1:]] for port in model.inputs})
    hints = {
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
        "PERFORMANCE_HINT": "THROUGHPUT" if abreast else "LATENCY",
    }
    compiled = core.compile_model(model, "CPU", hints)
    names = [sorted(port.get_names()) for port in compiled.outputs]  # an output can have inner names as well
    queue = package.AsyncInferQueue(compiled, 0 if abreast else 1)  # 0: as many as it thinks best

    def keep(request: Any, answers: list[np.ndarray]) -> None:
        answers += [request.get_output_tensor(index).data.copy() for index in range(len(names))]

    queue.set_callback(keep)

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers: list[list[np.ndarray]] = []
        for one in _one_by_one(inputs):
            answers.append([])
            queue.start_async(one, answers[-1])
        queue.wait_all()
        arrays = map(np.concatenate, zip(*answers, strict=True))
        return {name: array for array, own in zip(arrays, names, strict=True) for name in own}

    return run


def _one_by_one(inputs: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Slices with a leading axis of 1."""
    for index in range(len(next(iter(inputs.values())))):
        yield {name: np.ascontiguousarray(value[index : index + 1]) for name, value in inputs.items()}
