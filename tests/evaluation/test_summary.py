"""Numbers of an evaluation: lesions, distances, patients, folds, and a stream that is measured whole."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import sklearn.metrics
from evaluated import PRESET, SIDE, Brightness, evaluated, noisy_slices

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.errors import InputError
from jcs_jax.evaluation.evaluate import Fold, evaluate, evaluate_folds
from jcs_jax.metrics import Measurement


def _boxes(name, lit, masked, **known) -> Example:
    """A slice that is bright in some boxes and masked in others; boxes are (top, bottom, left, right)."""
    image, mask = np.zeros((SIDE, SIDE), np.float32), np.zeros((SIDE, SIDE), np.uint8)
    for plane, boxes in ((image, lit), (mask, masked)):
        for top, bottom, left, right in boxes:
            plane[top:bottom, left:right] = 1
    return Example(image, mask=mask, name=name, **known)


def test_lesions_are_counted_one_by_one():
    found, missed, invented = (0, 4, 0, 4), (8, 9, 8, 10), (12, 14, 0, 2)
    summary = evaluated([_boxes("a", [found, invented], [found, missed])]).summary
    lesions = summary["lesions"]
    assert lesions["detected_all"] == Measurement(0.5, 2)
    assert lesions["detected_medium"] == Measurement(0.0, 1)  # 2 of 256 pixels
    assert lesions["detected_large"] == Measurement(1.0, 1)
    assert math.isnan(lesions["detected_small"].value)
    assert lesions["false_lesions_per_slice"] == Measurement(1.0, 1)


def test_distances_are_in_millimetres_where_the_spacing_is_known():
    drawn, shown = (4, 12, 4, 8), (4, 12, 4, 9)  # one column too many
    told = _boxes("mm", [shown], [drawn], spacing=(1.0, 2.5))
    segmentation = evaluated([told, _boxes("pixels", [shown], [drawn])]).summary["segmentation"]
    assert segmentation["hausdorff_95_mm"] == Measurement(2.5, 1, 0)
    assert segmentation["hausdorff_95_pixels"] == Measurement(1.0, 2, 0)
    assert segmentation["surface_dice_2mm"].value < 1
    bare = evaluated([_boxes("pixels", [shown], [drawn])]).summary["segmentation"]
    assert "hausdorff_95_mm" not in bare


def test_an_empty_prediction_is_a_picture_away():
    segmentation = evaluated([_boxes("none", [], [(0, 4, 0, 4)])]).summary["segmentation"]
    assert segmentation["hausdorff_95_pixels"].value == pytest.approx(math.hypot(SIDE, SIDE))


def test_classification_is_that_of_scikit_learn():
    evaluation = evaluated(noisy_slices(60))
    labels = np.array([case.label for case in evaluation.cases])
    scores = np.array([case.values["infection_probability"] for case in evaluation.cases])
    group = evaluation.summary["classification"]
    assert group["auc"].value == pytest.approx(sklearn.metrics.roc_auc_score(labels, scores), abs=1e-12)
    assert group["average_precision"].value == pytest.approx(
        sklearn.metrics.average_precision_score(labels, scores), abs=1e-12
    )
    assert group["brier"].value == pytest.approx(sklearn.metrics.brier_score_loss(labels, scores), abs=1e-12)
    for name, measured in group.items():
        assert measured.low <= measured.value <= measured.high or name == "ece"


def test_every_number_has_an_interval_around_it():
    summary = evaluated(noisy_slices(60, patients=20)).summary
    for group, numbers in summary.items():
        for name, measured in numbers.items():
            if name not in ("ece", "chosen_threshold") and measured.n > 2:
                assert measured.low <= measured.value <= measured.high, (group, name)


class TestPatients:
    def test_the_most_suspicious_slices_decide(self):
        evaluation = evaluated(noisy_slices(60, patients=12))
        assert len(evaluation.patients) == 12
        for patient in evaluation.patients:
            own = [case.values["infection_log_odds"] for case in evaluation.cases if case.patient == patient.patient]
            assert len(own) == patient.slices == 5
            assert patient.probability == pytest.approx(1 / (1 + math.exp(-max(own))))  # a fifth of five slices

    def test_a_patient_is_infected_if_a_slice_is(self):
        slices = noisy_slices(8)
        examples = [
            dataclasses.replace(one, patient="p", label=label)
            for one, label in zip(slices, [0, 1, -1, 0] * 2, strict=True)
        ]
        (patient,) = evaluated(examples).patients
        assert patient.label == 1

    def test_without_identifiers_there_is_no_patient(self):
        evaluation = evaluated(noisy_slices(8))
        assert not evaluation.patients
        assert "patients" not in evaluation.summary


def test_sources_are_told_apart():
    class Told(ArraySource):
        def records(self):
            for number, record in enumerate(super().records()):
                yield dataclasses.replace(record, origin="here" if number < 20 else "there")

    examples = noisy_slices(50)
    evaluation = evaluate(Brightness(), {}, PRESET, Told(examples), batch_size=8)
    assert set(evaluation.subgroups) == {"here", "there"}
    alone = evaluated(examples[:20])
    assert evaluation.subgroups["here"]["segmentation"] == alone.summary["segmentation"]


def test_a_missing_class_is_told():
    notes = evaluated([example for example in noisy_slices(12) if example.label]).notes
    assert any("no slice is labelled uninfected" in note for note in notes)


class TestFolds:
    def test_slices_of_all_folds_are_measured_together(self):
        examples = noisy_slices(30)
        parts = [ArraySource(examples[:13]), ArraySource(examples[13:])]
        pooled = evaluate_folds([Fold(Brightness(), {}, PRESET, part) for part in parts], batch_size=4)
        whole = evaluated(examples)
        assert pooled.summary == whole.summary
        assert [case.name for case in pooled.cases] == [example.name for example in examples]

    def test_a_slice_in_two_folds_is_refused(self):
        source = ArraySource(noisy_slices(4))
        with pytest.raises(InputError, match="slice 0: is in two of the evaluated splits"):
            evaluate_folds([Fold(Brightness(), {}, PRESET, source)] * 2)

    def test_models_with_other_thresholds_are_refused(self):
        folds = [
            Fold(Brightness(), {}, preset, ArraySource(noisy_slices(4, seed=seed)))
            for seed, preset in enumerate((PRESET, dataclasses.replace(PRESET, mask_threshold=0.3)))
        ]
        with pytest.raises(InputError, match="differ in preset or thresholds"):
            evaluate_folds(folds)


@pytest.mark.parametrize("count", [999, 1000, 1001])
def test_a_stream_is_measured_whole_as_slice_by_slice(count):
    examples = noisy_slices(count)
    for example in examples:
        assert example.image is not None
    whole = evaluated(examples, batch_size=8)
    assert [case.name for case in whole.cases] == [example.name for example in examples]
    for number in [*range(0, count, 97), count - 2, count - 1]:
        (alone,) = evaluated([examples[number]], batch_size=1).cases
        for name, value in alone.values.items():
            assert whole.cases[number].values[name] == pytest.approx(value, abs=1e-6, nan_ok=True), name
    for name in ("dice", "iou", "mae", "hausdorff_95_pixels"):
        values = [case.values[name] for case in whole.cases if name in case.values]
        expected = np.nanmean(values)
        assert whole.summary["segmentation"][name].value == pytest.approx(expected, abs=1e-6)
