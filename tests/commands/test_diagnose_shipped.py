"""`jcs diagnose` with models that come with the package: by name, by default, and in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ship import write_packed

import jcs_jax
from jcs_jax import cli, shipped
from jcs_jax.checkpoints import weights_digest

DIAGNOSE = "import sys; from jcs_jax.cli import main; sys.exit(main(['diagnose', *sys.argv[1:]]))"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder to import the package from, as it is, with one shipped model."""
    site = tmp_path_factory.mktemp("site")
    (site / "jcs_jax").mkdir()
    for path in Path(jcs_jax.__file__).parent.iterdir():
        if path.name not in ("weights", "__pycache__"):
            (site / "jcs_jax" / path.name).symlink_to(path)
    packed = write_packed(site / "jcs_tiny", dtype="float16")
    (site / "jcs_jax/weights").mkdir()
    packed.rename(site / "jcs_jax/weights/jcs_tiny")
    return site


@pytest.fixture
def picture(tmp_path, monkeypatch) -> Path:
    """In the current folder."""
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "slice.png")
    return tmp_path / "slice.png"


def _model(output: Path) -> dict:
    return json.loads((output / "slice/diagnosis.json").read_text())["model"]


def _diagnose(*flags: str) -> int:
    return cli.main(["diagnose", "slice.png", "--formats", "json", *flags])


def test_without_a_checkpoint_the_shipped_model_is_used_and_told(picture, site, monkeypatch, capsys):
    monkeypatch.setattr(shipped, "WEIGHTS", site / "jcs_jax/weights")
    (picture.parent / "jcs_tiny").mkdir()  # must not come in its way
    assert _diagnose("--output", "default") == 0
    told = "no --checkpoint given: using jcs_tiny, the model that comes with the package"
    assert capsys.readouterr().out.splitlines()[0] == told
    (picture.parent / "jcs_tiny").rmdir()
    assert _diagnose("--output", "named", "--checkpoint", "jcs_tiny") == 0
    assert told not in capsys.readouterr().out
    model = _model(picture.parent / "named")
    assert model == _model(picture.parent / "default")
    assert model["checkpoint"] == "jcs_tiny"
    assert weights_digest("jcs_tiny") in model.values()
    assert _diagnose("--output", "default", "--skip_done") == 0  # the two are the same run


def test_without_a_checkpoint_and_without_weights_one_line_says_what_to_do(picture, monkeypatch, capsys):
    monkeypatch.setattr(shipped, "WEIGHTS", picture.parent / "absent")
    assert _diagnose("--output", "out") == 2
    captured = capsys.readouterr()
    said = "this installation holds no weights; name a model folder with --checkpoint"
    assert captured.err == f"jcs diagnose: {picture.parent / 'absent/jcs_tiny'}: {said}\n"
    assert captured.out == ""
    assert not (picture.parent / "out").exists()


def test_an_unknown_name_is_one_line_with_the_names_there_are(picture, site, monkeypatch, capsys):
    monkeypatch.setattr(shipped, "WEIGHTS", site / "jcs_jax/weights")
    assert _diagnose("--output", "out", "--checkpoint", "jcs_huge") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "jcs_huge: no model here" in error
    assert error.endswith("comes with the package: jcs_tiny\n")
    assert not (picture.parent / "out").exists()


def test_processes_of_their_own_find_a_shipped_model_by_name(picture, site):
    flags = ["--checkpoint", "jcs_tiny", "--output", "out", "--formats", "json", "--workers", "2"]
    done = subprocess.run(
        [sys.executable, "-c", DIAGNOSE, "slice.png", *flags],
        cwd=picture.parent,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert _model(picture.parent / "out")["checkpoint"] == "jcs_tiny"
