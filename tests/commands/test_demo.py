"""`jcs demo`, end to end, with two training steps of a narrower network on the smallest phantom."""

import json

import numpy as np
import pytest
import tiny
from PIL import Image

from jcs_jax import cli
from jcs_jax.notice import RESEARCH_USE
from jcs_jax.training import config
from jcs_jax.training.config import demo_config


def _narrow_config():
    options = demo_config()
    options.model.options = {**tiny.OPTIONS["joint"], "norm": "none"}  # compiles in a fifth of the time
    options.model.input_size = 64
    return options


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Exit code and folder of one run."""
    output = tmp_path_factory.mktemp("demo") / "out put"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "demo_config", _narrow_config)
        return cli.main(["demo", "--output", str(output), "--steps", "2", "--config", "tiny"]), output


def test_the_demo_trains_the_tiny_joint_network():
    assert demo_config().model.name == "joint_tiny"
    assert demo_config().model.options.to_dict() == {}


def test_it_ends_well_and_leaves_data_model_measurement_and_diagnosis(demo):
    code, output = demo
    assert code == 0
    assert {path.name for path in output.iterdir()} == {"data", "training", "evaluation", "patients", "diagnosis"}
    written = {"config.json", "metrics.jsonl", "tensorboard", "checkpoints", "model", "finished.json"}
    assert {path.name for path in (output / "training").iterdir()} == written
    assert len((output / "training/metrics.jsonl").read_text().splitlines()) == 1
    measured = {"metrics.json", "cases.csv", "patients.csv", "evaluation.html"}
    assert {path.name for path in (output / "evaluation").iterdir()} == measured


def test_an_infected_and_an_uninfected_patient_are_diagnosed(demo):
    cases = sorted((demo[1] / "diagnosis").iterdir())
    assert [case.name.partition("-")[0] for case in cases if case.is_dir()] == ["infected", "uninfected"]
    for case in cases:
        report = json.loads((case / "diagnosis.json").read_text())
        assert RESEARCH_USE in json.dumps(report)
        pictures = {path.name for path in case.rglob("*.png")}
        assert {f"{slice:04d}_{kind}.png" for slice in (1, 2) for kind in ("overlay", "activation")} <= pictures
        assert (case / "report.html").stat().st_size > 10_000
        for path in case.rglob("*.png"):
            with Image.open(path) as picture:
                assert np.asarray(picture).shape[0] >= 64


def test_the_slices_are_8_bit_pictures_of_the_phantom(demo):
    slices = sorted((demo[1] / "patients").glob("*/*.png"))
    assert len(slices) == 4
    for path in slices:
        with Image.open(path) as picture:
            assert picture.mode == "L"
            assert 5 < np.asarray(picture).std() < 120


def test_the_model_says_that_it_learned_from_a_phantom(demo):
    description = json.loads((demo[1] / "training/model/model.json").read_text())
    assert "chest_phantom" in description["preset"]["source"]
    assert "not a patient" in json.dumps(description["provenance"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["extra"], "extra: jcs demo takes no arguments"), (["--steps=0"], "steps"), (["--config=huge"], "huge")],
)
def test_bad_usage_is_one_line_and_writes_nothing(arguments, message, tmp_path, capsys):
    assert cli.main(["demo", "--output", str(tmp_path / "out"), *arguments]) == 2
    line = capsys.readouterr().err
    assert message in line
    assert line.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way_is_refused_and_kept(tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert cli.main(["demo", "--output", str(tmp_path / "out")]) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"
