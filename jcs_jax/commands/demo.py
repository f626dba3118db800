"""`jcs demo`: a diagnosis that a person can look at, of synthetic studies; or the whole way there, from data on."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from jcs_jax.errors import InputError
from jcs_jax.files import require_folder

if TYPE_CHECKING:
    from jcs_jax.data.sources import PreparedSource
    from jcs_jax.models.presets import Preset

USAGE = """usage: jcs demo [--output DIR] [--train [--steps N] [--config small|tiny]]

Makes two synthetic chest CT studies, of an infected and an uninfected phantom patient, and diagnoses them with the
weights that come with the package. With --train it trains the tiny joint network on other phantoms for about a minute
instead, measures it and diagnoses with that. A phantom is no patient: nothing here says how well the method works on
people. No network, no data needed."""
DATASET = "chest_phantom"
_STUDIES = {"infected": 11, "uninfected": 12}  # seeds of their own: no builder's config makes these patients
_SEED, _SLICES, _SIZE = 20260, 24, 256
_TRAINING_FLAGS = ("steps", "config")


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("output", "demo_output", "Folder for everything the demo makes.", flag_values=values)
    flags.DEFINE_bool("train", False, "Train a network from scratch first.", flag_values=values)
    flags.DEFINE_integer("steps", 320, "Training steps.", lower_bound=1, flag_values=values)
    flags.DEFINE_enum("config", "small", ["small", "tiny"], "Size of the phantom data set.", flag_values=values)


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    if arguments:
        raise InputError(f"{arguments[0]}: jcs demo takes no arguments; see jcs demo --help")
    for name in _TRAINING_FLAGS:
        if values[name].present and not values.train:
            raise InputError(f"--{name}: is for training; add --train")
    output = Path(values.output)
    require_folder(output, purpose="the demo's results")
    code = _train(values, output) if values.train else _diagnose_studies(output)
    _say(f"Look at {output}/diagnosis/*/report.html in a browser. All of this is about a synthetic phantom.")
    sys.stdout.flush()
    return code


def _diagnose_studies(output: Path) -> int:
    """Two studies in HU, diagnosed with the weights that come with the package."""
    from jcs_jax import cli
    from jcs_jax.shipped import default_model

    default_model()  # refuses an installation without weights before anything is written
    _say("[bold]1/2[/] Two synthetic chest CT studies (ellipses, vessels, opacities). They are no patients.")
    studies = [
        write_study(output / "studies" / f"{kind}-phantom.nii.gz", seed, infected=kind == "infected")
        for kind, seed in _STUDIES.items()
    ]
    _say("[bold]2/2[/] Diagnosing them with the weights that come with the package")
    return cli.main(["diagnose", *map(str, studies), "--output", str(output / "diagnosis"), "--overwrite"])


def write_study(path: Path, seed: int, *, infected: bool) -> Path:
    """Writes a phantom patient's chest in HU as NIfTI, `.nii.gz`."""
    import numpy as np

    from jcs_jax.report.nifti import write_nifti

    make_patient = importlib.import_module("jcs_datasets.chest_phantom.phantom").make_patient
    phantom = make_patient((_SEED, seed), infected=infected, slices=_SLICES, size=_SIZE)
    between_slices, between_rows, between_columns = phantom.spacing
    # Columns go to the patient's left, rows to the back, slices to the feet.
    affine = np.diag([between_columns, between_rows, -between_slices, 1.0])
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_nifti(path, phantom.hounsfield.transpose(2, 1, 0), affine)


def _train(values: flags.FlagValues, output: Path) -> int:
    """Data, training, measurement and diagnosis."""
    from jcs_jax import cli
    from jcs_jax.commands import evaluate, train
    from jcs_jax.data.sources import open_source
    from jcs_jax.evaluation.run import Task
    from jcs_jax.models.presets import get_preset
    from jcs_jax.training.config import demo_config

    data_dir, model, dataset = output / "data", output / "training" / "model", f"{DATASET}/{values.config}"
    _say("[bold]1/4[/] A synthetic chest phantom (ellipses, vessels, opacities of known truth). It is no patient.")
    if code := cli.main(["prepare", DATASET, "--config", values.config, "--data_dir", str(data_dir)]):
        return code
    _say("[bold]2/4[/] Training joint_tiny from scratch")
    config = demo_config()
    config.steps, config.data.data_dir, config.data.dataset = values.steps, str(data_dir), dataset
    train.launch(config, output / "training")
    _say("[bold]3/4[/] Measuring on phantom patients that were not trained on")
    evaluate.measure(Task(str(model), str(data_dir), dataset, "test", "train"), output / "evaluation")
    _say("[bold]4/4[/] Diagnosing an infected and an uninfected phantom patient")
    source, preset = open_source(data_dir, dataset, "test"), get_preset(config.model.name)
    arguments = [
        *map(str, export_patients(source, preset, output / "patients")),
        "--checkpoint",
        str(model),
        "--output",
        str(output / "diagnosis"),
        "--overwrite",
    ]
    return cli.main(["diagnose", *arguments])


def _say(text: str) -> None:
    from rich.console import Console

    Console(soft_wrap=True).print(text, highlight=False)


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
