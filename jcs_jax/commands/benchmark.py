"""`jcs benchmark`: how fast the networks are here, alone or in turn with another program."""

from __future__ import annotations

import itertools
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from absl import flags

from jcs_jax.engines.names import ENGINES
from jcs_jax.errors import InputError

USAGE = """usage: jcs benchmark [--name N,...] [--task inference|training] [--size S,...] [--batch B,...] [--rounds R]
         [--engine jax|onnxruntime|openvino] [--against CMD]

Times networks with random weights and images: in inference probability of infection and mask, norms folded; in
training a step of the released recipe. One line of JSON a setting goes to stdout, one to read to stderr: median of the
rounds, memory, GFLOP/s, and the share of what large matrix products and copies reach in the same run. A round begins
when other programs are quiet, or after --patience; their load is told.

--against names a program that does the same work in turn, A B, B A. It finds the work as JSON in the environment
variable JCS_BENCHMARK: name, task, size, batch, dtype, remat, engine, convolutions. When it is warm it writes a line of
JSON with whatever it tells of itself. For every line on its stdin it does the work once and answers {"seconds": ...}.
Another version of this package does so as `PYTHON -m jcs_jax.benchmark`."""

NAMES = ("classifier", "segmenter", "joint")


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_list("name", list(NAMES), "Networks, joined by commas.", flag_values=values)
    flags.DEFINE_enum("task", "inference", ["inference", "training"], "What is timed.", flag_values=values)
    flags.DEFINE_list("size", ["0"], "Sides of the images in pixels; 0 is the network's own.", flag_values=values)
    flags.DEFINE_list("batch", ["1"], "Images at once.", flag_values=values)
    flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Of the activations.", flag_values=values)
    flags.DEFINE_enum("engine", "jax", ["jax", *ENGINES], "Program that computes inference.", flag_values=values)
    forms = ["auto", "xla", "cpu"]
    flags.DEFINE_enum("convolutions", "auto", forms, "Of JAX; auto: what training takes here.", flag_values=values)
    flags.DEFINE_bool("remat", False, "Training computes activations again in its backward pass.", flag_values=values)
    flags.DEFINE_integer("rounds", 7, "Timed runs of each program.", lower_bound=1, flag_values=values)
    flags.DEFINE_string("against", "", "A program that does the same work in turn.", flag_values=values)
    flags.DEFINE_float("load_limit", 0.2, "Processors others may use.", lower_bound=0, flag_values=values)
    flags.DEFINE_float("patience", 60.0, "Seconds that a round waits for that.", lower_bound=0, flag_values=values)


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    if arguments:
        raise InputError(f"'{arguments[0]}' belongs to no flag; see jcs benchmark --help")
    works = _works(values)
    against = shlex.split(values.against)
    for work in works:
        result = _measure(work, against, values)
        sys.stderr.write(_readable(result) + "\n")
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
    return 0


def _works(values: flags.FlagValues) -> list[dict[str, Any]]:
    """Every setting, refused before anything is timed."""
    from jcs_jax.models.presets import preset_names

    if unknown := [name for name in values.name if name not in preset_names()]:
        raise InputError(f"--name: no network is called {unknown[0]!r}; choose of {', '.join(preset_names())}")
    sides, batches = _whole_numbers(values.size, "size", 0), _whole_numbers(values.batch, "batch", 1)
    if values.engine != "jax" and values.task != "inference":
        raise InputError(f"--engine={values.engine} computes inference only; leave --task={values.task} to jax")
    kept = {key: values[key].value for key in ("task", "dtype", "remat", "engine", "convolutions")}
    return [
        {"name": name, "size": side, "batch": batch, **kept}
        for name, side, batch in itertools.product(values.name, sides, batches)
    ]


def _whole_numbers(texts: Sequence[str], flag: str, least: int) -> list[int]:
    if not all(text.strip().isdecimal() and int(text) >= least for text in texts) or not texts:
        raise InputError(f"--{flag}={','.join(texts)}: give whole numbers from {least} on, joined by commas")
    return [int(text) for text in texts]


def _measure(work: Mapping[str, Any], against: Sequence[str], values: flags.FlagValues) -> dict[str, Any]:
    """One setting: both programs ready, then in turn."""
    from jcs_jax.benchmark.contest import Contestant, compete, summarise

    environment = {"JCS_BENCHMARK": json.dumps(work)}
    with ExitStack() as stack:
        own = stack.enter_context(Contestant([sys.executable, "-m", "jcs_jax.benchmark"], environment))
        contestants = [own]
        if against:
            contestants.append(stack.enter_context(Contestant(against, environment)))
        rounds = compete(contestants, values.rounds, load_limit=values.load_limit, patience=values.patience)
        loads = [load for _, load in rounds]
        result = {**work, "load_before": max(loads), **summarise(own)}
        if against:
            other = summarise(contestants[1])
            result |= {"against": {"command": values.against, **other}, "ratio": own.ratio_to(contestants[1])}
    return result


def _readable(result: Mapping[str, Any]) -> str:
    """A line for people."""
    engine = "" if result["engine"] == "jax" else f", {result['engine']}"
    side = f"{result['size']} x {result['size']}" if result["size"] else "own size"
    line = (
        f"{result['name']} {result['task']}, {side}, batch {result['batch']}, {result['dtype']}{engine}: "
        f"{result['seconds']:.4g} s ({result['fastest']:.4g} to {result['slowest']:.4g}), "
        f"{result['gflops']:.0f} GFLOP/s, {result['share_of_limit']:.0%} of the limit, {result['peak_rss_mb']:.0f} MB"
    )
    if "ratio" in result:
        line += f"; the other {result['against']['seconds']:.4g} s, ratio {result['ratio']:.3f}"
    return line
