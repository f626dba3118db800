import highdicom
import pydicom
import pytest
from dicom_sources import (
    COLUMNS,
    ROWS,
    decision,
    enhanced_header,
    instance_uid,
    lesion_report,
    read_headers,
    scattered_labels,
    write_source,
)
from pydicom.uid import EnhancedCTImageStorage, SegmentationStorage

from jcs_jax.diagnosis.result.lesions import LesionReport, LungInvolvement
from jcs_jax.notice import RESEARCH_USE
from jcs_jax.report.dicom.instances import Algorithm
from jcs_jax.report.dicom.pseudonyms import Pseudonyms
from jcs_jax.report.dicom.seg import write_segmentation
from jcs_jax.report.dicom.source import source_series
from jcs_jax.report.dicom.sr import write_report

ALGORITHM = Algorithm("jcs-joint", "0.1.0")
KEPT = Pseudonyms(bytes(16), keep=True)


@pytest.fixture(scope="module")
def headers(tmp_path_factory):
    return read_headers(write_source(tmp_path_factory.mktemp("source")))


def _written(folder, headers, *, count, given=None):
    """Segmentation (None without lesions) and report, read again."""
    series = source_series(headers, KEPT)
    report = lesion_report(count)
    segmentation = write_segmentation(
        folder / "seg.dcm", scattered_labels((4, ROWS, COLUMNS), count), report.lesions, series, algorithm=ALGORITHM
    )
    write_report(folder / "sr.dcm", report, given, series, algorithm=ALGORITHM, segmentation=segmentation)
    return segmentation, highdicom.sr.srread(folder / "sr.dcm")


def _numbers(group) -> dict[str, tuple[float, str]]:
    return {
        item.name.meaning: (float(item.value), item.unit.value)
        for item in group.get_measurements()
        if not item.finding_sites
    }


def _texts(dataset) -> list[str]:
    found = [dataset.TextValue] if dataset.get("ValueType") == "TEXT" else []
    return found + [text for item in dataset.get("ContentSequence", []) for text in _texts(item)]


def test_every_lesion_is_a_group_of_numbers_on_its_segment(headers, tmp_path):
    segmentation, report = _written(tmp_path, headers, count=3, given=decision())
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert len(groups) == 3
    for number, group in enumerate(groups, start=1):
        item = group.referenced_segment
        assert item.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert item.referenced_segment_numbers == [number]
        assert group.tracking_identifier == f"opacity {number}"
        assert group.tracking_uid == segmentation.get_segment_description(number).tracking_uid
        assert _numbers(group) == {
            "Volume": (12.34, "cm3"),
            "Diameter": (31.5, "mm"),
            "Attenuation Coefficient": (-512.25, "[hnsf'U]"),
            "Share of the opacity that is consolidated": (25.0, "%"),
        }
        (site,) = group.finding_sites
        assert (site.value.meaning, site.laterality.meaning) == ("Lower zone of lung", "Right")
    kinds = [group.finding_type.meaning for group in groups]
    assert kinds == ["Abnormal opacity", "Lung consolidation", "Ground glass opacity"]


def test_the_study_has_its_numbers_and_its_answer(headers, tmp_path):
    _, report = _written(tmp_path, headers, count=3, given=decision())
    (group,) = report.content.get_image_measurement_groups()
    assert _numbers(group) == {
        "Probability of infection": (0.875, "1"),
        "Probability from which a patient counts as infected": (0.5, "1"),
        "Number of opacities": (3, "1"),
        "Volume": (pytest.approx(37.02), "cm3"),
        "CT severity score, 0 to 25": (9, "1"),
        "Opacified share of the lung volume": (15.0, "%"),  # 600 of 4000 ml
    }
    shares = {
        item.finding_sites[0].laterality.meaning: item.value for item in group.get_measurements() if item.finding_sites
    }
    assert shares == {"Right": 25.0, "Left": 5.0}
    (answer,) = group.get_qualitative_evaluations()
    assert answer.value.meaning == "infected"


