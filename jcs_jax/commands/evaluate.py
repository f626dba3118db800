"""`jcs evaluate`: measures a checkpoint on prepared data."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from jcs_jax.errors import InputError
from jcs_jax.files import require_folder

USAGE = (
    "usage: jcs evaluate --checkpoint DIR --data NAME[/config] --split S --data_dir DIR --output DIR [--train_split S2]"
)
_REQUIRED = {
    "checkpoint": "Model folder, as `jcs train` and `jcs convert` write it.",
    "data_dir": "Folder that holds prepared data sets.",
    "data": "Prepared data set: name or name/config.",
    "split": "Split to evaluate, such as fold0 or fold0+fold1.",
    "output": "Folder for metrics.json and cases.csv.",
}


def define_flags(values: flags.FlagValues) -> None:
    for name, meaning in _REQUIRED.items():
        flags.DEFINE_string(name, None, meaning, flag_values=values)
    flags.DEFINE_string("train_split", None, "Where to choose the brightness baseline's threshold.", flag_values=values)
    flags.DEFINE_integer("batch_size", 4, "Slices per call of the network.", lower_bound=1, flag_values=values)


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    missing = [f"--{name}" for name in _REQUIRED if not getattr(values, name)]
    if missing or arguments:
        problem = f"missing {', '.join(missing)}" if missing else f"'{arguments[0]}' belongs to no flag"
        raise InputError(f"{problem}; {USAGE}")
    inputs = (values.checkpoint, values.data_dir, values.data, values.split, values.output)
    measure(*inputs, train_split=values.train_split, batch_size=values.batch_size)
    return 0


def measure(
    checkpoint: str | Path,
    data_dir: str | Path,
    dataset: str,
    split: str,
    output: str | Path,
    *,
    train_split: str | None = None,
    batch_size: int = 4,
) -> None:
    """Evaluates a checkpoint folder on a prepared split, writes the results and shows them."""
    output = Path(output).expanduser()
    require_folder(output, purpose="the results")
    import jcs_jax
    from jcs_jax.data.sources import open_source
    from jcs_jax.evaluation.evaluate import evaluate
    from jcs_jax.evaluation.results import show_evaluation, write_evaluation

    source = open_source(data_dir, dataset, split)
    train_source = open_source(data_dir, dataset, train_split) if train_split else None
    model, variables, preset = jcs_jax.load_model(checkpoint)
    evaluation = evaluate(model, variables, preset, source, batch_size=batch_size, train_source=train_source)
    written = write_evaluation(
        evaluation, output, checkpoint=str(checkpoint), dataset=dataset, split=split, train_split=train_split
    )
    show_evaluation(evaluation, written)
