"""Each mistake that people make with their data is found, and healthy data are called healthy."""

import dataclasses

import numpy as np
import pytest

from jcs_jax.doctor.slices import choose_slices


def replaced(examples, **changes):
    """The examples with an attribute replaced by what a function makes of it."""
    return [
        dataclasses.replace(one, **{name: change(getattr(one, name)) for name, change in changes.items()})
        for one in examples
    ]


def told(findings, check):
    """The one finding of a check."""
    (finding,) = [finding for finding in findings if finding.check == check]
    return finding


def test_healthy_slices_in_hounsfield_units_have_no_fault(faults, healthy):
    assert faults(healthy) == {}


def test_healthy_grey_slices_have_no_fault(faults, grey):
    assert faults(grey) == {}


def test_healthy_data_are_described_in_numbers(checked, healthy):
    findings = checked(healthy)
    lesions = [one.mask.mean() for one in healthy if one.label]
    masks = told(findings, "masks").numbers
    assert (masks["slices"], masks["masks"], masks["empty_masks"]) == (32, 32, 32 - len(lesions))
    assert masks["foreground_median"] == pytest.approx(np.median(lesions))
    assert told(findings, "labels").numbers["by_label"] == {"0": 32 - len(lesions), "1": len(lesions)}
    assert told(findings, "labels and masks").found == "label and mask agree in 32 of 32 slices"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (np.transpose, "transposed"),
        (np.fliplr, "mirrored left to right"),
        (np.flipud, "turned upside down"),
        (np.rot90, "turned right by 90 degrees"),
        (lambda mask: np.rot90(mask, 2), "turned by 180 degrees"),
    ],
)
def test_masks_in_another_orientation_are_found_with_what_undoes_it(checked, healthy, change, words):
    finding = told(checked(replaced(healthy, mask=change)), "position of masks")
    assert finding.severity != "ok"
    assert f"better when {words}:" in finding.found


def test_shifted_masks_are_found_with_the_way_back(checked, healthy):
    shifted = replaced(healthy, mask=lambda mask: np.roll(mask, (9, -12), (0, 1)))
    finding = told(checked(shifted), "position of masks")
    assert finding.severity == "warning"
    assert finding.numbers["shift"]["down"] == pytest.approx(-9 / 96, abs=0.02)
    assert finding.numbers["shift"]["right"] == pytest.approx(12 / 96, abs=0.02)
    assert "to the right" in finding.found and "to the top" in finding.found


def test_masks_of_other_slices_are_found(checked, healthy):
    infected = [one for one in healthy if one.label]
    masks = [one.mask for one in infected]
    paired = [dataclasses.replace(one, mask=mask) for one, mask in zip(infected, masks[5:] + masks[:5], strict=True)]
    finding = told(checked(paired), "position of masks")
    assert finding.severity == "warning"
    assert "no better than others" in finding.found


def test_three_lesions_are_too_few_to_judge_their_position(checked, healthy):
    few = [one for one in healthy if one.label][:3]
    assert "too few" in told(checked(few), "position of masks").found


def test_slices_cropped_to_the_lungs_are_judged_by_edges(checked, grey):
    cropped = replaced(grey, image=lambda image: image[24:72, 20:76], mask=lambda mask: mask[24:72, 20:76])
    finding = told(checked(cropped), "position of masks")
    assert finding.severity == "ok"
    assert finding.numbers["measured_by"] == "edges"


def test_swapped_labels_are_an_error(checked, healthy):
    findings = checked(replaced(healthy, label=lambda label: 1 - label))
    first, second = [finding for finding in findings if finding.check == "labels and masks"]
    assert (first.severity, second.severity) == ("error", "warning")
    assert "look swapped" in first.cure


def test_one_wrong_label_is_a_warning_that_names_the_slice(checked, healthy):
    position = next(number for number, one in enumerate(healthy) if one.label)
    healthy[position] = dataclasses.replace(healthy[position], label=0)
    finding = told(checked(healthy), "labels and masks")
    assert finding.severity == "warning"
    assert f"({healthy[position].name})" in finding.found


@pytest.mark.parametrize(("label", "words"), [(lambda label: 255 * label, "0, 255"), (lambda label: label + 1, "1, 2")])
def test_labels_other_than_0_and_1_are_an_error(checked, healthy, label, words):
    finding = told(checked(replaced(healthy, label=label)), "labels")
    assert finding.severity == "error"
    assert f"labels are {words}" in finding.found


