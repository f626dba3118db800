"""Lesions measured by hand, by SimpleITK and in fifty phantoms."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from ct_files import write_nifti
from phantom_study import PhantomStudy, phantom_study

from jcs_jax.diagnosis.lesion_involvement import lobe_score
from jcs_jax.diagnosis.lesions import measure_lesions
from jcs_jax.diagnosis.result.lesions import Lesion, LesionReport
from jcs_jax.study.lungs import Lungs, find_lungs
from jcs_jax.study.nifti import read_nifti
from jcs_jax.study.volume import LPS_FROM_RAS, Orientation, Volume

SHAPE = (30, 40, 60)


def _volume(*, spacing=(2.0, 1.0, 1.0), heights=None, lean=0.0, hounsfield=None) -> Volume:
    """Slices, rows and columns of so many mm, the stack leaning so many mm backwards a slice; HU of lung."""
    step, row, column = spacing
    affine = np.array([[0, 0, column, -20], [lean, row, 0, 10], [step, 0, 0, -300], [0, 0, 0, 1]], float)
    heights = np.arange(SHAPE[0]) * step if heights is None else np.array(heights, float)
    values = np.full((len(heights), *SHAPE[1:]), -850, np.int16) if hounsfield is None else hounsfield
    return Volume(values, affine, heights, Orientation.nearest(affine))


def _lungs(slices: int = SHAPE[0]) -> Lungs:
    """Two boxes of 32 x 20 pixels on slices 3 to 26."""
    labels = np.zeros((slices, *SHAPE[1:]), np.uint8)
    labels[3:27, 4:36, 5:25] = 1
    labels[3:27, 4:36, 35:55] = 2
    return Lungs(labels)


def _box(*box: slice, slices: int = SHAPE[0]) -> np.ndarray:
    mask = np.zeros((slices, *SHAPE[1:]), bool)
    mask[box] = True
    return mask


def _only(mask: np.ndarray, volume: Volume | None = None) -> Lesion:
    report, labels = measure_lesions(mask, volume or _volume(), _lungs(len(mask)))
    assert len(report.lesions) == 1
    np.testing.assert_array_equal(labels, mask)
    assert labels.dtype == np.uint16
    return report.lesions[0]


def test_an_empty_mask_has_no_lesions_and_a_score_of_0():
    report, labels = measure_lesions(np.zeros(SHAPE, bool), _volume(), _lungs(), lambda index: pytest.fail("asked"))
    assert report.lesions == ()
    assert report.severity_score == 0
    assert report.involved_share == 0
    assert [lung.volume_ml for lung in report.lungs] == pytest.approx([24 * 32 * 20 * 2 / 1000] * 2)
    assert not labels.any()


def test_one_voxel_has_its_own_volume_and_longest_edge():
    lesion = _only(_box(10, 20, 15), _volume(spacing=(5.0, 1.0, 1.0)))
    assert lesion.volume_ml == pytest.approx(0.005)
    assert lesion.largest_diameter_mm == pytest.approx(5)
    assert lesion.areas_mm2 == pytest.approx((1,))
    assert (lesion.first_slice, lesion.last_slice) == (10, 10)


def test_a_box_has_the_volume_areas_and_diameter_that_follow_by_hand():
    lesion = _only(_box(slice(5, 9), slice(10, 16), slice(8, 20)), _volume(spacing=(2.0, 0.5, 1.0)))
    assert lesion.volume_ml == pytest.approx(4 * 6 * 12 * 2 * 0.5 / 1000)
    assert lesion.areas_mm2 == pytest.approx((6 * 12 * 0.5,) * 4)
    assert (lesion.first_slice, lesion.last_slice, lesion.largest_slice) == (5, 8, 5)
    way = np.array([3 * 2, 5 * 0.5, 11 * 1.0])  # between the centres of opposite corners
    length = np.linalg.norm(way)
    width = 1 / np.linalg.norm(way / length / [2, 0.5, 1])
    assert lesion.largest_diameter_mm == pytest.approx(length + width)


@pytest.mark.parametrize(
    ("box", "length"),
    [
        ((10, 12, slice(8, 18)), 10),
        ((10, slice(8, 18), 12), 10),
        ((slice(6, 12), 12, 12), 12),
        ((10, slice(8, 11), slice(8, 12)), np.hypot(2, 3) + 1),
    ],
    ids=["columns", "rows", "slices", "plane"],
)
def test_lines_and_planes_have_a_diameter(box, length):
    assert _only(_box(*box)).largest_diameter_mm == pytest.approx(length)


@pytest.mark.parametrize("spacing", [(0.7, 0.7, 0.7), (1.0, 0.8, 0.8), (2.5, 0.6, 0.6)])
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_a_ball_of_10_mm_measures_10_mm_within_a_voxel(spacing, shift):
    grid = np.indices(SHAPE).astype(float) * np.reshape(spacing, (3, 1, 1, 1))
    centre = np.array(spacing) * (15, 20, 15) + shift
    ball = ((grid - centre.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) <= 25
    assert _only(ball, _volume(spacing=spacing)).largest_diameter_mm == pytest.approx(10, abs=max(spacing))


def test_the_diameter_is_that_of_the_farthest_pair_of_all():
    rng = np.random.default_rng(0)
    mask = np.zeros(SHAPE, bool)
    place = np.array([15, 20, 15])
    for _ in range(300):
        place = np.clip(place + rng.integers(-1, 2, 3), 4, 25)
        mask[tuple(place)] = True
    spacing = np.array([1.7, 0.6, 0.9])
    points = np.argwhere(mask) * spacing
    ways = points[:, None] - points[None]
    lengths = np.linalg.norm(ways, axis=2)
    pairs = ways[lengths > lengths.max() - 1e-9] / lengths.max()
    widths = 1 / np.linalg.norm(pairs / spacing, axis=1)
    found = _only(mask, _volume(spacing=tuple(spacing))).largest_diameter_mm
    assert found == pytest.approx(lengths.max() + widths.max())


def test_a_leaning_stack_is_measured_along_its_lean():
    upright, leaning = _volume(), _volume(lean=1.5)
    mask = _box(slice(6, 16), 12, 12)
    assert _only(mask, upright).largest_diameter_mm == pytest.approx(20)
    assert _only(mask, leaning).largest_diameter_mm == pytest.approx(10 * np.hypot(2, 1.5))
    assert _only(mask, leaning).volume_ml == pytest.approx(_only(mask, upright).volume_ml)


def test_the_place_does_not_depend_on_the_lean():
    labels = _lungs().labels
    for index in range(SHAPE[0]):  # the same lungs, sheared as the tilted gantry sees them
        labels[index] = np.roll(labels[index], -index // 5, axis=0)
    mask = _box(slice(13, 17), slice(15, 18), slice(13, 17))
    for lean, lungs in ((0.0, _lungs()), (0.2, Lungs(labels))):
        lesion = measure_lesions(mask, _volume(lean=lean), lungs)[0].lesions[0]
        assert (lesion.side, lesion.zone, lesion.depth) == ("right", "middle", "central")


def test_uneven_slices_count_with_their_own_thickness_and_a_gap_does_not_part():
    heights = [*range(0, 20, 2), *range(30, 70, 2)]
    mask = _box(slice(8, 12), slice(10, 14), slice(10, 14))
    lesion = _only(mask, _volume(heights=heights))
    assert lesion.volume_ml == pytest.approx(4 * 16 * 2 / 1000)  # what is missing in the gap is not made up
    assert lesion.largest_diameter_mm > 16  # but the gap is as long as it is


def test_voxels_that_touch_by_a_corner_are_one_lesion():
    mask = _box(10, 10, slice(10, 14))
    mask[11, 11, 14] = True
    assert _only(mask).last_slice == 11
    mask = _box(10, 10, slice(10, 14))
    mask[12, 10, 10:13] = True
    assert len(measure_lesions(mask, _volume(), _lungs())[0].lesions) == 2


def test_lesions_are_numbered_by_volume_and_equals_by_height():
    mask = _box(slice(20, 22), slice(10, 12), slice(10, 12))
    mask[5:7, 10:12, 40:42] = mask[10:14, 10:14, 10:14] = True
    report, labels = measure_lesions(mask, _volume(), _lungs())
    assert [lesion.number for lesion in report.lesions] == [1, 2, 3]
    assert [lesion.first_slice for lesion in report.lesions] == [10, 5, 20]
    assert (labels[12, 12, 12], labels[5, 10, 40], labels[20, 10, 10]) == (1, 2, 3)


def test_specks_are_left_out_and_counted():
    mask = _box(slice(10, 14), slice(10, 14), slice(10, 14))
    mask[5, 5, 5] = mask[20, 20, 20] = True
    report, labels = measure_lesions(mask, _volume(spacing=(2.0, 1.0, 1.0)), _lungs())
    assert len(report.lesions) == 1
    assert any("2 specks of the mask left out, 0.004 ml" in note for note in report.notes)
    assert np.count_nonzero(labels) == 64


def test_density_is_weighted_by_volume_and_tells_the_kind():
    hounsfield = np.full(SHAPE, -500, np.int16)
    mask = _box(slice(7, 9), slice(10, 14), slice(10, 14))
    hounsfield[8] = 40
    heights = [*range(0, 18, 2), *range(17, 59, 2)]  # slices 8 and 9 lie nearer to each other
    volume = _volume(heights=heights, hounsfield=hounsfield)
    below, above = volume.slice_thickness[7:9]
    lesion = _only(mask, volume)
    assert (below, above) == (2, 1.5)
    assert lesion.mean_hu == pytest.approx((-500 * below + 40 * above) / (below + above))
    assert lesion.consolidated_share == pytest.approx(above / (below + above))
    assert lesion.kind == "mixed"


@pytest.mark.parametrize(
    ("dense", "kind"), [(0, "ground glass"), (3, "ground glass"), (4, "mixed"), (11, "mixed"), (12, "consolidation")]
)
def test_the_kind_follows_the_consolidated_share(dense, kind):
    hounsfield = np.full(SHAPE, -301, np.int16)
    hounsfield[10, 10, 10 : 10 + dense] = -300
    assert _only(_box(10, 10, slice(10, 26)), _volume(hounsfield=hounsfield)).kind == kind


@pytest.mark.parametrize(("column", "side"), [(15, "right"), (45, "left"), (27, "right"), (32, "left")])
@pytest.mark.parametrize(
    ("index", "zone"), [(4, "lower"), (10, "lower"), (12, "middle"), (18, "middle"), (19, "upper")]
)
def test_side_and_zone_are_those_of_the_lung_that_holds_it_or_lies_nearest(column, side, index, zone):
    lesion = _only(_box(index, slice(10, 12), slice(column - 1, column + 1)))
    assert (lesion.side, lesion.zone) == (side, zone)


@pytest.mark.parametrize(("row", "depth"), [(4, "peripheral"), (6, "peripheral"), (20, "central")])
def test_depth_is_told_from_the_lungs_border_in_three_dimensions(row, depth):
    volume = _volume(spacing=(4.0, 1.0, 1.0))
    assert _only(_box(slice(14, 16), slice(row, row + 2), slice(14, 16)), volume).depth == depth


def test_what_lies_outside_counts_to_its_lung_and_no_share_exceeds_1():
    mask = _box(slice(3, 27), slice(4, 36), slice(0, 25))  # the whole right lung and 5 columns beside it
    report, _ = measure_lesions(mask, _volume(), _lungs())
    right, left = report.lungs
    assert right.volume_ml == pytest.approx(24 * 32 * 25 * 2 / 1000)
    assert right.involved_ml == pytest.approx(right.volume_ml)
    assert right.zone_shares == pytest.approx((1, 1, 1))
    assert (left.involved_ml, left.zone_shares) == (0, (0, 0, 0))
    assert report.severity_score == 15
    assert report.involved_share == pytest.approx(25 / 45)


def test_a_lesion_across_both_lungs_counts_in_each():
    report, _ = measure_lesions(_box(slice(3, 11), slice(4, 36), slice(21, 55)), _volume(), _lungs())
    right, left = report.lungs
    assert report.lesions[0].side == "left"
    assert right.zone_shares == pytest.approx((0, 0, 4 / 20))
    assert left.zone_shares == pytest.approx((0, 0, 1))
    assert left.volume_ml == pytest.approx((24 * 32 * 20 + 8 * 32 * 10) * 2 / 1000)
    # The right lower third to a fifth: 2. The left lower half: 8 of its 12 slices: 4.
    assert report.severity_score == 6


@pytest.mark.parametrize(
    ("share", "score"),
    [
        (0, 0),
        (1e-6, 1),
        (0.0499, 1),
        (0.05, 2),
        (0.2499, 2),
        (0.26, 3),
        (0.49, 3),
        (0.5, 4),
        (0.75, 4),
        (0.76, 5),
        (1, 5),
    ],
)
def test_a_lobes_score_is_that_of_pan_and_others(share, score):
    assert lobe_score(share) == score


def test_a_lung_alone_takes_every_lesion():
    lungs = _lungs()
    lungs.labels[lungs.labels == 1] = 0
    report, _ = measure_lesions(_box(slice(10, 14), slice(10, 14), slice(8, 12)), _volume(), lungs)
    assert report.lesions[0].side == "left"
    assert [lung.side for lung in report.lungs] == ["left"]
    assert any("one lung only" in note for note in report.notes)


def test_lungs_that_are_not_there_and_other_shapes_are_errors():
    mask = np.zeros(SHAPE, bool)
    with pytest.raises(ValueError, match="no lungs"):
        measure_lesions(mask, _volume(), Lungs(np.zeros(SHAPE, np.uint8)))
    with pytest.raises(ValueError, match="differ"):
        measure_lesions(mask[1:], _volume(), _lungs())


def test_the_activation_share_counts_pixels_above_0_on_the_slices_that_matter():
    mask = _box(slice(10, 12), 10, slice(10, 14))
    mask[20, 20, 10:18] = True
    asked = []

    def activation(index: int) -> np.ndarray:
        asked.append(index)
        values = np.full(SHAPE[1:], -1.0, np.float32)
        values[:, 13:] = 0.5
        values[:, 12] = 0.0  # speaks for nothing
        return values

    report, _ = measure_lesions(mask, _volume(), _lungs(), activation)
    assert asked == [10, 11, 20]
    assert [lesion.activation_share for lesion in report.lesions] == [2 / 8, 5 / 8]


def _check_against_the_truth(study: PhantomStudy, report: LesionReport, labels: np.ndarray) -> None:
    assert len(report.lesions) == len(study.planted)
    voxels = study.volume.voxel_volumes[0]
    for one in study.planted:
        index = np.linalg.solve(study.volume.affine, [*one.centre, 1])[:3]
        lesion = report.lesions[labels[tuple(np.rint(index).astype(int))] - 1]
        assert lesion.volume_ml * 1000 == pytest.approx(one.volume_mm3, rel=1e-9)
        if one.volume_mm3 / voxels > 2000:  # coarser ones are not the ellipsoid any more
            assert lesion.volume_ml * 1000 == pytest.approx(one.analytic_mm3, rel=0.02)
        assert (lesion.side, lesion.zone) == (one.side, one.zone)
        voxel = max(study.volume.slice_thickness[0], *study.volume.pixel_spacing)
        assert lesion.largest_diameter_mm == pytest.approx(one.diameter_mm, abs=voxel)
        if one.diameter_mm > 8:  # in smaller ones the border's blur is much of the volume
            assert lesion.kind == one.kind


@pytest.mark.parametrize("seed", range(50))
def test_count_volume_side_and_zone_are_right_in_a_phantom(seed):
    study = phantom_study(seed)
    report, labels = measure_lesions(study.mask, study.volume, find_lungs(study.volume, name="phantom"))
    _check_against_the_truth(study, report, labels)


@pytest.mark.parametrize("seed", [7, 12, 18, 41])
def test_count_volumes_and_lengths_agree_with_simpleitk(seed):
    study = phantom_study(seed)
    spacing = (study.volume.slice_thickness[0], *study.volume.pixel_spacing)
    image = sitk.GetImageFromArray(study.mask.astype(np.uint8))
    image.SetSpacing(tuple(map(float, spacing[::-1])))
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.ComputeFeretDiameterOn()
    statistics.Execute(sitk.ConnectedComponent(image, True))
    report, _ = measure_lesions(study.mask, study.volume, Lungs(study.lungs))
    theirs = sorted(((statistics.GetPhysicalSize(label), label) for label in statistics.GetLabels()), reverse=True)
    assert [lesion.volume_ml * 1000 for lesion in report.lesions] == pytest.approx([v for v, _ in theirs], rel=1e-6)
    for lesion, (_, label) in zip(report.lesions, theirs, strict=True):
        # Feret's diameter is between centres: ours is longer by between the least and the most a voxel measures.
        more = lesion.largest_diameter_mm - statistics.GetFeretDiameter(label)
        assert min(spacing) - 1e-3 <= more <= max(spacing) + 1e-3


@pytest.fixture(scope="module")
def small():
    """A phantom of thick slices, its report and its labels."""
    study = phantom_study(12, thickness=5.0, pixel=0.9, lesions=5)
    return study, *measure_lesions(study.mask, study.volume, find_lungs(study.volume, name="phantom"))


ORIENTATIONS = [*itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3))]


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_the_report_does_not_depend_on_how_the_source_lies(axes, signs, small, tmp_path):
    study, report, labels = small

    def stored(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.flip(values, [axis for axis in range(3) if signs[axis] < 0]).transpose(axes))

    affine = study.volume.affine.copy()
    for axis, sign in enumerate(signs):
        if sign < 0:
            affine[:3, 3] += affine[:3, axis] * (study.mask.shape[axis] - 1)
            affine[:3, axis] *= -1
    affine[:3, :3] = affine[:3, axes]
    volume = read_nifti(write_nifti(tmp_path / "ct.nii", stored(study.volume.hounsfield), LPS_FROM_RAS @ affine))
    mask = volume.orientation.apply(stored(study.mask))
    found, numbers = measure_lesions(mask, volume, find_lungs(volume, name="phantom"))
    np.testing.assert_array_equal(numbers, labels)
    assert _plain(found.to_json()) == pytest.approx(_plain(report.to_json()), rel=1e-5)
    assert [(one.side, one.zone, one.depth, one.kind) for one in found.lesions] == [
        (one.side, one.zone, one.depth, one.kind) for one in report.lesions
    ]


def _plain(values: object) -> list[float]:
    """All numbers in nested plain values, in order."""
    if isinstance(values, dict):
        return [number for value in values.values() for number in _plain(value)]
    if isinstance(values, list):
        return [number for value in values for number in _plain(value)]
    return [float(values)] if isinstance(values, int | float) else []
