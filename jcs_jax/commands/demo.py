"""`jcs demo`: the whole way on a synthetic phantom, from data to a diagnosis that a person can look at."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from jcs_jax.errors import InputError
from jcs_jax.files import require_folder

if TYPE_CHECKING:
    from jcs_jax.data.sources import PreparedSource
    from jcs_jax.models.presets import Preset

USAGE = """usage: jcs demo [--output DIR] [--steps N] [--config small|tiny]

Makes a synthetic chest phantom, trains the tiny joint network on it for about a minute, measures it on
phantom patients it never saw and diagnoses an infected and an uninfected one of them. A phantom is no
patient: nothing here says how well the method works on people. No network, no data needed."""
DATASET = "chest_phantom"


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("output", "demo_output", "Folder for everything the demo makes.", flag_values=values)
    flags.DEFINE_integer("steps", 320, "Training steps.", lower_bound=1, flag_values=values)
    flags.DEFINE_enum("config", "small", ["small", "tiny"], "Size of the phantom data set.", flag_values=values)


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    from rich.console import Console

    from jcs_jax import cli
    from jcs_jax.commands import evaluate, train
    from jcs_jax.data.sources import open_source
    from jcs_jax.evaluation.run import Task
    from jcs_jax.models.presets import get_preset
    from jcs_jax.training.config import demo_config

    if arguments:
        raise InputError(f"{arguments[0]}: jcs demo takes no arguments; see jcs demo --help")
    output = Path(values.output)
    require_folder(output, purpose="the demo's results")
    say = functools.partial(Console(soft_wrap=True).print, highlight=False)
    data_dir, model, dataset = output / "data", output / "training" / "model", f"{DATASET}/{values.config}"
    say("[bold]1/4[/] A synthetic chest phantom (ellipses, vessels, opacities of known truth). It is no patient.")
    if code := cli.main(["prepare", DATASET, "--config", values.config, "--data_dir", str(data_dir)]):
        return code
    say("[bold]2/4[/] Training joint_tiny from scratch")
    config = demo_config()
    config.steps, config.data.data_dir, config.data.dataset = values.steps, str(data_dir), dataset
    train.launch(config, output / "training")
    say("[bold]3/4[/] Measuring on phantom patients that were not trained on")
    evaluate.measure(Task(str(model), str(data_dir), dataset, "test", "train"), output / "evaluation")
    say("[bold]4/4[/] Diagnosing an infected and an uninfected phantom patient")
    source, preset = open_source(data_dir, dataset, "test"), get_preset(config.model.name)
    arguments = [
        *map(str, export_patients(source, preset, output / "patients")),
        "--checkpoint",
        str(model),
        "--output",
        str(output / "diagnosis"),
        "--overwrite",
    ]
    code = cli.main(["diagnose", *arguments])
    say(f"Look at {output}/diagnosis/*/report.html in a browser. All of this is about a synthetic phantom.")
    sys.stdout.flush()
    return code


def export_patients(source: PreparedSource, preset: Preset, folder: Path) -> list[Path]:
    """Writes the slices of the patient with the largest lesions, and of one without any, as 8-bit PNG; two folders."""
    from jcs_jax.data.examples import example_intensity
    from jcs_jax.study.images import write_slice

    lesions: dict[str, int] = {}
    for example in source:
        pixels = 0 if example.mask is None else int(example.mask.sum())
        lesions[example.patient] = lesions.get(example.patient, 0) + pixels
    by_size = sorted(lesions, key=lambda patient: lesions[patient])
    ends = {"infected": by_size[-1], "uninfected": by_size[0]}
    for kind, patient in ends.items():
        for example in source:
            if example.patient == patient:
                intensity = example_intensity(example, preset.preprocessing)
                write_slice(folder / f"{kind}-{patient}" / f"{example.name}.png", intensity)
    return [folder / f"{kind}-{patient}" for kind, patient in ends.items()]
