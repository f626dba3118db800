"""The patient's answer: by hand, and whatever the thickness of the slices."""

import numpy as np
import pytest

from jcs_jax.diagnosis.decision import FAMILIARITY_UNKNOWN, decide, familiarity, patient_probability, suspicion
from jcs_jax.models.operating_point import FamiliarFeatures, PatientRule

RULE = PatientRule(share=0.25, temperature=2.0, threshold=0.5, indecision=0.1, chosen_on="made up")


def _decide(log_odds, rule: PatientRule = RULE, **changes):
    log_odds = np.asarray(log_odds, float)
    options = {
        "extents": np.full(len(log_odds), 10.0),
        "lung_bearing": np.ones(len(log_odds), bool),
        "millimetres": True,
        **changes,
    }
    return decide(log_odds, log_odds >= 0, rule, **options)


def test_suspicion_by_hand():
    assert suspicion(np.array([1.0, 4.0, -2.0, 0.0]), np.ones(4), 0.25) == 4
    assert suspicion(np.array([1.0, 4.0, -2.0, 0.0]), np.ones(4), 0.5) == 2.5
    assert suspicion(np.array([1.0, 4.0, -2.0, 0.0]), np.ones(4), 1.0) == 0.75
    assert suspicion(np.array([3.0, 0.0]), np.array([1.0, 3.0]), 0.5) == 1.5  # the thin one and a third of the other


@pytest.mark.parametrize("seed", range(5))
def test_suspicion_does_not_depend_on_how_thick_slices_are_cut(seed):
    rng = np.random.default_rng(seed)
    log_odds, extents = rng.normal(0, 3, 12), rng.uniform(1, 5, 12)
    parts = rng.integers(1, 6, 12)
    thin, thin_extents = np.repeat(log_odds, parts), np.repeat(extents / parts, parts)
    order = rng.permutation(len(thin))
    for share in (0.05, 0.2, 0.37, 1.0):
        expected = suspicion(log_odds, extents, share)
        assert suspicion(thin[order], thin_extents[order], share) == pytest.approx(expected, rel=1e-9)


def test_temperature_flattens_the_probability():
    assert patient_probability(2.0, RULE) == pytest.approx(1 / (1 + np.exp(-1)))
    assert 0 <= patient_probability(-1e6, RULE) < 1e-100


def test_infected_and_not_infected():
    infected = _decide([4, -4, -4, -4])
    assert infected.answer == "infected"
    assert infected.probability == pytest.approx(0.8808, abs=1e-4)
    assert infected.reasons == ()
    assert _decide([-4, -4, -4, -4]).answer == "not infected"


def test_near_the_threshold_it_cannot_be_told():
    decision = _decide([0.5, -4, -4, -4])
    assert decision.answer == "can't tell"
    assert decision.reasons == ("the probability of 0.56 lies within 0.10 of the threshold 0.50",)


def test_slices_without_lung_do_not_count():
    lung = np.array([False, True, True, True, True])
    assert _decide([9, -4, -4, -4, -4], lung_bearing=lung).answer == "not infected"


def test_too_little_lung_for_an_answer():
    decision = _decide([4, 4, 4], extents=np.full(3, 5.0))
    assert decision.answer == "can't tell"
    assert decision.reasons == ("only 3 slices with lung over 15 mm; a decision needs at least 3 slices over 40 mm",)
    assert decision.probability is not None
    none = _decide([4, 4], lung_bearing=np.zeros(2, bool))
    assert (none.answer, none.probability) == ("can't tell", None)


def test_pictures_are_counted_where_millimetres_are_unknown():
    decision = _decide([4, 4, 4], extents=np.ones(3), millimetres=False)
    assert decision.answer == "infected"
    assert "number of slices" in decision.rule


def test_a_doubt_found_elsewhere_is_a_reason():
    decision = _decide([4, 4, 4, 4], doubts=["unlike the data that the network knows"])
    assert (decision.answer, decision.reasons) == ("can't tell", ("unlike the data that the network knows",))


@pytest.mark.parametrize(("count", "answer"), [(18, "not infected"), (19, "infected")])
def test_the_release_decides_by_more_than_18_positive_slices(count, answer):
    decision = _decide([1.0] * count + [-1.0] * 10)
    assert decision.release_positive_slices == count
    assert decision.release_answer == answer


def test_a_study_is_as_far_from_known_data_as_the_median_of_its_slices():
    known = FamiliarFeatures((0.0, 1.0), (1.0, 2.0), 2.0)
    distances = known.distance(np.array([[0.0, 1.0], [3.0, 1.0], [3.0, 7.0]]))
    np.testing.assert_allclose(distances, [0, np.sqrt(4.5), 3])
    doubt = "the study is unlike the data that the network knows (distance 2.1, limit 2.0)"
    assert familiarity(distances, known) == ((doubt,), (doubt,))
    assert familiarity(distances[:2], known) == ((), ())
    assert familiarity(np.zeros(0), known) == ((), ())


def test_weights_that_do_not_say_what_they_know_are_told():
    assert familiarity(None, None) == ((FAMILIARITY_UNKNOWN,), ())
