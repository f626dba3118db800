import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_sources import (
    COLUMNS,
    ROWS,
    enhanced_header,
    instance_uid,
    lesion,
    lesion_report,
    read_headers,
    scattered_labels,
    write_source,
)
from pydicom.uid import EnhancedCTImageStorage

from jcs_jax.report.dicom.instances import Algorithm
from jcs_jax.report.dicom.pseudonyms import Pseudonyms
from jcs_jax.report.dicom.seg import write_segmentation
from jcs_jax.report.dicom.source import source_series

ALGORITHM = Algorithm("jcs-joint", "0.1.0")
HIDDEN, KEPT = Pseudonyms(bytes(16)), Pseudonyms(bytes(16), keep=True)
TILT = np.deg2rad(17.0)
GEOMETRIES = {
    "supine, upwards": {},
    "supine, downwards": {"step": (0, 0, -2.5)},
    "prone": {"cosines": (-1, 0, 0, 0, -1, 0)},
    "feet first": {"cosines": (-1, 0, 0, 0, 1, 0), "step": (0, 0, -2.5)},
    "tilted gantry": {"cosines": (1, 0, 0, 0, np.cos(TILT), np.sin(TILT))},
    "oblique": {"cosines": (0.8, 0.6, 0, -0.6, 0.8, 0)},
    "wide pixels": {"spacing": (0.625, 1.3)},
    "a single slice": {"count": 1},
}


def _per_slice(segmentation: highdicom.seg.Segmentation, uids: list[str]) -> np.ndarray:
    """(S, H, W), segment numbers, as highdicom puts the frames back on the source's slices."""
    return segmentation.get_pixels_by_source_instance(
        source_sop_instance_uids=uids, combine_segments=True, assert_missing_frames_are_empty=True
    )


