"""From a volume to a diagnosis: the same answer however the file lies, and why it sometimes can't be told."""

import dataclasses

import nibabel
import numpy as np
import pytest
import SimpleITK
from chest_study import (
    ORIENTATIONS,
    VARIABLES,
    Chest,
    ChestNetwork,
    chest,
    chest_preset,
    kernel,
    oriented,
    write_chest_dicom,
    write_chest_nifti,
)

from jcs_jax import read_study
from jcs_jax.diagnosis.decision import DEFAULT_RULE, FAMILIARITY_UNKNOWN
from jcs_jax.diagnosis.predictor import Predictor
from jcs_jax.diagnosis.result import ModelCard
from jcs_jax.diagnosis.study_predictor import StudyPredictor, source_grid
from jcs_jax.errors import InputError
from jcs_jax.models.operating_point import FamiliarFeatures, PatientRule
from jcs_jax.report.nifti import write_nifti

CHEST, HEALTHY = chest(), chest(lesions=0)


def _predictor(*, variables: dict = VARIABLES, flip: bool = False, **options) -> StudyPredictor:
    return StudyPredictor(Predictor.of(ChestNetwork(), variables, chest_preset(**options), flip=flip))


@pytest.fixture(scope="module")
def predictor() -> StudyPredictor:
    return _predictor()


@pytest.fixture(scope="module")
def expected(tmp_path_factory, predictor) -> dict:
    """The diagnosis of the chest as it is."""
    path = write_chest_nifti(tmp_path_factory.mktemp("chest") / "chest.nii", CHEST)
    return predictor.diagnose(read_study(path), "chest")[0].to_json()


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return read_study(write_chest_nifti(tmp_path_factory.mktemp("healthy") / "healthy.nii", HEALTHY))


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=str)
def test_masks_lie_on_the_voxels_of_the_source_however_these_lie(orientation, tmp_path, predictor, expected):
    source = write_chest_nifti(tmp_path / "source.nii", CHEST, orientation)
    volume = read_study(source)
    diagnosis, maps = predictor.diagnose(volume, "chest")
    grid = source_grid(volume, headers=True)
    write_nifti(tmp_path / "mask.nii.gz", grid.restore(maps.mask), grid.affine)
    planted, _ = oriented(CHEST._replace(hounsfield=CHEST.mask), orientation)
    given, mask = nibabel.load(source), nibabel.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), planted)
    np.testing.assert_array_equal(mask.affine, given.affine)
    itk_given, itk_mask = (SimpleITK.ReadImage(str(tmp_path / name)) for name in ("source.nii", "mask.nii.gz"))
    for part in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(itk_mask, part)(), getattr(itk_given, part)(), atol=1e-5)
    found = diagnosis.to_json()
    assert found["lesions"] == expected["lesions"]
    assert found["decision"] == expected["decision"]
    assert found["slices"] == expected["slices"]


def test_the_numbers_are_those_of_the_planted_voxels(expected):
    assert expected["lesions"]["count"] == 4
    voxel = 2.0 * 2.0 * 5.0
    assert expected["lesions"]["volume_ml"] == pytest.approx(CHEST.mask.sum() * voxel / 1000, rel=1e-6)
    areas = [one["lesion_area_mm2"] or 0 for one in expected["slices"]]
    np.testing.assert_allclose(areas, CHEST.mask.sum(axis=(1, 2)) * 4.0)
    assert [one["height_mm"] for one in expected["slices"]] == [5.0 * index for index in range(len(areas))]
    cells = CHEST.mask.reshape(len(areas), -1).mean(axis=1, dtype=np.float64)  # pooled cells have one size
    log_odds = 2e4 * cells - 2
    np.testing.assert_allclose(
        [one["class_probability"] for one in expected["slices"]], 1 / (1 + np.exp(-log_odds)), atol=2e-6
    )


