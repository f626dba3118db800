"""Commands of `jcs` one after the other, from a script's flags: what the scripts beside this one have in common."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from absl import flags

from jcs_jax import cli

CONFIGS = Path(__file__).parent / "configs"
Command = list[str]


def run(
    script: str,
    arguments: list[str],
    plan: Callable[[flags.FlagValues], Iterable[Command]],
    define: Callable[[flags.FlagValues], None] | None = None,
) -> int:
    """Reads the flags and runs what is planned until something fails.

    Args:
      script: its name, such as jcs_tiny.py; the folder of its runs is called likewise.
      arguments: of the command line.
      plan: the commands, by flags; what it raises as ValueError is bad usage.
      define: defines more flags than `source_dir`, `workdir` and `options`.

    Returns:
      Exit code.
    """
    values = flags.FlagValues()
    flags.DEFINE_string("source_dir", None, "Folder of the copies.", flag_values=values)
    workdir = f"runs/{script.removesuffix('.py')}"
    flags.DEFINE_string("workdir", workdir, "Folder for data, runs, models and scores.", flag_values=values)
    flags.DEFINE_list("options", [], "Options of all stages, such as steps=10.", flag_values=values)
    if define is not None:
        define(values)
    try:
        values([script, *arguments])
        if not values.source_dir:
            raise ValueError("missing --source_dir; name the folder of your copies")
        commands = list(plan(values))
    except (flags.Error, ValueError) as error:
        sys.stderr.write(f"{script}: {error}\n")
        return 2
    for command in commands:
        if code := cli.main(command):
            return code
    return 0


def preparation(source: Path | None, data_dir: Path, name: str, *more: str) -> list[Command]:
    """The command that prepares a data set, or none where it is there.

    Args:
      source: the user's copy; None for a set that is made.
      data_dir: folder of prepared data sets.
      name: NAME/CONFIG.
      *more: flags.
    """
    if (data_dir / name).is_dir():
        return []
    dataset, _, config = name.partition("/")
    copy = [] if source is None else ["--source", str(source)]
    return [["prepare", dataset, "--config", config, "--data_dir", str(data_dir), *copy, *more]]


def training(
    stages: dict[str, str], folder: Path, data_dir: Path, options: Iterable[str], start: Path | None = None
) -> tuple[list[Command], Path]:
    """A command a stage, each of which starts from the one before, and the folder of the last one's model.

    Args:
      stages: name -> config under `configs/`, such as covid_semiseg.py:0,fine; a run's folder is called by the name.
      folder: of the runs.
      data_dir: folder of prepared data sets.
      options: of all stages, such as steps=10.
      start: run or model that the first stage starts from; None: random weights.
    """
    given = [f"--config.data.data_dir={data_dir}", *(f"--config.{option}" for option in options)]
    listed: list[Command] = []
    before = [] if start is None else [f"--config.init_from={start}"]
    for stage, config in stages.items():
        listed.append(["train", f"--config={CONFIGS / config}", f"--workdir={folder / stage}", *given, *before])
        before = [f"--config.init_from={folder / stage}"]
    return listed, folder / list(stages)[-1] / "model"
