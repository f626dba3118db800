"""`jcs doctor`: bad usage is one line and exit code 2; a checkup is shown, written, and told by the exit code."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from PIL import Image
from two_convolutions import TwoConvolutions

from jcs_jax import cli
from jcs_jax.doctor import checkup
from jcs_jax.doctor.findings import Checkup, Finding
from jcs_jax.notice import RESEARCH_USE
from jcs_jax.training import setup

ROOT = Path(__file__).parents[2]
CONFIG = """
from jcs_jax.training.config import default_config

def get_config():
    config = default_config()
    config.data.data_dir = {folder!r}
    config.data.dataset = "chest_phantom/tiny"
    config.model.input_size = 32
    return config
"""
# ml_collections loads config files in a way that Python will drop one day.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # the file of the test before, as it was loaded
    path = tmp_path / "config.py"
    path.write_text(CONFIG.format(folder=str(tmp_path / "data")))
    return path


@pytest.fixture
def prepared(tmp_path, capsys):
    assert cli.main(["prepare", "chest_phantom", "--config=tiny", f"--data_dir={tmp_path / 'data'}"]) == 0
    capsys.readouterr()


@pytest.fixture
def found(monkeypatch):
    """A checkup whose findings the test decides."""
    findings = []
    picture = Image.new("RGB", (4, 4))
    monkeypatch.setattr(checkup, "examine", lambda *run, **options: Checkup(findings, picture, {"seed": 0}))
    return findings


def doctor(*arguments) -> int:
    return cli.main(["doctor", *map(str, arguments)])


def refused(capsys, tmp_path, *arguments) -> str:
    """The one line of a refused checkup, which has written nothing."""
    assert doctor(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert not (tmp_path / "report").exists()
    return said.err


@pytest.mark.parametrize("given", [[], ["config"], ["output"]])
def test_both_flags_are_needed(given, config, tmp_path, capsys):
    flags = {"config": f"--config={config}", "output": f"--output={tmp_path / 'report'}"}
    assert "--config and --output are both needed" in refused(capsys, tmp_path, *(flags[name] for name in given))


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--steps=-1", "--steps=-1"),
        ("--config.stepz=1", "stepz"),
        ("--config.model.name=joint_huge", "no prepared data set"),
        ("more", "takes no arguments"),
    ],
)
def test_bad_usage_is_one_line(flag, expected, config, tmp_path, capsys):
    assert expected in refused(capsys, tmp_path, f"--config={config}", f"--output={tmp_path / 'report'}", flag)


def test_a_config_that_is_not_there_is_named(tmp_path, capsys):
    line = refused(capsys, tmp_path, "--config=absent.py", f"--output={tmp_path / 'report'}")
    assert "absent.py: no config can be read there" in line


def test_a_file_in_the_place_of_the_folder_is_refused(config, tmp_path, capsys):
    assert "is a file; name a folder" in refused(capsys, tmp_path, f"--config={config}", f"--output={config}")


@pytest.mark.parametrize("option", ["--config.steps=0", "--config.model.name=joint_huge"])
def test_a_config_that_no_run_can_have_is_bad_input(option, prepared, config, tmp_path, capsys):
    line = refused(capsys, tmp_path, f"--config={config}", f"--output={tmp_path / 'report'}", option)
    assert line.startswith("jcs doctor: config.")


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize(("severity", "code"), [("ok", 0), ("warning", 0), ("error", 1)])
def test_the_exit_code_tells_whether_there_is_an_error(severity, code, found, config, tmp_path):
    found.append(Finding("masks", severity, "seen", "cured"))
    assert doctor(f"--config={config}", f"--output={tmp_path / 'report'}") == code
    report = json.loads((tmp_path / "report/doctor.json").read_text())
    assert report["errors"] == code
    assert report["findings"][0]["severity"] == severity


@pytest.mark.usefixtures("prepared")
def test_without_a_first_batch_an_earlier_ones_picture_is_removed(monkeypatch, config, tmp_path, capsys):
    monkeypatch.setattr(checkup, "examine", lambda *run, **options: Checkup((), None, {}))
    (tmp_path / "report").mkdir()
    (tmp_path / "report/first_batch.png").write_text("old")
    assert doctor(f"--config={config}", f"--output={tmp_path / 'report'}") == 0
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["doctor.json"]
    assert "first_batch.png" not in capsys.readouterr().out


def test_a_run_on_prepared_data_is_examined_and_its_first_batch_drawn(monkeypatch, prepared, config, tmp_path, capsys):
    monkeypatch.setattr(setup, "network_of", lambda config, preset: TwoConvolutions())
    flags = [f"--output={tmp_path / 'report'}", "--steps=0", "--config.data.eval_split=test"]
    assert doctor(f"--config={config}", *flags) == 0
    said = capsys.readouterr()
    assert "training 8 slices (4 patients), evaluation 4 slices (2 patients)" in said.out
    assert RESEARCH_USE in said.out
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["doctor.json", "first_batch.png"]
    assert cv2.imread(str(tmp_path / "report/first_batch.png")).shape[1] == 4 * 324 - 4
    assert str(tmp_path) not in (tmp_path / "report/doctor.json").read_text()


def test_the_script_of_the_clone_refuses_with_the_same_line_and_exit_code(tmp_path):
    command = [sys.executable, str(ROOT / "experiments/doctor.py"), "--config=absent.py", f"--output={tmp_path / 'o'}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "jcs doctor: absent.py: no config can be read there" in done.stderr
    assert not (tmp_path / "o").exists()
