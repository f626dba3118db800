"""Keeps a long test process from holding every program that it ever compiled."""

import os
import sys
from pathlib import Path

import pytest

MOST_RESIDENT = 5e9  # bytes, from which compiled programs are given back
PAGE = 4096
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before a test loads ONNX Runtime
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # programs started by tests leave the user's alone


@pytest.fixture(autouse=True, scope="module")
def _few_programs():
    yield
    if "jax" in sys.modules and int(Path("/proc/self/statm").read_text().split()[1]) * PAGE > MOST_RESIDENT:
        sys.modules["jax"].clear_caches()
