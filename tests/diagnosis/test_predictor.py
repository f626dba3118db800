"""The predictor on a network whose answers can be computed by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stub_network
import tiny
from stub_network import SIDE, VARIABLES, StubNetwork, slice_of, square

import jcs_jax
from jcs_jax.checkpoints import save_model
from jcs_jax.diagnosis.predictor import CENTRE_ONLY, Predictor, picture_diagnosis
from jcs_jax.errors import InputError
from jcs_jax.models.operating_point import FamiliarFeatures, PatientRule
from jcs_jax.models.presets import build


def _predictor(batch_size: int = 8, preset=None, **options) -> Predictor:
    return Predictor.of(StubNetwork(**options), VARIABLES, preset or stub_network.preset(), batch_size=batch_size)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return _predictor()


def test_mask_is_where_the_first_side_map_reaches_the_threshold(predictor):
    intensity = square()
    (result,) = predictor.predict([slice_of(intensity)])
    np.testing.assert_array_equal(result.mask, intensity > 0.5)
    assert result.probability.dtype == np.float32
    np.testing.assert_allclose(result.probability, intensity, atol=1e-6)
    assert result.findings.lesion_share == 1 / 16


def test_class_probability_is_the_softmax(predictor):
    intensity = square(0.75, extent=48, top=8, left=8)
    (result,) = predictor.predict([slice_of(intensity)])
    assert result.findings.class_probability == pytest.approx(stub_network.probability(intensity), abs=1e-6)
    assert result.findings.positive is False
    (bright,) = predictor.predict([slice_of(np.ones((SIDE, SIDE)))])
    assert bright.findings.positive is True


def test_activation_map_is_signed_and_sets_infection_against_no_infection(predictor):
    (result,) = predictor.predict([slice_of(square())])
    assert result.activation.dtype == np.float32
    assert result.activation.shape == (SIDE, SIDE)
    assert result.activation[24, 32] == pytest.approx(3)  # the middle of the square
    assert result.activation[60, 4] == pytest.approx(-5)


@pytest.mark.parametrize("value", [0.2, 0.7, 1.0])
def test_mean_of_the_activation_map_is_the_log_odds_of_the_reported_probability(predictor, value):
    (result,) = predictor.predict([slice_of(square(value, extent=48, top=8, left=8))])
    probability = result.findings.class_probability
    assert result.activation.mean() == pytest.approx(np.log(probability / (1 - probability)), rel=1e-4)


def test_infection_shows_in_the_map_even_where_its_own_logit_is_negative():
    variables = {"params": {"class_head": {"kernel": np.array([[0.0, 0.0], [-3.0, -1.0]], np.float32)}}}
    (result,) = Predictor.of(StubNetwork(), variables, stub_network.preset()).predict([slice_of(square())])
    assert result.findings.class_probability == pytest.approx(0.8808, abs=1e-4)  # logits (-3, -1)
    np.testing.assert_allclose(result.activation, np.full((SIDE, SIDE), 2.0), rtol=1e-6)


def test_map_and_mask_agree_on_one_bright_square(predictor):
    (result,) = predictor.predict([slice_of(square())])
    assert result.findings.agreement.pointing_hit
    assert result.findings.agreement.inside_share > 0.8


def test_maps_come_back_at_the_slices_own_resolution(predictor):
    intensity = np.zeros((96, 130), np.float32)
    intensity[20:60, 30:90] = 1
    (result,) = predictor.predict([slice_of(intensity)])
    for values in (result.probability, result.mask, result.activation, result.intensity):
        assert values.shape == (96, 130)
    assert result.findings.shape == (96, 130)
    assert np.mean(result.mask == (intensity > 0.5)) > 0.97


def test_slices_of_different_sizes_share_a_batch(predictor):
    shapes = [(64, 64), (100, 80), (33, 64)]
    results = predictor.predict([slice_of(np.ones(shape), str(shape)) for shape in shapes])
    assert [result.mask.shape for result in results] == shapes
    assert all(result.mask.all() for result in results)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_batching_and_padding_change_nothing(batch_size):
    slices = [slice_of(square(value), f"{value}") for value in (0.1, 0.9, 0.6, 0.3, 1.0)]
    results = _predictor(batch_size).predict(slices)
    assert [result.findings.name for result in results] == [image.name for image in slices]
    for image, result in zip(slices, results, strict=True):
        assert result.findings.class_probability == pytest.approx(stub_network.probability(image.intensity), abs=1e-6)
        np.testing.assert_array_equal(result.mask, image.intensity > 0.5)


def test_few_shapes_are_compiled():
    predictor = _predictor(batch_size=4)
    with jax.log_compiles(False):
        for count in (4, 4, 3, 7, 1):
            predictor.predict([slice_of(square())] * count)
    assert predictor.stages._programs._screen._traced._cache_size() == 2  # 4 (also for 3) and 1
    assert predictor.stages._programs._segment._traced._cache_size() == 2


def test_stream_reads_no_further_ahead_than_a_batch():
    read = []

    def slices():
        for number in range(6):
            read.append(number)
            yield slice_of(square(), f"{number}")

    stream = _predictor(batch_size=2).stream(slices())
    assert next(stream).findings.name == "0"
    assert read == [0, 1]


def test_no_slices_give_no_results(predictor):
    assert predictor.predict([]) == []


def test_network_without_class_head_gives_a_mask_only():
    stub = StubNetwork(classifies=False)
    (result,) = Predictor.of(stub, {"params": {}}, stub_network.preset()).predict([slice_of(square())])
    assert result.activation is None
    assert result.findings.class_probability is None
    assert result.findings.positive is None
    assert result.findings.agreement is None
    assert result.mask.any()


def test_network_without_segmentation_gives_a_class_only():
    preset = dataclasses.replace(stub_network.preset(), architecture="classifier")
    (result,) = _predictor(preset=preset, segments=False).predict([slice_of(square())])
    assert result.mask is None
    assert result.probability is None
    assert result.findings.lesion_share is None
    assert result.findings.class_probability is not None
    assert result.activation is not None


def test_centre_crop_is_noted_and_leaves_the_rim_unjudged():
    preset = stub_network.preset(geometry="centre_crop", shorter_side=80)
    (result,) = _predictor(preset=preset).predict([slice_of(np.ones((80, 80)))])
    assert CENTRE_ONLY in result.findings.notes
    assert result.mask[40, 40]
    assert not result.mask[:8].any()
    assert (result.activation[:8] == 0).all()


def test_answers_that_are_not_finite_are_an_error():
    broken = {"params": {"class_head": {"kernel": np.full((2, 2), np.nan, np.float32)}}}
    predictor = Predictor.of(StubNetwork(), broken, stub_network.preset())
    with pytest.raises(InputError, match=r"bad\.png: the network's answer is not finite"):
        predictor.predict([slice_of(square(), "bad.png")])


def test_batch_size_below_one_is_refused():
    with pytest.raises(ValueError, match="batch_size is 0"):
        _predictor(batch_size=0)


def test_from_checkpoint_reports_the_folders_name_and_not_its_path(monkeypatch, tmp_path):
    loaded = (StubNetwork(), VARIABLES, stub_network.preset())
    monkeypatch.setattr(jcs_jax, "load_model", lambda name: loaded, raising=False)
    predictor = Predictor.from_checkpoint(tmp_path / "my model")
    assert predictor.card.checkpoint == "my model"
    assert predictor.card.preset["name"] == "stub"
    assert (predictor.card.class_threshold, predictor.card.mask_threshold) == (0.5, 0.5)


def test_result_is_the_same_every_time(predictor):
    first, second = (predictor.predict([slice_of(square(0.7))])[0] for _ in range(2))
    np.testing.assert_array_equal(first.activation, second.activation)
    assert first.findings == second.findings


def _case(level: float, **options):
    preset = dataclasses.replace(stub_network.preset(), **options)
    predictor = _predictor(preset=preset)
    results = predictor.predict([slice_of(np.full((SIDE, SIDE), level)) for _ in range(3)])
    return picture_diagnosis(predictor, "case", tuple(one.findings for one in results))


def test_three_pictures_get_a_decision_and_fewer_none():
    decision = _case(1.0).decision
    assert (decision.answer, decision.probability) == ("infected", pytest.approx(1 / (1 + np.exp(-3)), abs=1e-6))
    predictor = _predictor()
    results = predictor.predict([slice_of(square())] * 2)
    assert picture_diagnosis(predictor, "case", tuple(one.findings for one in results)).decision is None


def test_pictures_use_the_rule_that_is_stored_with_the_weights():
    decision = _case(1.0, patient=PatientRule(temperature=3.0, threshold=0.9, chosen_on="made up")).decision
    assert (decision.answer, decision.chosen_on) == ("not infected", "made up")
    assert decision.probability == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-6)


def test_pictures_unlike_the_known_ones_cannot_be_told():
    known = FamiliarFeatures((1.0, 1.0), (0.1, 0.1), 2.0)  # of bright pictures; the second feature is always 1
    assert _case(1.0, familiar=known).decision.answer == "infected"
    diagnosis = _case(0.0, familiar=known)
    assert diagnosis.decision.answer == "can't tell"
    assert "unlike the data that the network knows (distance 14.1, limit 2.0)" in diagnosis.decision.reasons[0]
    assert diagnosis.decision.reasons[0] in diagnosis.notes


def test_norms_of_a_checkpoint_are_folded_and_the_answer_stays(tmp_path):
    preset = tiny.preset("joint", norm="batch", classes=2)
    model = build(preset)
    variables = tiny.random_variables(model, jnp.zeros((1, tiny.SIDE, tiny.SIDE, 3)))
    save_model(tmp_path / "model", variables, preset, provenance={})
    predictor = Predictor.from_checkpoint(tmp_path / "model")
    assert predictor.preset == preset  # what is reported is the checkpoint
    compiled = str(jax.tree_util.tree_structure(predictor.stages._programs._variables))
    assert "kernel" in compiled
    assert "norm" not in compiled
    image = slice_of(np.random.default_rng(0).random((40, 50), np.float32))
    (expected,), (got,) = Predictor.of(model, variables, preset).predict([image]), predictor.predict([image])
    np.testing.assert_allclose(got.probability, expected.probability, atol=1e-5)
    assert got.findings.class_probability == pytest.approx(expected.findings.class_probability, abs=1e-5)
