"""Programs that run ONNX files on the CPU, each an extra to install."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jcs_jax.errors import InputError

Run = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


def open_program(file: Path, engine: str, precision: str) -> Run:
    """Makes a program ready to run on one slice at a time.

    Args:
      file: in ONNX.
      engine: one of `engines.names.ENGINES`.
      precision: one of `engines.names.PRECISIONS`, in which most is computed; inputs and outputs are float32.

    Returns:
      A function from inputs to outputs, both float32 and by name, with a leading axis of 1.

    Raises:
      InputError: the engine isn't installed, can't compute so, or can't read the file.
    """
    open_with = {"onnxruntime": _onnxruntime, "openvino": _openvino}[engine]
    _keep_quiet()
    try:
        package = importlib.import_module(engine)
    except ImportError as error:
        raise InputError(f"{engine}: this engine is an extra; pip install 'jcs-jax[{engine}]'") from error
    try:
        return open_with(package, file, precision)
    except InputError:
        raise
    except Exception as error:  # each package raises its own kinds
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise InputError(f"{file}: {engine} can't run it ({reason}); export it again") from error


def _keep_quiet() -> None:
    """Both packages report their use to their makers unless told not to before they are loaded."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)  # OpenVINO does without it


def _onnxruntime(package: Any, file: Path, precision: str) -> Run:
    if precision != "float32":
        raise InputError(f"onnxruntime computes in float32 only; for {precision} add --engine=openvino")
    session = package.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run


def _openvino(package: Any, file: Path, precision: str) -> Run:
    core = package.Core()
    if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise InputError("this processor doesn't compute in bfloat16; leave --precision out")
    model = core.read_model(str(file))
    model.reshape({port.get_any_name(): [1, *list(port.get_partial_shape())[1:]] for port in model.inputs})
    hints = {
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(model, "CPU", hints)
    names = [sorted(port.get_names()) for port in compiled.outputs]  # an output can have inner names as well

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        answer = compiled(dict(inputs))
        arrays = [np.array(answer[index]) for index in range(len(names))]
        return {name: array for array, own in zip(arrays, names, strict=True) for name in own}

    return run
