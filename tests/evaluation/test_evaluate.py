"""Evaluation with a network whose answer is known: what is measured, on which slices, and at which size."""

import dataclasses
import json
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.errors import InputError
from jcs_jax.evaluation.evaluate import evaluate
from jcs_jax.evaluation.predictions import predictions
from jcs_jax.evaluation.results import summary_table, write_evaluation
from jcs_jax.metrics import Measurement
from jcs_jax.models.output import ModelOutput
from jcs_jax.models.presets import Preset, build, get_preset
from jcs_jax.preprocessing import Preprocessing

PRESET = Preset("stub", "joint", {}, Preprocessing((16, 16), mean=(0, 0, 0), std=(1, 1, 1)), source="test")


class Stub(nn.Module):
    """Says opacified where a pixel is brighter than 1/2, infected where the slice's mean is above 1/4."""

    segments: bool = True
    classifies: bool = True

    def __call__(self, images, train=False):
        brightness = images[..., 0]
        mean = brightness.mean(axis=(1, 2))
        return ModelOutput(
            class_logits=jnp.stack([0 * mean, 40 * (mean - 0.25)], axis=-1) if self.classifies else None,
            side_logits=jnp.repeat(40 * (brightness[..., None] - 0.5), 5, axis=-1) if self.segments else None,
            intermediates={},
        )


def _example(name, bright_rows, mask_rows=None, *, label=-1, size=(16, 16), patient=""):
    """A slice whose first rows are bright and whose mask, if any, covers its first `mask_rows` rows."""
    image = np.zeros(size, np.float32)
    image[:bright_rows] = 1.0
    mask = None
    if mask_rows is not None:
        mask = np.zeros(size, np.uint8)
        mask[:mask_rows] = 1
    return Example(image, mask=mask, label=label, name=name, patient=patient)


MIXED = [
    _example("half", 4, 8, label=1, patient="p1"),  # Dice 2*4/(4+8) = 2/3, IoU 1/2, specificity 1; mean 1/4
    _example("exact", 8, 8, label=1, patient="p1"),  # Dice 1; mean 1/2
    _example("false alarm", 2, 0, label=0, patient="p2"),  # empty mask; 1/8 of the image predicted
    _example("no mask", 12, label=0),  # mean 3/4: wrongly infected
    _example("no label", 0, 4),  # Dice 0
]


def _evaluate(examples, *, model=None, batch_size=2, preset=PRESET, **options):
    return evaluate(model or Stub(), {}, preset, ArraySource(examples), batch_size=batch_size, **options)


class TestNumbers:
    def test_segmentation_by_hand(self):
        numbers = _evaluate(MIXED).summary["segmentation"]
        assert numbers["dice"].value == pytest.approx((2 / 3 + 1 + 0) / 3)
        assert numbers["iou"].value == pytest.approx((1 / 2 + 1 + 0) / 3)
        assert numbers["pixel_sensitivity"].value == pytest.approx((1 / 2 + 1 + 0) / 3)
        assert numbers["pixel_specificity"] == Measurement(pytest.approx((1 + 1 + 14 / 16 + 1) / 4), 4, 0)
        assert numbers["false_positive_area"] == Measurement(2 / 16, 1, 3)
        assert numbers["mae"] == Measurement(pytest.approx((4 + 0 + 2 + 4) / 16 / 4, abs=1e-6), 4, 0)
        for name in ("dice", "iou", "iou_adaptive", "mean_threshold_dice", "best_threshold_dice"):
            assert (numbers[name].n, numbers[name].n_absent) == (3, 1)

    def test_classification_by_hand(self):
        # Means .25 and .5 infected, .125 and .75 uninfected: the pairs are right in 2 of 4.
        numbers = _evaluate(MIXED).summary["classification"]
        assert numbers["auc"] == Measurement(0.5, 4, 1)
        assert numbers["sensitivity"] == Measurement(1.0, 2, 3)  # a probability of exactly 0.5 is infected
        assert numbers["specificity"] == Measurement(0.5, 2, 3)
        assert numbers["accuracy"] == Measurement(0.75, 4, 1)

    def test_mean_brightness_stands_beside_the_classifier(self):
        assert _evaluate(MIXED).summary["baseline_mean_brightness"]["auc"] == Measurement(0.5, 4, 1)

    def test_a_single_class_has_no_auc(self):
        numbers = _evaluate([MIXED[0], MIXED[1]]).summary["classification"]
        assert math.isnan(numbers["auc"].value)
        assert (numbers["auc"].n, numbers["auc"].n_absent) == (0, 2)
        assert math.isnan(numbers["specificity"].value)

    def test_counts_say_what_the_data_holds(self):
        assert _evaluate(MIXED).counts == {
            "slices": 5,
            "with_mask": 4,
            "empty_mask": 1,
            "infected": 2,
            "uninfected": 2,
            "unlabelled": 1,
            "patients": 2,
        }

    def test_the_presets_thresholds_are_used(self):
        strict = dataclasses.replace(PRESET, class_threshold=1.1, mask_threshold=1.1)
        summary = _evaluate(MIXED, preset=strict).summary
        assert summary["segmentation"]["dice"].value == 0.0
        assert summary["classification"]["sensitivity"].value == 0.0
        assert summary["classification"]["specificity"].value == 1.0


