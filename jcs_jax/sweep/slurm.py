"""A sweep as an array of SLURM jobs: the script is written, never submitted."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from jcs_jax.files import write_atomically
from jcs_jax.notice import RESEARCH_USE
from jcs_jax.sweep.grid import Grid
from jcs_jax.sweep.processes import JCS

_SCRIPT = """\
#!/bin/bash
# The {count} runs of a sweep, a job for each; written by `jcs sweep --slurm`. {notice}
#
# Edit: time, memory and cores that one run needs; the GPU, if the cluster has any (one # less makes a line count);
# partition and account. %4 behind the array's range lets 4 run at a time.
#SBATCH --job-name=jcs-sweep
#SBATCH --array=0-{last}
#SBATCH --time=04:00:00
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
##SBATCH --gres=gpu:1
##SBATCH --partition=NAME
##SBATCH --account=NAME
#
# A job that runs out of time is asked to stop two minutes before: it saves its state, and goes on when the script is
# submitted again. Runs that are finished are not run again.
#SBATCH --signal=B:TERM@120
#SBATCH --output="{output}"
#SBATCH --open-mode=append

cd {here} || exit 1
# exec: the signal must reach jcs, not the shell.
exec {command} --index="$SLURM_ARRAY_TASK_ID"
"""


def write_script(workdir: Path, grid: Grid, count: int, arguments: Sequence[str], here: Path) -> Path:
    """Writes `sweep.sbatch`, and beside it the grid as it is now: a later change must not move the runs' numbers.

    Args:
      workdir: the sweep's folder.
      grid: the grid.
      count: number of its runs.
      arguments: of `jcs sweep` beside --workdir, --grid and --index.
      here: folder that the paths in the arguments are relative to.

    Returns:
      The script.
    """
    folder = workdir.absolute()
    copy = write_atomically(folder / "sweep.toml", grid.text)
    command = [*JCS, "sweep", *arguments, f"--workdir={folder}", f"--grid={copy}"]
    text = _SCRIPT.format(
        count=count,
        last=count - 1,
        notice=RESEARCH_USE,
        output=str(folder / "slurm-").replace("%", "%%") + "%a.txt",
        here=shlex.quote(str(here)),
        command=shlex.join(command),
    )
    return write_atomically(folder / "sweep.sbatch", text)


def next_steps(script: Path, count: int) -> str:
    """What to do with the script."""
    return (
        f"{count} runs. Edit the #SBATCH lines, then:\n"
        f"  sbatch {shlex.quote(str(script))}\n"
        f"When the jobs have ended:\n"
        f"  jcs sweep --workdir={shlex.quote(str(script.parent))} --table\n"
        f"{RESEARCH_USE}\n"
    )