@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_voxel_comes_back_where_the_source_has_it(name, tmp_path):
    paths = write_source(tmp_path / "source", **GEOMETRIES[name])
    series = source_series(read_headers(paths), KEPT)
    labels = scattered_labels((len(paths), ROWS, COLUMNS), 3)
    write_segmentation(tmp_path / "seg.dcm", labels, lesion_report(3).lesions, series, algorithm=ALGORITHM)
    segmentation = highdicom.seg.segread(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(
        _per_slice(segmentation, [instance_uid(index) for index in range(len(paths))]), labels
    )
    _frames_lie_as_simpleitk_reads_the_source(segmentation, paths, labels)


def _frames_lie_as_simpleitk_reads_the_source(segmentation, paths, labels):
    """SimpleITK on every file of the source, and the frames' own elements, one by one."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    spacing = [float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing]
    cosines = np.array([float(value) for value in shared.PlaneOrientationSequence[0].ImageOrientationPatient])
    sources = [SimpleITK.ReadImage(str(path)) for path in paths]
    planes = {tuple(np.round(image.GetOrigin(), 4)): index for index, image in enumerate(sources)}
    for number, group in enumerate(segmentation.PerFrameFunctionalGroupsSequence):
        position = [float(value) for value in group.PlanePositionSequence[0].ImagePositionPatient]
        index = planes[tuple(np.round(position, 4))]
        image = sources[index]
        np.testing.assert_allclose(spacing, image.GetSpacing()[1::-1], rtol=1e-6)
        np.testing.assert_allclose(cosines, np.reshape(image.GetDirection(), (3, 3)).T[:2].ravel(), atol=1e-6)
        segment = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        np.testing.assert_array_equal(segmentation.pixel_array[number] > 0, labels[index] == segment)


@pytest.mark.parametrize("name", sorted(GEOMETRIES.keys() - {"tilted gantry", "a single slice"}))
def test_simpleitk_reads_the_segmentation_itself_where_it_reads_the_source(name, tmp_path):
    paths = write_source(tmp_path / "source", **GEOMETRIES[name])
    labels = scattered_labels((4, ROWS, COLUMNS), 1)
    series = source_series(read_headers(paths), HIDDEN)
    write_segmentation(tmp_path / "seg.dcm", labels, [lesion(1)], series, algorithm=ALGORITHM)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in paths])
    source, segments = reader.Execute(), SimpleITK.ReadImage(str(tmp_path / "seg.dcm"))
    found = SimpleITK.Resample(segments, source, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(found) > 0, labels > 0)
    np.testing.assert_allclose(segments.GetSpacing(), source.GetSpacing(), atol=1e-6)


def test_frames_of_an_enhanced_source_are_found_by_their_numbers(tmp_path):
    headers = read_headers(write_source(tmp_path / "source"))
    order, frames = [2, 0, 3, 1, 2], [1, 3, 0, 2]  # slice i is frame frames[i]; the last frame repeats a place
    series = source_series([enhanced_header(headers, order=order)], KEPT, frames=frames)
    labels = scattered_labels((4, ROWS, COLUMNS), 3)
    write_segmentation(tmp_path / "seg.dcm", labels, lesion_report(3).lesions, series, algorithm=ALGORITHM)
    segmentation = highdicom.seg.segread(tmp_path / "seg.dcm")
    found = segmentation.get_pixels_by_source_frame(
        source_sop_instance_uid=instance_uid(0),
        source_frame_numbers=[frame + 1 for frame in frames],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(found, labels)
    (item,) = segmentation.SourceImageSequence
    assert (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) == (EnhancedCTImageStorage, instance_uid(0))
    positions = {
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber: list(
            group.PlanePositionSequence[0].ImagePositionPatient
        )
        for group in segmentation.PerFrameFunctionalGroupsSequence
    }
    assert positions == {frame + 1: list(headers[index].ImagePositionPatient) for index, frame in enumerate(frames)}


def test_the_fifty_largest_have_segments_of_their_own_and_the_others_share_one(tmp_path):
    series = source_series(read_headers(write_source(tmp_path / "source")), KEPT)
    labels = scattered_labels((4, ROWS, COLUMNS), 57)
    write_segmentation(tmp_path / "seg.dcm", labels, lesion_report(57).lesions, series, algorithm=ALGORITHM)
    segmentation = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert segmentation.number_of_segments == 51
    assert segmentation.get_segment_description(50).segment_label == "opacity 50, right lower, 12.3 ml"
    assert segmentation.get_segment_description(51).segment_label == "other opacities"
    np.testing.assert_array_equal(
        _per_slice(segmentation, [instance_uid(index) for index in range(4)]), np.minimum(labels, 51)
    )


def test_a_segment_says_what_it_is_and_where_in_codes(tmp_path):
    series = source_series(read_headers(write_source(tmp_path / "source")), HIDDEN)
    lesions = [lesion(1, kind="consolidation", side="left", zone="upper")]
    labels = scattered_labels((4, ROWS, COLUMNS), 1)
    dataset = write_segmentation(tmp_path / "seg.dcm", labels, lesions, series, algorithm=ALGORITHM)
    segment = pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence[0]
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "95436008"
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert segment.AnatomicRegionSequence[0].CodeMeaning == "Upper zone of lung"
    assert segment.AnatomicRegionSequence[0].AnatomicRegionModifierSequence[0].CodeValue == "7771000"
    assert segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "jcs-joint"
    assert "esearch use only" in dataset.SeriesDescription
    assert "esearch use only" in dataset.ContentDescription
    assert dataset.ContentQualification == "RESEARCH"


def test_without_opacities_there_is_no_file(tmp_path):
    series = source_series(read_headers(write_source(tmp_path / "source")), HIDDEN)
    empty = np.zeros((4, ROWS, COLUMNS), np.uint16)
    assert write_segmentation(tmp_path / "seg.dcm", empty, [], series, algorithm=ALGORITHM) is None
    assert not (tmp_path / "seg.dcm").exists()


def test_the_same_result_has_the_same_uids_and_another_result_has_others(tmp_path):
    series = source_series(read_headers(write_source(tmp_path / "source")), HIDDEN)
    labels = scattered_labels((4, ROWS, COLUMNS), 1)
    other = labels.copy()
    other[0, 0, 0] = 1 - other[0, 0, 0]
    uids = [
        write_segmentation(tmp_path / "seg.dcm", array, [lesion(1)], series, algorithm=algorithm).SOPInstanceUID
        for array, algorithm in [
            (labels, ALGORITHM),
            (labels, ALGORITHM),
            (other, ALGORITHM),
            (labels, Algorithm("jcs-joint", "0.2.0")),
        ]
    ]
    assert uids[0] == uids[1]
    assert len(set(uids)) == 3


@pytest.mark.parametrize(
    ("shape", "count", "said"), [((3, ROWS, COLUMNS), 2, "source's slices"), ((4, ROWS, COLUMNS), 3, "there are 2")]
)
def test_labels_that_do_not_fit_are_refused(shape, count, said, tmp_path):
    series = source_series(read_headers(write_source(tmp_path / "source")), HIDDEN)
    with pytest.raises(ValueError, match=said):
        write_segmentation(
            tmp_path / "seg.dcm", scattered_labels(shape, count), lesion_report(2).lesions, series, algorithm=ALGORITHM
        )