def test_defaults_are_told_and_chosen_rules_are_not(predictor, healthy):
    told = predictor.diagnose(healthy, "healthy")[0].case_notes
    assert {DEFAULT_RULE, FAMILIARITY_UNKNOWN} <= set(told)
    features = FamiliarFeatures((0.0, 1.0), (1.0, 1.0), 2.0)
    chosen = _predictor(patient=PatientRule(chosen_on="a validation split"), familiar=features)
    diagnosis, _ = chosen.diagnose(healthy, "healthy", notes=("put together by hand",))
    assert not {DEFAULT_RULE, FAMILIARITY_UNKNOWN} & set(diagnosis.case_notes)
    assert diagnosis.case_notes[0] == "put together by hand"
    assert diagnosis.decision.chosen_on == "a validation split"
    assert diagnosis.decision.answer == "not infected"


def test_a_probability_near_the_threshold_can_not_be_told(healthy):
    decision = _predictor(variables=kernel(0.1)).diagnose(healthy, "healthy")[0].decision
    assert decision.answer == "can't tell"
    assert decision.probability == pytest.approx(1 / (1 + np.exp(-0.1)), abs=1e-6)
    assert decision.reasons == ("the probability of 0.52 lies within 0.05 of the threshold 0.50",)


def test_a_study_unlike_the_known_ones_can_not_be_told(healthy):
    unlike = FamiliarFeatures((0.0, 9.0), (1.0, 1.0), 2.0)  # the second feature is always 1: (8 ** 2 / 2) ** 0.5
    diagnosis, _ = _predictor(familiar=unlike).diagnose(healthy, "healthy")
    assert diagnosis.decision.answer == "can't tell"
    (reason,) = diagnosis.decision.reasons
    assert reason == "the study is unlike the data that the network knows (distance 5.7, limit 2.0)"
    assert reason in diagnosis.notes


@pytest.mark.parametrize(
    ("count", "reason"), [(1, "only 1 slices with lung over 1 mm"), (7, "only 7 slices with lung over 35")]
)
def test_too_little_lung_can_not_be_told(count, reason, tmp_path, predictor):
    part = slice(9, 9 + count)
    one = Chest(CHEST.hounsfield[part], CHEST.mask[part], CHEST.affine)
    source = write_chest_dicom(tmp_path, one) if count == 1 else write_chest_nifti(tmp_path / "part.nii", one)
    decision = predictor.diagnose(read_study(source), "part")[0].decision
    assert decision.answer == "can't tell"
    assert decision.reasons[0].startswith(reason)


def test_slices_are_counted_one_by_one_and_stages_timed(predictor, healthy):
    seen = []

    def track(slices):
        for index in slices:
            seen.append(index)
            yield index

    predictor.diagnose(healthy, "healthy", track=track)
    assert seen == list(range(len(healthy.hounsfield)))
    assert list(predictor.seconds) == ["lungs", "networks", "lesions"]


def test_a_network_that_crops_its_input_judges_the_centre_only(tmp_path):
    preset = chest_preset()
    crop = dataclasses.replace(preset.preprocessing, geometry="centre_crop", size=(48, 48), shorter_side=64)
    network = Predictor.of(ChestNetwork(), VARIABLES, dataclasses.replace(preset, preprocessing=crop))
    volume = read_study(write_chest_nifti(tmp_path / "chest.nii", CHEST))
    _, maps = StudyPredictor(network).diagnose(volume, "chest")
    inside = np.zeros_like(CHEST.mask)
    inside[:, 8:56, 20:68] = True
    np.testing.assert_array_equal(maps.mask, CHEST.mask & inside)
    assert maps.activation.shape == (24, 8, 11)


def test_a_screening_network_needs_a_class_head(predictor):
    preset = chest_preset("segmenter")
    card = ModelCard.of("blind", preset.to_json())
    blind = Predictor.of(ChestNetwork(classifies=False), {"params": {}}, preset, card=card)
    with pytest.raises(InputError, match="blind: has no class head"):
        StudyPredictor(blind, blind)


def test_an_answer_that_is_not_finite_is_refused(healthy):
    with pytest.raises(InputError, match="not finite"):
        _predictor(variables=kernel(np.nan)).diagnose(healthy, "healthy")
