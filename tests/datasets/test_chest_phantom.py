import numpy as np
import pytest
import tensorflow_datasets as tfds
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from jcs_datasets.chest_phantom import Builder, make_patient
from jcs_datasets.chest_phantom.location import describe_locations
from jcs_jax.data.preparation import prepare
from jcs_jax.data.sources import open_source

SIZE = 128


@pytest.fixture(scope="module")
def infected():
    return [make_patient((9, number), infected=True, slices=3, size=SIZE) for number in range(4)]


@pytest.fixture(scope="module")
def uninfected():
    return [make_patient((9, number), infected=False, slices=3, size=SIZE) for number in range(4, 8)]


def every(phantoms, field):
    return np.concatenate([getattr(phantom, field) for phantom in phantoms])


def test_shapes_types_and_spacing(infected):
    phantom = infected[0]
    assert phantom.hounsfield.shape == phantom.lungs.shape == phantom.lesions.shape == (3, SIZE, SIZE)
    assert (phantom.hounsfield.dtype, phantom.lungs.dtype, phantom.lesions.dtype) == (np.int16, np.uint8, np.uint8)
    assert phantom.spacing[1:] == (360 / SIZE, 360 / SIZE)
    assert phantom.spacing[0] == pytest.approx(0.68 * 250 / 3)  # slices from 0.2 to 0.88 of lungs 250 mm high
    assert np.diff(phantom.heights) * 250 == pytest.approx([phantom.spacing[0]] * 2)
    assert phantom.heights[0] > 0.2 and phantom.heights[-1] < 0.88


def test_equal_seeds_give_equal_patients_and_others_differ():
    first, again, other = (make_patient(seed, infected=True, slices=1, size=64) for seed in (3, 3, 4))
    assert (first.hounsfield == again.hounsfield).all()
    assert (first.lesions == again.lesions).all()
    assert (first.lungs == again.lungs).all()
    assert (first.hounsfield != other.hounsfield).any()


def test_only_the_infected_have_lesions_and_only_inside_the_lungs(infected, uninfected):
    assert all(phantom.lesions.any() for phantom in infected)
    assert not every(uninfected, "lesions").any()
    assert not (every(infected, "lesions") & ~every(infected, "lungs") & 1).any()