class TestBatches:
    @pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 8])
    def test_no_slice_is_dropped_and_padding_is_not_measured(self, batch_size):
        whole, other = _evaluate(MIXED, batch_size=5), _evaluate(MIXED, batch_size=batch_size)
        assert [case.name for case in other.cases] == [example.name for example in MIXED]
        assert other.counts == whole.counts
        assert json.dumps({g: {k: v.to_json() for k, v in n.items()} for g, n in other.summary.items()}) == json.dumps(
            {g: {k: v.to_json() for k, v in n.items()} for g, n in whole.summary.items()}
        )

    def test_the_network_is_compiled_once(self):
        traced = []

        class Counting(Stub):
            def __call__(self, images, train=False):
                traced.append(images.shape)
                return super().__call__(images, train)

        _evaluate(MIXED, model=Counting(), batch_size=2)
        assert traced == [(2, 16, 16, 3)]

    def test_measured_at_the_slices_own_size(self):
        examples = [_example("large", 32, 32, size=(64, 48)), _example("tall", 10, 10, size=(40, 16))]
        seen = list(predictions(Stub(), {}, PRESET, ArraySource(examples), batch_size=2))
        assert [prediction.lesions.shape for prediction in seen] == [(64, 48), (40, 16)]
        evaluation = _evaluate(examples)
        assert evaluation.cases[0].values["dice"] == 1.0
        assert evaluation.cases[1].values["dice"] > 0.9

    def test_hounsfield_slices_are_windowed(self):
        units = Example(MIXED[1].image * 1500 - 1350, encoding="hounsfield", mask=MIXED[1].mask, name="HU")
        assert _evaluate([units]).cases[0].values["dice"] == 1.0


class TestWhatTheModelLacks:
    def test_a_segmenter_has_no_classification(self):
        summary = _evaluate(MIXED, model=Stub(classifies=False)).summary
        assert "segmentation" in summary
        assert "classification" not in summary
        assert "baseline_mean_brightness" not in summary

    def test_a_classifier_has_no_segmentation(self):
        evaluation = _evaluate(MIXED, model=Stub(segments=False))
        assert set(evaluation.summary) == {
            "classification",
            "patients",
            "baseline_mean_brightness",
            "baseline_image_area",
        }
        assert all("dice" not in case.values for case in evaluation.cases)


class TestBaselines:
    @staticmethod
    def _thorax(name, opacity):
        y, x = np.mgrid[:64, :64]
        radius = np.hypot(y - 32, x - 32)
        image = np.select([radius < 8, radius < 22, radius < 30], [opacity, 0.2, 0.95], 0.0).astype(np.float32)
        return Example(image, mask=(radius < 8).astype(np.uint8), name=name)

    def test_all_lung_and_brightness_stand_beside_the_model(self):
        evaluation = _evaluate([self._thorax("a", 0.6)], train_source=ArraySource([self._thorax("t", 0.6)]))
        all_lung = evaluation.summary["baseline_all_lung"]["dice"].value
        assert all_lung == pytest.approx(2 * 8**2 / (8**2 + 22**2), abs=0.02)  # areas of the two discs
        brightness = evaluation.summary["baseline_brightness_in_lungs"]
        assert brightness["dice"].value > 0.75
        assert brightness["chosen_threshold"].n == 1

    def test_without_training_slices_the_brightness_baseline_is_left_out_with_a_note(self):
        evaluation = _evaluate([self._thorax("a", 0.6)])
        assert "baseline_brightness_in_lungs" not in evaluation.summary
        assert "no training split" in evaluation.notes[0]

    def test_the_threshold_is_never_chosen_on_evaluated_slices(self):
        both = [self._thorax("a", 0.6), self._thorax("b", 0.6)]
        evaluation = _evaluate(both, train_source=ArraySource(both))
        assert "baseline_brightness_in_lungs" not in evaluation.summary
        assert "LEAKAGE: the training split shares 2 names, 2 pictures" in evaluation.notes[0]
        assert evaluation.leakage == {"names": 2, "patients": 0, "pictures": 2}
        assert "2 slices" in evaluation.notes[1]
        assert "left out" in evaluation.notes[2]


class TestBadInput:
    def test_data_without_masks_and_labels(self):
        with pytest.raises(InputError, match="neither masks nor labels"):
            _evaluate([_example("a", 3)])

    def test_no_slice_at_all(self):
        with pytest.raises(InputError, match="neither masks nor labels"):
            _evaluate([])

    def test_nothing_the_model_could_be_compared_with(self):
        with pytest.raises(InputError, match="gives nothing"):
            _evaluate([_example("a", 3, 3)], model=Stub(segments=False))

    @pytest.mark.parametrize("model", [Stub(classifies=False), Stub(segments=False)])
    def test_a_nan_prediction_names_its_slice(self, model):
        spoilt = Example(np.full((16, 16), np.nan, np.float32), mask=MIXED[0].mask, label=1, name="spoilt")
        with pytest.raises(InputError, match="spoilt: the prediction is NaN"):
            _evaluate([MIXED[0], spoilt], model=model)

    def test_a_mask_of_another_size_names_its_slice(self):
        with pytest.raises(InputError, match=r"odd: the mask is \(8, 8\) and the slice \(16, 16\)"):
            _evaluate([Example(MIXED[0].image, mask=np.ones((8, 8), np.uint8), name="odd")])