def test_a_class_head_without_labels_is_an_error(checked, healthy):
    assert told(checked(replaced(healthy, label=lambda label: -1)), "labels").severity == "error"


@pytest.mark.parametrize(("network", "severity"), [("classifier_tiny", "error"), ("joint_tiny", "warning")])
def test_one_class_only_is_an_error_for_a_classifier(checked, config, healthy, network, severity):
    config.model.name = network
    assert told(checked(replaced(healthy, label=lambda label: 1)), "labels").severity == severity


def test_labels_do_not_matter_to_a_segmenter(checked, config, healthy):
    config.model.name = "segmenter_tiny"
    assert told(checked(replaced(healthy, label=lambda label: -1)), "labels").severity == "ok"


def test_a_rare_class_is_a_warning(checked, healthy):
    uninfected = [one for one in healthy if not one.label]
    infected = next(one for one in healthy if one.label)
    many = [dataclasses.replace(uninfected[0], name=f"n{number}") for number in range(40)]
    assert told(checked([*many, infected]), "labels").severity == "warning"


def test_empty_masks_everywhere_are_an_error(checked, healthy):
    finding = told(checked(replaced(healthy, mask=np.zeros_like)), "masks")
    assert finding.severity == "error"
    assert "nothing is opacified anywhere" in finding.found


@pytest.mark.parametrize(("network", "severity"), [("segmenter_tiny", "error"), ("classifier_tiny", "ok")])
def test_no_masks_at_all_are_an_error_for_a_network_that_segments(checked, config, healthy, network, severity):
    config.model.name = network
    assert told(checked(replaced(healthy, mask=lambda mask: None)), "masks").severity == severity


def test_the_loss_of_the_reference_needs_a_mask_for_every_slice(checked, config, healthy):
    config.loss.segmentation = "reference"
    healthy[0] = dataclasses.replace(healthy[0], mask=None)
    severities = [finding.severity for finding in checked(healthy) if finding.check == "masks"]
    assert severities == ["error", "ok"]


@pytest.mark.parametrize(
    ("change", "words"),
    [(lambda mask: mask * 255, "divide the masks by 255"), (lambda mask: mask * 3, "merge classes")],
)
def test_masks_with_other_values_are_an_error(checked, healthy, change, words):
    wrong = [finding for finding in checked(replaced(healthy, mask=change)) if finding.check == "masks"]
    assert wrong[0].severity == "error"
    assert words in wrong[0].cure


def test_masks_of_another_size_are_an_error_with_both_sizes(checked, healthy):
    findings = checked(replaced(healthy, mask=lambda mask: mask[::2, ::2]))
    wrong = next(finding for finding in findings if finding.check == "masks")
    assert wrong.severity == "error"
    assert "48 x 48 on 96 x 96" in wrong.found


def test_inverted_masks_are_a_warning(checked, grey):
    findings = checked(replaced(grey, mask=lambda mask: 1 - mask))
    assert told(findings, "masks").severity == "warning"
    assert "more than half" in told(findings, "masks").found


def test_lesions_that_vanish_at_the_networks_size_are_a_warning(checked, config, healthy):
    config.model.input_size = 16
    point = np.zeros((96, 96), np.uint8)
    point[40, 40] = 1
    findings = [one for one in checked(replaced(healthy, mask=lambda mask: point)) if one.check == "masks"]
    assert [finding.severity for finding in findings] == ["ok", "warning"]
    assert "32 of 32 lesions vanish" in findings[1].found


@pytest.mark.parametrize("offset", [1024, -1024])
def test_an_offset_of_the_hounsfield_units_is_an_error(checked, healthy, offset):
    finding = told(checked(replaced(healthy, image=lambda image: image + offset)), "Hounsfield units")
    assert finding.severity == "error"
    assert f"HU {offset:+d}" in finding.found
    assert finding.cure.startswith("subtract the" if offset > 0 else "add the")


def test_hounsfield_units_given_as_grey_values_are_an_error(checked, healthy):
    finding = told(checked(replaced(healthy, encoding=lambda encoding: "intensity")), "pictures")
    assert finding.severity == "error"
    assert "look like HU" in finding.cure