def test_hounsfield_values_are_those_of_a_chest(uninfected):
    hounsfield, lungs = every(uninfected, "hounsfield"), every(uninfected, "lungs") > 0
    assert (hounsfield[:, 0, 0] == -1024).all()  # outside the round field
    assert hounsfield.min() >= -1024
    assert -900 < np.median(hounsfield[lungs]) < -750
    middle = hounsfield[:, SIZE // 2 - 20 : SIZE // 2 - 5, SIZE // 2 : SIZE // 2 + 8]  # heart and great vessels
    assert -60 < np.median(middle) < 80
    assert hounsfield.max() > 400  # cortical bone


def test_lesions_are_ground_glass_or_denser(infected):
    inside = every(infected, "hounsfield")[every(infected, "lesions") > 0]
    assert -750 < np.median(inside) < -250
    assert np.percentile(inside, 99) < 250


def test_lungs_are_two_large_regions(uninfected):
    for plane in every(uninfected, "lungs"):
        regions, count = ndimage.label(plane)
        sizes = np.sort(np.bincount(regions.ravel())[1:])
        assert count >= 2
        assert sizes[-2:].sum() > 0.95 * plane.sum()
        assert 0.05 < plane.mean() < 0.35


def test_healthy_lungs_show_bright_vessels(uninfected):
    lungs = np.stack([ndimage.binary_erosion(plane, iterations=3) for plane in every(uninfected, "lungs")])
    assert 0.002 < (every(uninfected, "hounsfield")[lungs] > -400).mean() < 0.1


def test_mean_brightness_alone_tells_little(infected, uninfected):
    images = np.concatenate([every(infected, "hounsfield"), every(uninfected, "hounsfield")])
    labels = [1] * 12 + [0] * 12
    assert 0.2 < roc_auc_score(labels, np.clip(images, -1350, 150).mean(axis=(1, 2))) < 0.8


@pytest.mark.parametrize(("slices", "size"), [(0, 64), (1, 31)])
def test_a_phantom_without_slices_or_too_small_is_refused(slices, size):
    with pytest.raises(ValueError, match="at least 1 slice of 32 pixels"):
        make_patient(0, infected=True, slices=slices, size=size)


def two_lungs():
    """A slice of 60 x 100 pixels: lungs of 40 x 30 at rows 10-49, columns 10-39 and 60-89; their hull is 40 x 80."""
    lungs = np.zeros((60, 100), np.uint8)
    lungs[10:50, 10:40] = lungs[10:50, 60:90] = 1
    return lungs


def lesion(*boxes):
    mask = np.zeros((60, 100), np.uint8)
    for rows, columns in boxes:
        mask[slice(*rows), slice(*columns)] = 1
    return mask


# The hull is 20 pixels deep at most, so the outer third is 6 pixels wide.
@pytest.mark.parametrize(
    ("boxes", "height", "expected"),
    [
        ([], 0.1, ""),
        ([((20, 30), (10, 15))], 0.1, "right upper peripheral"),
        ([((20, 30), (85, 90))], 0.5, "left middle peripheral"),
        ([((25, 35), (62, 70))], 0.9, "left lower central"),  # beside the mediastinum, which is no border
        ([((10, 16), (25, 35))], 0.34, "right middle peripheral"),  # in front
        ([((10, 22), (25, 35))], 0.33, "right upper peripheral"),  # half of it
        ([((10, 23), (25, 35))], 0.33, "right upper central"),
        ([((20, 25), (10, 15)), ((30, 35), (10, 15))], 0.0, "right upper peripheral"),  # each place once
        ([((28, 32), (62, 70)), ((28, 32), (30, 38)), ((44, 50), (20, 30))], 1.0,
         "right lower peripheral; right lower central; left lower central"),
    ],
)  # fmt: skip
def test_lesions_are_located_by_side_height_and_depth_below_the_chest_wall(boxes, height, expected):
    assert describe_locations(lesion(*boxes), two_lungs(), height) == expected


def test_opacities_of_the_phantom_lie_on_both_sides_at_all_heights_and_depths():
    words = []
    for number in range(8):
        phantom = make_patient((9, number), infected=True, slices=3, size=SIZE)
        for parts in zip(phantom.lesions, phantom.lungs, phantom.heights, strict=True):
            words += describe_locations(*parts).replace(";", "").split()
    assert {"right", "left", "upper", "middle", "lower", "peripheral", "central"} == set(words)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    tfds.disable_progress_bar()
    builder = Builder(data_dir=tmp_path_factory.mktemp("data"), config="tiny", file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    return builder


def test_the_builder_keeps_patients_apart(tiny):
    patients = {split: {example["patient"] for example in tiny.as_data_source(split)} for split in tiny.info.splits}
    assert {split: len(found) for split, found in patients.items()} == {"train": 4, "validation": 2, "test": 2}
    assert len(set.union(*patients.values())) == 8


def test_the_builder_stores_hounsfield_units_and_truth_exactly(tiny):
    stored = {(example["patient"], example["slice_index"]): example for example in tiny.as_data_source("all")}
    for number in (0, 5):
        phantom = make_patient((0, number), infected=number % 2 == 0, slices=2, size=96)
        for index in range(2):
            example = stored[f"phantom-{number:03d}".encode(), index]
            assert example["image"].dtype == np.uint16
            assert (example["image"][..., 0].astype(int) - 1024 == phantom.hounsfield[index]).all()
            assert (example["mask"][..., 0] == phantom.lesions[index]).all()
            assert (example["lungs"][..., 0] == phantom.lungs[index]).all()


def test_the_label_says_whether_the_slice_shows_a_lesion(tiny):
    examples = list(tiny.as_data_source("all"))
    assert [example["label"] for example in examples] == [int(example["mask"].any()) for example in examples]
    assert {example["label"] for example in examples} == {0, 1}


def test_the_metadata_say_plainly_that_nobody_was_scanned(tiny):
    assert "synthetic phantom, not a patient" in tiny.info.metadata["warning"]
    assert (tiny.info.metadata["image_encoding"], tiny.info.metadata["hu_offset"]) == ("hu16", 1024)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("prepared")
    prepare(Builder, data_dir=data_dir, config="tiny")
    return {record.name: record for record in open_source(data_dir, "chest_phantom/tiny", "train+test").records()}


def test_every_record_tells_what_the_phantom_is(records):
    assert len(records) == 6 * 2
    for patient, number in {"phantom-000": 0, "phantom-003": 3, "phantom-006": 6}.items():
        phantom = make_patient((0, number), infected=number % 2 == 0, slices=2, size=96)
        for index in range(2):
            record, lesions = records[f"{patient}-slice-{index:02d}"], phantom.lesions[index]
            assert (record.patient, record.slice_index, record.origin) == (patient, index, "phantom")
            assert (record.height, record.width, record.label) == (96, 96, int(lesions.any()))
            assert record.spacing == phantom.spacing[1:] == (360 / 96, 360 / 96)
            assert record.lesion_count == ndimage.label(lesions, np.ones((3, 3)))[1]
            assert record.lesion_area == lesions.sum()
            assert record.lesion_location == describe_locations(lesions, phantom.lungs[index], phantom.heights[index])


def test_no_two_slices_are_the_same_picture(records):
    assert len({record.digest for record in records.values()}) == len(records)


def test_every_patient_has_several_slices_and_the_uninfected_have_no_lesion(records):
    for number in (0, 1, 2, 3, 6, 7):
        slices = [record for record in records.values() if record.patient == f"phantom-{number:03d}"]
        assert sorted(record.slice_index for record in slices) == [0, 1]
        if number % 2:
            told = {
                (record.label, record.lesion_count, record.lesion_area, record.lesion_location) for record in slices
            }
            assert told == {(0, 0, 0.0, "")}
        else:
            assert any(record.lesion_count > 0 and record.lesion_location for record in slices)
