"""Whether the memory of an evaluation grows with the number of slices.

Run from the project's folder, once for each number, since a process has only one peak:

    for slices in 100 300 1000; do .venv/bin/python benchmarks/evaluation_memory.py --slices $slices; done

Slices of 512 x 512 pixels with a mask and a label are made when they are asked for, four to a patient, and measured by
`jcs_tiny` with random weights. One line of JSON goes to stdout: slices, peak_rss_mb (10^6 bytes: Python, JAX, compiler
and all) and seconds.

Measured on two cores: 2,297, 2,362 and 2,416 MB for 100, 300 and 1,000 slices, whose pictures and masks alone are 131,
393 and 1,311 MB.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from jcs_jax.data.examples import Example, SliceRecord
from jcs_jax.evaluation.evaluate import evaluate
from jcs_jax.models.presets import build, get_preset

SIDE, SLICES_OF_A_PATIENT = 512, 4


class MadeSlices:
    """Noise with a bright box where the mask is; every other patient is uninfected.

    Args:
      number: of slices.
    """

    def __init__(self, number: int):
        self._number = number
        self.info = {"dataset": "made"}

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng(index)
        image, mask = rng.random((SIDE, SIDE), np.float32) / 2, np.zeros((SIDE, SIDE), np.uint8)
        patient = index // SLICES_OF_A_PATIENT
        if patient % 2:
            top, left = rng.integers(0, SIDE - 100, 2)
            mask[top : top + 100, left : left + 100] = 1
        return Example(
            image + mask / np.float32(2), mask=mask, label=patient % 2, patient=f"{patient}", name=f"{index}"
        )

    def records(self) -> Iterator[SliceRecord]:
        """What is known of every slice, in order."""
        for index in range(self._number):
            patient = index // SLICES_OF_A_PATIENT
            yield SliceRecord(f"{index}", f"{patient}", patient % 2, "", "", "", SIDE, SIDE)


def main() -> None:
    """Measures one evaluation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=1000)
    slices = parser.parse_args().slices
    preset = get_preset("jcs_tiny")
    model = build(preset)
    variables = model.init(jax.random.key(0), jnp.zeros((1, *preset.preprocessing.size, 3)))
    start = time.perf_counter()
    evaluation = evaluate(model, variables, preset, MadeSlices(slices))
    seconds = time.perf_counter() - start
    if len(evaluation.cases) != slices:
        sys.exit(f"{len(evaluation.cases)} slices were measured, not {slices}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    sys.stdout.write(json.dumps({"slices": slices, "peak_rss_mb": round(peak), "seconds": round(seconds, 1)}) + "\n")


if __name__ == "__main__":
    main()
