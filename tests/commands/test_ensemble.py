"""`jcs ensemble` joins model folders into one, or says in one line why not and writes nothing."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import tiny

from jcs_jax import cli
from jcs_jax.checkpoints import describe_model, load_model, save_model
from jcs_jax.models.operating_point import FamiliarFeatures, PatientRule
from jcs_jax.models.output import infection_probability
from jcs_jax.models.presets import build
from jcs_jax.packed import pack_model

PRESET = tiny.preset("classifier")
IMAGES = np.random.default_rng(1).normal(size=(2, 32, 32, 3)).astype(np.float32)


def _save(folder: Path, seed: int, preset=PRESET) -> Path:
    return save_model(
        folder, tiny.random_variables(build(preset), IMAGES, seed=seed), preset, provenance={"seed": seed}
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Folders a, b and c of one kind; same has the weights of a; other is of another kind."""
    folder = tmp_path_factory.mktemp("models")
    rule, familiar = PatientRule(temperature=2.0, chosen_on="x"), FamiliarFeatures((0.0,), (1.0,), 1.0)
    _save(folder / "a", 0, dataclasses.replace(PRESET, patient=rule, familiar=familiar))
    _save(folder / "b", 1)
    _save(folder / "c", 2)
    _save(folder / "same", 0)
    _save(folder / "other", 3, tiny.preset("segmenter"))
    _save(folder / "sure", 4, dataclasses.replace(PRESET, class_threshold=0.7))
    return folder


def _join(models: Path, names: str, output: object, *more: str) -> int:
    folders = ",".join(str(models / name) for name in names.split())
    return cli.main(["ensemble", "--checkpoint", folders, "--output", str(output), *more])


def test_the_joined_model_answers_with_the_mean_of_its_members(models, tmp_path, capsys):
    assert _join(models, "a b c", tmp_path / "joined") == 0
    assert capsys.readouterr().out == (
        f"wrote {tmp_path / 'joined'}: the mean of 3 networks; choose its thresholds with `jcs calibrate`\n"
    )
    model, variables, preset = load_model(tmp_path / "joined")
    assert preset.options["members"] == 3
    assert preset.preprocessing == PRESET.preprocessing
    got = tiny.quick_jit(model.apply)(variables, IMAGES)
    own = [tiny.quick_jit(one.apply)(v, IMAGES) for one, v, _ in (load_model(models / name) for name in "abc")]
    np.testing.assert_allclose(got.class_logits, np.mean([one.class_logits for one in own], axis=0), atol=1e-5)
    assert infection_probability(got).shape == (2,)


def test_what_was_chosen_for_one_member_is_left_out_and_where_all_come_from_is_kept(models, tmp_path):
    assert _join(models, "a b", tmp_path / "joined") == 0
    preset, provenance = describe_model(tmp_path / "joined")
    assert preset.patient == PatientRule()
    assert preset.familiar is None
    assert [one["seed"] for one in provenance["members"]] == [0, 1]
    assert all(re.fullmatch("[0-9a-f]{64}", one["weights_sha256"]) for one in provenance["members"])


def test_an_ensemble_is_packed_as_other_models_are(models, tmp_path):
    assert _join(models, "a b", tmp_path / "joined") == 0
    packed = pack_model(tmp_path / "joined", tmp_path / "packed")
    (one, variables, _), (two, again, _) = load_model(tmp_path / "joined"), load_model(packed.folder)
    results = [tiny.quick_jit(model.apply)(v, IMAGES).class_logits for model, v in ((one, variables), (two, again))]
    np.testing.assert_array_equal(*results)


def test_it_is_written_over_only_with_overwrite(models, tmp_path, capsys):
    assert _join(models, "a b", tmp_path / "joined") == 0
    assert _join(models, "a c", tmp_path / "joined") == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert _join(models, "a b c", tmp_path / "joined", "--overwrite") == 0
    assert describe_model(tmp_path / "joined")[0].options["members"] == 3


def test_an_ensemble_is_no_member(models, tmp_path, capsys):
    assert _join(models, "a b", tmp_path / "joined") == 0
    assert cli.main(["ensemble", "--checkpoint", f"{tmp_path / 'joined'},{models / 'c'}", "--output", "x"]) == 2
    assert f"{tmp_path / 'joined'}: is an ensemble already; name its members instead" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("a", "an ensemble needs two models and more; name them with --checkpoint A,B"),
        ("a same", "same: has the weights of .*a; leave one of them out"),
        ("a other", "other: differs from .*a in name, architecture, options; join models of one kind"),
        ("a sure", "sure: differs from .*a in class threshold; join"),
        ("a absent", "absent: no model here"),
    ],
)
def test_what_does_not_join_is_one_line_exit_code_2_and_nothing_written(models, tmp_path, capsys, names, said):
    assert _join(models, names, tmp_path / "joined") == 2
    assert re.fullmatch(rf"jcs ensemble: .*{said}.*\n", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [[], ["--checkpoint", "a,b"], ["--checkpoint", "a,b", "--output", "c", "d"]])
def test_bad_usage_is_one_line_and_exit_code_2(arguments, capsys):
    assert cli.main(["ensemble", *arguments]) == 2
    assert re.fullmatch(r"jcs ensemble: .+; see jcs ensemble --help\n", capsys.readouterr().err)