class TestFiles:
    def _write(self, folder, examples=MIXED):
        evaluation = _evaluate(examples)
        return write_evaluation(evaluation, folder, checkpoint="runs/a", dataset="demo/clean", split="fold0")

    def test_metrics_json_says_what_was_measured(self, tmp_path):
        document = json.loads(self._write(tmp_path / "new" / "results").read_text())
        assert document["notice"].startswith("Research use only")
        assert (document["checkpoint"], document["preset"]) == ("runs/a", "stub")
        assert (document["dataset"], document["split"], document["train_split"]) == ("demo/clean", "fold0", None)
        assert document["counts"]["slices"] == 5
        assert document["thresholds"] == {"class": 0.5, "mask": 0.5, "patient": 0.5}
        for numbers in document["summary"].values():
            for entry in numbers.values():
                assert set(entry) == {"value", "interval", "n", "n_absent"}

    def test_a_number_that_is_not_defined_is_null(self, tmp_path):
        text = self._write(tmp_path, MIXED[2:3]).read_text()
        document = json.loads(text, parse_constant=pytest.fail)
        assert document["summary"]["segmentation"]["dice"] == {"value": None, "interval": None, "n": 0, "n_absent": 1}
        assert document["summary"]["classification"]["auc"]["value"] is None

    def test_cases_csv_has_a_line_a_slice(self, tmp_path):
        self._write(tmp_path)
        header, *rows = (line.split(",") for line in (tmp_path / "cases.csv").read_text().splitlines())
        table = [dict(zip(header, row, strict=True)) for row in rows]
        assert [row["name"] for row in table] == ["half", "exact", "false alarm", "no mask", "no label"]
        assert float(table[0]["dice"]) == pytest.approx(2 / 3)
        assert table[2]["dice"] == table[3]["dice"] == table[4]["label"] == ""
        assert table[2]["label"] == "0"
        assert float(table[3]["predicted_area"]) == 0.75

    def test_names_with_commas_and_quotes_stay_one_field(self, tmp_path):
        self._write(tmp_path, [_example('a,"b"', 4, 4)])
        assert (tmp_path / "cases.csv").read_text().splitlines()[1].startswith('"a,""b""",')

    def test_metrics_json_tells_what_the_training_split_shares(self, tmp_path):
        alone, leaking = (_evaluate(MIXED, train_source=source) for source in (None, ArraySource(MIXED[:2])))
        for name, evaluation, expected in (
            ("alone", alone, None),
            ("leaking", leaking, {"names": 2, "patients": 1, "pictures": 2}),
        ):
            written = write_evaluation(evaluation, tmp_path / name, checkpoint="a", dataset="b", split="c")
            assert json.loads(written.read_text())["leakage"] == expected

    def test_older_results_are_replaced_and_other_files_stay(self, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        (tmp_path / "metrics.json").write_text("old")
        self._write(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "cases.csv",
            "metrics.json",
            "notes.txt",
            "patients.csv",
        ]
        assert json.loads((tmp_path / "metrics.json").read_text())["schema_version"] == 2

    def test_the_table_shows_every_number(self):
        evaluation = _evaluate(MIXED)
        table = summary_table(evaluation)
        numbers = sum(len(group) for group in evaluation.summary.values())
        assert table.row_count == numbers + len(evaluation.summary)


def test_warnings_of_the_data_set_reach_the_notes():
    source = ArraySource(MIXED, {"warning": "test is inside train", "research_use_only": "yes, only"})
    assert evaluate(Stub(), {}, PRESET, source, batch_size=2).notes[-2:] == ["test is inside train", "yes, only"]


@pytest.mark.parametrize(("name", "group"), [("segmenter_tiny", "segmentation"), ("classifier_tiny", "classification")])
def test_real_networks_can_be_evaluated(name, group):
    preset = dataclasses.replace(get_preset(name), preprocessing=Preprocessing(size=(32, 32)))
    model = build(preset)
    shapes = jax.eval_shape(lambda key: model.init(key, jnp.zeros((1, 32, 32, 3)), train=False), jax.random.key(0))
    variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    evaluation = evaluate(model, variables, preset, ArraySource(MIXED), batch_size=3)
    assert group in evaluation.summary
    # All weights 0: every probability is exactly one half, which reaches the threshold.
    for case in evaluation.cases:
        assert case.values.get("infection_probability", 0.5) == 0.5
        assert case.values.get("predicted_area", 1.0) == 1.0
