"""`jcs evaluate`: measures a checkpoint on prepared data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from jcs_jax.errors import InputError
from jcs_jax.files import require_folder

if TYPE_CHECKING:
    from jcs_jax.evaluation.protocol import Protocol
    from jcs_jax.evaluation.results import Evaluation
    from jcs_jax.evaluation.run import Task

USAGE = """usage: jcs evaluate --checkpoint DIR --data NAME[/config] --split S --data_dir DIR --output DIR
       jcs evaluate --checkpoint DIR --protocol NAME --data_dir DIR --output DIR

Measures a network on every slice of a split: metrics.json, with n and a 95 % interval for every number, cases.csv, and
evaluation.html with plots and the worst masks. With --folds N the models of a cross-validation are measured together,
each on the fold that it never saw: {fold} in --checkpoint and --split stands for fold0, fold1, ..., {others} in
--train_split for the other ones. A protocol names data, splits and folds, and shows what others published on them.
--save_thresholds FILE chooses thresholds on a validation split instead, for --thresholds FILE on a test split."""
_REQUIRED = {
    "checkpoint": "Model folder, as `jcs train` and `jcs convert` write it, or the name of a shipped model.",
    "data_dir": "Folder that holds prepared data sets.",
    "data": "Prepared data set: name or name/config.",
    "split": "Split to evaluate, such as fold0 or fold0+fold1.",
    "output": "Folder for metrics.json, cases.csv and evaluation.html.",
}
_OPTIONAL = {
    "train_split": "What the model was trained on: to look for leaks and to choose the brightness baseline on.",
    "protocol": "Named evaluation, such as covid_semiseg_50_48; a wrong name lists them.",
    "against": "Another model to compare with on the same slices, paired.",
    "thresholds": "File of --save_thresholds; without one the model's own thresholds are used.",
    "save_thresholds": "Choose thresholds on the split and write them here; nothing else is written.",
}


def define_flags(values: flags.FlagValues) -> None:
    for name, meaning in {**_REQUIRED, **_OPTIONAL}.items():
        flags.DEFINE_string(name, None, meaning, flag_values=values)
    flags.DEFINE_integer("folds", 0, "Folds of a cross-validation, see above.", lower_bound=0, flag_values=values)
    flags.DEFINE_bool(
        "sanity", False, "Also erase the lungs, and the weights, and see whether the answer goes.", flag_values=values
    )
    flags.DEFINE_bool("flip", False, "Average over every slice and its mirror image.", flag_values=values)
    flags.DEFINE_integer("batch_size", 4, "Slices per call of the network.", lower_bound=1, flag_values=values)


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    protocol = _protocol(values)
    given = {"output"} if values.save_thresholds else {"data", "split"} if protocol else set()
    missing = [f"--{name}" for name in _REQUIRED if name not in given and not getattr(values, name)]
    if missing or arguments:
        problem = f"missing {', '.join(missing)}" if missing else f"'{arguments[0]}' belongs to no flag"
        raise InputError(f"{problem}; see jcs evaluate --help")
    output = Path(values.output or ".").expanduser()
    if not values.save_thresholds:
        require_folder(output, purpose="the results")
    from jcs_jax.evaluation.run import Task

    told = protocol or values  # the same names
    task = Task(
        values.checkpoint,
        values.data_dir,
        told.data,
        told.split,
        told.train_split or "",
        told.folds,
        values.thresholds or "",
        values.batch_size,
        values.flip,
    )
    if values.save_thresholds:
        _save_thresholds(task, Path(values.save_thresholds).expanduser())
    else:
        measure(task, output, against=values.against or "", protocol=protocol, sanity=values.sanity)
    return 0


def _protocol(values: flags.FlagValues) -> Protocol | None:
    if not values.protocol:
        return None
    from jcs_jax.evaluation.protocols import get_protocol

    told = [f"--{name}" for name in ("data", "split", "train_split", "folds") if getattr(values, name)]
    if values.save_thresholds:
        raise InputError("--save_thresholds: chooses on a split that --data and --split name; leave out --protocol")
    if told:
        raise InputError(f"--protocol: says which data and splits; leave out {', '.join(told)}")
    return get_protocol(values.protocol)


def measure(
    task: Task, output: str | Path, *, against: str = "", protocol: Protocol | None = None, sanity: bool = False
) -> None:
    """Evaluates, writes the results and shows them."""
    from jcs_jax.evaluation.results import show_evaluation
    from jcs_jax.evaluation.run import evaluate_task

    evaluation, written = evaluate_task(
        task,
        Path(output),
        against=against,
        published=protocol.published if protocol else (),
        protocol=protocol.name if protocol else "",
        sanity=sanity,
    )
    show_evaluation(evaluation, written)
    if protocol:
        _show_protocol(protocol, evaluation)


def _show_protocol(protocol: Protocol, evaluation: Evaluation) -> None:
    """Prints our numbers beside those that were published, and what a score on these data can't tell."""
    from rich.console import Console
    from rich.table import Table

    from jcs_jax.evaluation.page.tables import own_number

    console = Console(soft_wrap=True, highlight=False, markup=False)
    if protocol.published:
        table = Table(title=protocol.title)
        for column in ("number", "ours", "published", "by", "note"):
            table.add_column(column)
        for one in protocol.published:
            ours = own_number(evaluation.summary, one)
            told = "-" if ours is None else f"{ours.value:.3f} ({ours.low:.3f} to {ours.high:.3f})"
            table.add_row(one.name.replace("_", " "), told, f"{one.value:.3f}", one.who, one.note)
        console.print(table)
    for caution in protocol.cautions:
        console.print(f"Caution: {caution}")


def _save_thresholds(task: Task, file: Path) -> None:
    from rich.console import Console

    from jcs_jax.evaluation.run import save_thresholds

    points = save_thresholds(task, file)
    told = {"class": points.class_threshold, "mask": points.mask_threshold}
    words = ", ".join(f"{name} threshold {value:.4f}" for name, value in told.items() if value is not None)
    Console(soft_wrap=True, highlight=False, markup=False).print(
        f"{words}, chosen on {points.chosen_on}. Written: {file}"
    )
