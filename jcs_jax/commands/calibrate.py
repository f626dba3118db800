"""`jcs calibrate`: thresholds of patients and slices, and a temperature, chosen on validation data."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from jcs_jax.errors import InputError
from jcs_jax.files import require_folder
from jcs_jax.notice import RESEARCH_USE

if TYPE_CHECKING:
    from jcs_jax.batch.calibration import Calibration
    from jcs_jax.data.sources import PreparedSource

USAGE = """usage: jcs calibrate --checkpoint DIR --data_dir DIR --dataset NAME[/config] --split S --output DIR

Runs the class head over every slice of a split that the model was not trained on, and writes a new model folder: the
same weights with the patient's threshold and temperature, with the slice's threshold, and with
what the data look like to the network, so that `jcs diagnose` can warn of studies that are unlike them."""
_REQUIRED = {
    "checkpoint": "Model folder, as `jcs train` and `jcs convert` write it.",
    "data_dir": "Folder that holds prepared data sets.",
    "dataset": "Prepared data set: name or name/config.",
    "split": "Split to choose on, such as validation; neither trained on nor scored on.",
    "output": "Model folder to write.",
}


def define_flags(values: flags.FlagValues) -> None:
    for name, meaning in _REQUIRED.items():
        flags.DEFINE_string(name, None, meaning, flag_values=values)
    flags.DEFINE_list(
        "also_on", [], "More data to choose on, as NAME/CONFIG:SPLIT, joined by commas.", flag_values=values
    )
    flags.DEFINE_float("share", 0.2, "Of the lung's height: its most suspicious part decides.", flag_values=values)
    flags.DEFINE_float("indecision", 0.05, "Distance from the threshold that can't be told.", flag_values=values)
    flags.DEFINE_integer("batch_size", 8, "Slices per call of the network.", lower_bound=1, flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Replace the output folder if it exists.", flag_values=values)


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    missing = [f"--{name}" for name in _REQUIRED if not getattr(values, name)]
    if missing or arguments:
        problem = f"missing {', '.join(missing)}" if missing else f"'{arguments[0]}' belongs to no flag"
        raise InputError(f"{problem}; see jcs calibrate --help")
    if not 0 < values.share <= 1:
        raise InputError(f"--share: is {values.share:g}; give a part of the height, above 0 and at most 1")
    if not 0 <= values.indecision < 1:
        raise InputError(
            f"--indecision: is {values.indecision:g}; give a distance of probabilities, 0 or more, below 1"
        )
    from jcs_jax.batch.calibration import calibrate
    from jcs_jax.batch.calibration_data import group_patients, require_unseen
    from jcs_jax.checkpoints import describe_model, load_model, require_free, save_model
    from jcs_jax.data.joined import JoinedSource
    from jcs_jax.diagnosis.stages import Stages
    from jcs_jax.report.summary import progress_bar

    output = Path(values.output).expanduser()
    require_folder(output, purpose="the model")
    require_free(output, overwrite=values.overwrite)
    _, provenance = describe_model(values.checkpoint)
    sources = _open(values)
    name = ", ".join(sources)
    source = JoinedSource(sources)
    patients = group_patients(source.records(), name)
    told = [require_unseen(provenance, part, own, values.data_dir) for own, part in sources.items()]
    notes = tuple(dict.fromkeys(note for part in told for note in part))
    model, variables, preset = load_model(values.checkpoint)
    stages = Stages.of(model, variables, preset, batch_size=values.batch_size)
    if not stages.classifies:
        raise InputError(f"{values.checkpoint}: has no class head, so it has no answer to calibrate; give another")
    options = {"name": name, "share": values.share, "indecision": values.indecision, "notes": notes}
    with progress_bar() as bars:
        found = calibrate(
            stages, source, patients, track=lambda rows: bars.track(rows, name, len(patients.rows)), **options
        )
    chosen = dataclasses.replace(
        preset, patient=found.rule, class_threshold=found.class_threshold, familiar=found.familiar
    )
    save_model(output, variables, chosen, provenance={**provenance, "calibration": found.record})
    _show(found, output)
    return 0


def _open(values: flags.FlagValues) -> dict[str, PreparedSource]:
    """The data to choose on, by NAME/CONFIG:SPLIT, whose names say the config also where the user didn't."""
    from jcs_jax.data.part_names import dataset_and_split
    from jcs_jax.data.sources import open_source

    parts = [(values.dataset, values.split), *(dataset_and_split(part, "--also_on") for part in values.also_on)]
    sources: dict[str, PreparedSource] = {}
    for dataset, split in parts:
        source = open_source(values.data_dir, dataset, split)
        name = f"{str(source.info['dataset']).rpartition('/')[0]}:{split}"
        if name in sources:
            raise InputError(f"--also_on: {name} is named twice; name it once")
        sources[name] = source
    return sources


def _show(found: Calibration, output: Path) -> None:
    """Prints what was chosen, how good it is, and what must be known of it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False, markup=False)
    table = Table(title=Text(found.rule.chosen_on), caption=RESEARCH_USE)
    table.add_column("number")
    table.add_column("value", justify="right")
    chosen = {
        "temperature": found.rule.temperature,
        "threshold": found.rule.threshold,
        "threshold of a slice": found.class_threshold,
        "familiar up to a distance of": found.familiar.limit,
    }
    for label, value in chosen.items():
        table.add_row(label, f"{value:.4f}")
    table.add_section()
    for label, value in found.measured.items():
        table.add_row(label.replace("_", " "), f"{value:.4f}")
    console.print(table)
    for note in found.record["notes"]:
        console.print(f"Note: {note}")
    console.print(f"Written: {output}")
