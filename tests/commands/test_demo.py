"""`jcs demo`, end to end: with the shipped weights, and with two training steps of a narrower network."""

import contextlib
import importlib
import io
import json

import numpy as np
import pytest
import tiny
from PIL import Image

from jcs_jax import cli, read_study
from jcs_jax.commands import demo as demo_command
from jcs_jax.notice import RESEARCH_USE
from jcs_jax.shipped import DEFAULT_MODEL
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
        return cli.main(["demo", "--train", "--output", str(output), "--steps", "2", "--config", "tiny"]), output


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Exit code, folder and terminal output of one run with the weights that come with the package."""
    output = tmp_path_factory.mktemp("demo") / "out"
    with contextlib.redirect_stdout(io.StringIO()) as terminal:
        code = cli.main(["demo", "--output", str(output)])
    return code, output, terminal.getvalue()


def test_two_phantom_studies_are_diagnosed_with_the_shipped_weights(shown):
    code, output, terminal = shown
    assert code == 0
    assert {path.name for path in output.iterdir()} == {"studies", "diagnosis"}
    told = {path.parent.name: json.loads(path.read_text()) for path in output.glob("diagnosis/*/diagnosis.json")}
    answers = {case.partition("-")[0]: report["decision"]["answer"] for case, report in told.items()}
    assert answers == {"infected": "infected", "uninfected": "not infected"}
    assert {report["model"]["checkpoint"] for report in told.values()} == {DEFAULT_MODEL}
    assert "They are no patients" in terminal
    assert RESEARCH_USE in terminal


def test_a_demo_study_has_the_phantoms_voxels_in_hu_and_mm(tmp_path):
    volume = read_study(demo_command.write_study(tmp_path / "study.nii.gz", 11, infected=True))
    phantom = importlib.import_module("jcs_datasets.chest_phantom.phantom").make_patient(
        (20260, 11), infected=True, slices=24, size=256
    )
    np.testing.assert_array_equal(volume.hounsfield, phantom.hounsfield[::-1])  # from the feet up
    np.testing.assert_allclose(np.abs(volume.affine[:3, :3]).max(axis=0), phantom.spacing, rtol=1e-6)


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
    [
        (["extra"], "extra: jcs demo takes no arguments"),
        (["--steps=0"], "steps"),
        (["--config=huge"], "huge"),
        (["--steps=7"], "--steps: is for training; add --train"),
        (["--config=tiny"], "--config: is for training; add --train"),
    ],
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