def test_the_report_says_who_observed_and_for_what_it_is(headers, tmp_path):
    _, report = _written(tmp_path, headers, count=1, given=decision(reasons=("too few slices",), answer="can't tell"))
    texts = _texts(report)
    assert {"JCS-JAX 0.1.0", RESEARCH_USE, "No decision: too few slices", "a note on the numbers"} <= set(texts)
    assert "esearch use only" in report.SeriesDescription
    assert report.ContentQualification == "RESEARCH"
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")


def test_without_lesions_the_study_and_its_slices_are_left(headers, tmp_path):
    segmentation, report = _written(tmp_path, headers, count=0, given=decision(answer="not infected"))
    assert segmentation is None
    assert report.content.get_volumetric_roi_measurement_groups() == []
    (group,) = report.content.get_image_measurement_groups()
    assert [image.referenced_sop_instance_uid for image in group.source_images] == [instance_uid(i) for i in range(4)]
    assert "No opacities were found; there is no segmentation." in _texts(report)


def test_the_fifty_largest_are_told(headers, tmp_path):
    _, report = _written(tmp_path, headers, count=53)
    assert len(report.content.get_volumetric_roi_measurement_groups()) == 50
    assert "The 3 smallest opacities are not listed; they share the segment 'other opacities'." in _texts(report)


def test_all_that_is_referred_to_is_listed_as_evidence(headers, tmp_path):
    segmentation, report = _written(tmp_path, headers, count=2)
    found = {str(uid): str(kind) for _, _, uid, kind in report.get_evidence()}
    assert found[segmentation.SOPInstanceUID] == SegmentationStorage
    assert found.keys() == {segmentation.SOPInstanceUID, *map(instance_uid, range(4))}


def test_an_enhanced_source_is_referred_to_by_frames(headers, tmp_path):
    series = source_series([enhanced_header(headers, order=[2, 0, 3, 1, 2])], KEPT, frames=[1, 3, 0, 2])
    write_report(tmp_path / "sr.dcm", None, decision(), series, algorithm=ALGORITHM)
    report = highdicom.sr.srread(tmp_path / "sr.dcm")
    (group,) = report.content.get_image_measurement_groups()
    (image,) = group.source_images
    assert (image.referenced_sop_class_uid, image.referenced_sop_instance_uid) == (
        EnhancedCTImageStorage,
        instance_uid(0),
    )
    assert list(image.referenced_frame_numbers) == [2, 4, 1, 3]
    assert "Opacities were not looked for." in _texts(report)


def test_a_probability_that_could_not_be_computed_and_lungs_not_found_are_left_out(headers, tmp_path):
    lungs = (LungInvolvement("right", 0.0, 0.0, (0, 0, 0)), LungInvolvement("left", 0.0, 0.0, (0, 0, 0)))
    given = decision(answer="can't tell", probability=None)
    series = source_series(headers, KEPT)
    write_report(tmp_path / "sr.dcm", LesionReport((), lungs, 0), given, series, algorithm=ALGORITHM)
    (group,) = highdicom.sr.srread(tmp_path / "sr.dcm").content.get_image_measurement_groups()
    assert not _numbers(group).keys() & {"Probability of infection", "Opacified share of the lung volume"}
    assert group.get_qualitative_evaluations()[0].value.meaning == "can't tell"


def test_private_codes_say_whose_they_are(headers, tmp_path):
    _written(tmp_path, headers, count=1, given=decision())
    (scheme,) = pydicom.dcmread(tmp_path / "sr.dcm").CodingSchemeIdentificationSequence
    assert (scheme.CodingSchemeDesignator, scheme.CodingSchemeResponsibleOrganization) == ("99JCS", "JCS-JAX")


def test_nothing_to_report_is_refused(headers, tmp_path):
    with pytest.raises(ValueError, match="neither lesions nor a decision"):
        write_report(tmp_path / "sr.dcm", None, None, source_series(headers, KEPT), algorithm=ALGORITHM)
