"""The script for SLURM, run by the shell as SLURM would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jcs_jax.sweep import slurm


@pytest.fixture
def script(grid, tmp_path, monkeypatch):
    """A script whose `jcs` shows what it is given, in a folder whose name a shell would split."""
    show = "import os, sys; print(os.getcwd(), *sys.argv[1:], sep='\\n')"
    monkeypatch.setattr(slurm, "JCS", (sys.executable, "-c", show))
    workdir = tmp_path / "my 100% sweep"
    arguments = ["--config=c.py:modern", "--config.data.train_split=it's $HOME"]
    return slurm.write_script(workdir, grid("[axes]\nseed = [0, 1, 2]"), 3, arguments, tmp_path)


def test_a_job_runs_its_own_number_from_the_folder_of_the_start(script, tmp_path):
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "2"}
    done = subprocess.run(["bash", str(script)], cwd="/", env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        str(tmp_path),
        "sweep",
        "--config=c.py:modern",
        "--config.data.train_split=it's $HOME",
        f"--workdir={tmp_path}/my 100% sweep",
        f"--grid={tmp_path}/my 100% sweep/sweep.toml",
        "--index=2",
    ]


def test_the_array_has_a_job_for_each_run_and_every_directive_stands_before_the_commands(script, tmp_path):
    text = script.read_text()
    assert "#SBATCH --array=0-2\n" in text
    assert f'#SBATCH --output="{tmp_path}/my 100%% sweep/slurm-%a.txt"\n' in text
    assert text.rindex("#SBATCH") < re.search(r"^cd ", text, re.MULTILINE).start()
    assert "Research use only" in text


def test_the_grid_is_kept_as_it_is_now(script):
    assert (script.parent / "sweep.toml").read_text() == "[axes]\nseed = [0, 1, 2]"


def test_the_next_steps_can_be_pasted(script):
    text = slurm.next_steps(script, 3)
    assert f"sbatch '{script}'" in text
    assert f"jcs sweep --workdir='{Path(script).parent}' --table" in text
