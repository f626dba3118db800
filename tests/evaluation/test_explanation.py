"""The activation map against the masks, with a network whose map can be computed by hand."""

import csv
import json

import numpy as np
import pytest
import stub_network
from sklearn.metrics import roc_auc_score
from stub_network import SIDE, StubNetwork, square

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.diagnosis.predictor import Predictor
from jcs_jax.errors import InputError
from jcs_jax.evaluation.evaluate import evaluate
from jcs_jax.evaluation.predictions import predictions
from jcs_jax.evaluation.results import write_evaluation
from jcs_jax.metrics import Measurement

BRIGHT = square()  # rows 16 to 31, columns 24 to 39: four whole cells of the network
WHOLE, LEFT, RIGHT = square(), square(), square()
LEFT[:, 32:], RIGHT[:, :32] = 0, 0
NOTHING = np.zeros((SIDE, SIDE))
_MASKS = {"whole": WHOLE, "left": LEFT}


def _example(name, image=BRIGHT, mask=None, label=-1):
    return Example(image, mask=None if mask is None else mask.astype(np.uint8), label=label, name=name)


EXAMPLES = [
    _example("whole", mask=WHOLE, label=1),
    _example("left", mask=LEFT, label=1),
    _example("right, unlabelled", mask=RIGHT),
    _example("dark", NOTHING.astype(np.float32), LEFT, label=1),
    _example("empty mask", mask=NOTHING, label=1),
    _example("uninfected", mask=NOTHING, label=0),
    _example("uninfected against its mask", mask=WHOLE, label=0),
    _example("no mask", label=1),
]


def _evaluate(examples, *, model=None, preset=None):
    model, preset = model or StubNetwork(), preset or stub_network.preset()
    return evaluate(model, stub_network.VARIABLES, preset, ArraySource(examples), batch_size=3)


@pytest.fixture(scope="module")
def measured():
    return _evaluate(EXAMPLES)


def _map_by_hand():
    """-5 where it is dark and 3 in the four bright cells, linear between the middles of the cells."""
    middles = 8 * np.arange(8) + 3.5
    rows, columns = (np.interp(np.arange(SIDE), middles, np.isin(np.arange(8), cells)) for cells in ((2, 3), (3, 4)))
    return -5 + 8 * np.outer(rows, columns)


class TestNumbers:
    def test_every_slice_by_hand(self, measured):
        # Positive where the product of the two ramps is over 5/8: inside the square, and alike left and right.
        # The first of the highest pixels is (20, 28), in the left half.
        auc = {mask: roc_auc_score(values.ravel(), _map_by_hand().ravel()) for mask, values in _MASKS.items()}
        expected = {
            "whole": (1.0, 1.0, 256 / 4096, auc["whole"]),
            "left": (1.0, 0.5, 128 / 4096, auc["left"]),
            "right, unlabelled": (0.0, 0.5, 128 / 4096, auc["left"]),
            "dark": (0.0, 0.0, 128 / 4096, 0.5),
            "empty mask": (np.nan,) * 4,
        }
        names = ("pointing_game", "energy_inside", "energy_chance", "map_auc")
        cases = {case.name: case.values for case in measured.cases}
        assert [name for name, values in cases.items() if "pointing_game" in values] == list(expected)
        for name, numbers in expected.items():
            np.testing.assert_allclose([cases[name][key] for key in names], numbers, rtol=1e-6)

    def test_the_summary_is_the_mean_over_slices_with_a_lesion(self, measured):
        group = measured.summary["explanation"]
        assert list(group) == ["pointing_game", "energy_inside", "energy_chance", "map_auc"]
        assert group["pointing_game"] == Measurement(2 / 4, 4, 1)
        assert group["energy_inside"] == Measurement(pytest.approx((1 + 0.5 + 0.5 + 0) / 4), 4, 1)
        assert group["energy_chance"] == Measurement((256 + 3 * 128) / 4096 / 4, 4, 1)

    def test_the_other_groups_are_there_too(self, measured):
        assert {"segmentation", "classification"} < set(measured.summary)
        assert measured.counts["with_mask"] == 7

    def test_files_have_the_numbers(self, measured, tmp_path):
        written = write_evaluation(measured, tmp_path, checkpoint="a", dataset="b", split="c")
        document = json.loads(written.read_text())
        pointing = document["summary"]["explanation"]["pointing_game"]
        assert (pointing["value"], pointing["n"], pointing["n_absent"]) == (0.5, 4, 1)
        assert "energy_chance" in document["policy"]
        with (tmp_path / "cases.csv").open(newline="") as file:
            rows = {row["name"]: row for row in csv.DictReader(file)}
        assert rows["left"]["pointing_game"] == "1"
        assert rows["empty mask"]["energy_inside"] == rows["no mask"]["map_auc"] == ""
        assert rows["uninfected"]["energy_chance"] == ""


class TestTheMap:
    def test_is_on_the_slice_as_computed_by_hand(self):
        (prediction,) = predictions(
            StubNetwork(), stub_network.VARIABLES, stub_network.preset(), ArraySource(EXAMPLES[:1]), batch_size=1
        )
        np.testing.assert_allclose(prediction.activation, _map_by_hand(), atol=1e-5)

    @pytest.mark.parametrize("geometry", [{}, {"geometry": "centre_crop", "shorter_side": 80}])
    @pytest.mark.parametrize("side", [64, 150])
    def test_is_the_one_that_a_diagnosis_shows(self, geometry, side):
        preset = stub_network.preset(**geometry)
        image = np.random.default_rng(0).random((side, side + 30), np.float32)
        (diagnosis,) = Predictor.of(StubNetwork(), stub_network.VARIABLES, preset).predict(
            [stub_network.slice_of(image)]
        )
        source = ArraySource([Example(image, name="a")])
        (prediction,) = predictions(StubNetwork(), stub_network.VARIABLES, preset, source, batch_size=1)
        assert prediction.activation.shape == image.shape
        np.testing.assert_allclose(prediction.activation, diagnosis.activation, atol=1e-5)


class TestWhatTheModelOrTheDataLack:
    def test_a_segmenter_has_no_explanation(self):
        evaluation = _evaluate(EXAMPLES, model=StubNetwork(classifies=False))
        assert "explanation" not in evaluation.summary
        assert not any("map_auc" in case.values for case in evaluation.cases)

    def test_a_classifier_is_measured_on_masks_alone(self):
        evaluation = _evaluate([EXAMPLES[2]], model=StubNetwork(segments=False))
        assert set(evaluation.summary) == {"explanation"}
        assert evaluation.counts["with_mask"] == 1

    def test_without_any_slice_to_point_at_there_is_no_group(self):
        assert "explanation" not in _evaluate(EXAMPLES[5:]).summary

    def test_a_mask_of_another_size_names_its_slice(self):
        odd = _example("odd", mask=np.ones((8, 8)), label=1)
        with pytest.raises(InputError, match=r"odd: the mask is \(8, 8\) and the slice \(64, 64\)"):
            _evaluate([odd], model=StubNetwork(segments=False))