def test_grey_values_given_as_hounsfield_units_are_an_error(checked, grey):
    findings = checked(replaced(grey, encoding=lambda encoding: "hounsfield"))
    errors = [finding for finding in findings if finding.check == "pictures" and finding.severity == "error"]
    assert "look like grey values" in errors[0].cure


def test_grey_values_up_to_255_are_an_error(checked, grey):
    finding = told(checked(replaced(grey, image=lambda image: image * 255)), "pictures")
    assert (finding.severity, finding.cure) == ("error", "divide them by 255")


def test_black_white_and_even_slices_are_counted_apart(checked, grey):
    for position, value in ((0, 0.0), (1, 1.0), (2, 0.5)):
        grey[position] = dataclasses.replace(grey[position], image=np.full((96, 96), value, np.float32))
    found = [finding.found for finding in checked(grey) if finding.check == "pictures"]
    assert [text.split(" as the network")[0] for text in found] == [
        "1 of 32 slices are black",
        "1 of 32 slices are white",
        "1 of 32 slices are one even grey",
    ]


def test_slices_that_are_no_numbers_are_an_error(checked, grey):
    grey[0] = dataclasses.replace(grey[0], image=np.where(np.eye(96) > 0, np.nan, grey[0].image))
    finding = told(checked(grey), "pictures")
    assert finding.severity == "error"
    assert "p0-0" in finding.found


def test_a_window_that_hides_the_lungs_is_a_warning(checked, grey):
    mediastinal = replaced(grey, image=lambda image: np.clip((image - 0.75) * 4, 0, 1))
    finding = told(checked(mediastinal), "pictures")
    assert finding.severity == "warning"
    assert "the lungs are black" in finding.found


def test_slices_without_lungs_are_a_warning(checked, grey):
    finding = told(checked(replaced(grey, image=lambda image: np.maximum(image, 0.85 + 0.1 * np.eye(96)))), "pictures")
    assert finding.severity == "warning"
    assert "lungs were found in 0 of 32" in finding.found


def features(examples, change):
    """The examples with stored features in place of pictures."""
    rng = np.random.default_rng(0)
    stored = np.maximum(rng.normal(20, 40, (24, 24, 8)), 0)
    arrays = np.clip(np.rint(change(stored)), 0, 255).astype(np.uint8)
    return [dataclasses.replace(one, image=None, mask=None, vgg_features=arrays) for one in examples]


def test_stored_features_on_the_networks_scale_have_no_fault(faults, config, healthy):
    config.model.name = "classifier_tiny"
    assert faults(features(healthy, lambda values: values)) == {}


@pytest.mark.parametrize("factor", [1 / 20, 20])
def test_stored_features_on_another_scale_are_a_warning(checked, healthy, factor):
    finding = told(checked(features(healthy, lambda values: values * factor)), "stored features")
    assert finding.severity == "warning"


def test_another_feature_scale_in_the_data_set_is_an_error(checked, healthy):
    findings = checked(features(healthy, lambda values: values), feature_scale=10)
    assert [one.severity for one in findings if one.check == "stored features"] == ["error", "ok"]


def test_pictures_beside_stored_features_are_an_error(checked, healthy):
    findings = checked([*features(healthy[:4], lambda values: values), *healthy[4:]])
    assert [one.severity for one in findings if one.check == "stored features"] == ["error", "ok"]


def test_what_a_network_has_to_beat_is_computed_as_in_the_evaluation(checked, grey):
    squares = np.zeros((96, 96), np.uint8)
    squares[10:20, 10:20] = 1
    numbers = [one.numbers for one in checked(replaced(grey, mask=lambda mask: squares)) if one.check == "to beat"]
    assert numbers[0]["slices"] == 32
    infected = sum(one.label for one in grey)
    assert numbers[1]["majority_accuracy"] == pytest.approx(max(infected, 32 - infected) / 32)


def test_all_slices_of_a_small_set_are_looked_at(healthy, checked):
    assert told(checked(healthy), "masks").numbers["slices"] == 32


def test_half_of_a_large_sample_are_slices_with_lesions_where_the_index_knows_them(healthy):
    class Record:
        def __init__(self, area):
            self.lesion_area = area

    records = [Record(5.0 if number % 100 == 0 else 0.0) for number in range(5000)]
    chosen = choose_slices(records, most=40)
    assert len(chosen) == len(set(chosen)) == 40
    assert sum(records[position].lesion_area > 0 for position in chosen) >= 20
    assert chosen == sorted(choose_slices(records, most=40))
