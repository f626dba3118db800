"""The numbers of a study as a DICOM structured report (TID 1500, measurements)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from jcs_jax.diagnosis.result.decision import Answer, Decision
from jcs_jax.diagnosis.result.lesions import Lesion, LesionReport
from jcs_jax.dicom_headers import quiet_dicom
from jcs_jax.notice import RESEARCH_USE
from jcs_jax.report.dicom import terms
from jcs_jax.report.dicom.instances import (
    MAKER,
    Algorithm,
    content_digest,
    load_highdicom,
    private_code,
    private_scheme,
    save,
    series_arguments,
)
from jcs_jax.report.dicom.seg import OTHERS, tracking_uid
from jcs_jax.report.dicom.source import SourceSeries

_ANSWERS: dict[Answer, Any] = {
    "infected": private_code("INFECTED", "infected"),
    "not infected": private_code("NOT-INFECTED", "not infected"),
    "can't tell": private_code("CANNOT-TELL", "can't tell"),
}
_ANSWER = private_code("ANSWER", "Infection of the lungs by COVID-19, by the networks")
_PROBABILITY = private_code("PROBABILITY", "Probability of infection")
_THRESHOLD = private_code("THRESHOLD", "Probability from which a patient counts as infected")
_SHARE = private_code("OPACIFIED-SHARE", "Opacified share of the lung volume")
_SEVERITY = private_code("CT-SEVERITY", "CT severity score, 0 to 25")
_COUNT = private_code("OPACITIES", "Number of opacities")
_CONSOLIDATED = private_code("CONSOLIDATED", "Share of the opacity that is consolidated")


def write_report(
    path: Path,
    lesions: LesionReport | None,
    decision: Decision | None,
    source: SourceSeries,
    *,
    algorithm: Algorithm,
    segmentation: Dataset | None = None,
) -> Dataset:
    """Writes a Comprehensive 3D SR: what is said of the study, then a group of numbers for every segment.

    Args:
      path: the file, `.dcm`.
      lesions: None without segmentation.
      decision: None if there is none of the patient.
      source: the slices.
      algorithm: what made the result.
      segmentation: what `write_segmentation` returned for these lesions. Without it the report has the study's part
        only.

    Returns:
      What was written.

    Raises:
      InputError: highdicom isn't installed.
      ValueError: there is nothing to report.
    """
    if lesions is None and decision is None:
        raise ValueError("neither lesions nor a decision to report")
    highdicom = load_highdicom()
    segmentation_uid = "" if segmentation is None else str(segmentation.SOPInstanceUID)
    digest = content_digest(lesions, decision, segmentation_uid)
    arguments = series_arguments(source, algorithm, "report", digest)
    with quiet_dicom():
        groups = [_study_group(highdicom, lesions, decision, source, arguments["sop_instance_uid"])]
        if lesions is not None and segmentation is not None:
            told = lesions.lesions[: terms.MOST_SEGMENTS]
            groups += [_lesion_group(highdicom, lesion, source, segmentation) for lesion in told]
        content = highdicom.sr.MeasurementReport(
            observation_context=_observer(highdicom, source, algorithm),
            procedure_reported=codes.cid100.CTUnspecifiedBodyRegion,
            imaging_measurements=groups,
        )
        dataset = highdicom.sr.Comprehensive3DSR(
            evidence=[*([] if segmentation is None else [segmentation]), *_files(source)],
            content=content,
            is_complete=True,
            coding_schemes=private_scheme(highdicom),
            **arguments,
        )
        save(dataset, path)
    return dataset


def _observer(highdicom: Any, source: SourceSeries, algorithm: Algorithm) -> Any:
    sr = highdicom.sr
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=source.pseudonyms.new_uid("device", repr(algorithm)),
        name=f"{MAKER} {algorithm.version}",
        manufacturer_name=MAKER,
        model_name=algorithm.name,
    )
    return sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=device
        )
    )


def _study_group(
    highdicom: Any,
    lesions: LesionReport | None,
    decision: Decision | None,
    source: SourceSeries,
    report_uid: str,
) -> Any:
    """What is said of the whole study, with all its slices as its source."""
    sr = highdicom.sr
    measurements = [*_decision_numbers(sr, decision), *_study_numbers(sr, lesions)]
    answers = [] if decision is None else [sr.QualitativeEvaluation(_ANSWER, _ANSWERS[decision.answer])]
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=source.new_uid("study of", report_uid), identifier="study"),
        finding_sites=[sr.FindingSite(terms.LUNG)],
        measurements=measurements,
        qualitative_evaluations=answers,
        source_images=_source_images(sr, source),
    )
    group[0].ContentSequence.extend(
        sr.TextContentItem(codes.DCM.Comment, text, relationship_type="CONTAINS")
        for text in _comments(lesions, decision)
    )
    return group


def _decision_numbers(sr: Any, decision: Decision | None) -> list[Any]:
    if decision is None:
        return []
    unit = codes.UCUM.NoUnits
    found = [sr.Measurement(_THRESHOLD, _short(decision.threshold), unit)]
    if decision.probability is not None:
        found.insert(0, sr.Measurement(_PROBABILITY, _short(decision.probability), unit))
    return found


def _study_numbers(sr: Any, lesions: LesionReport | None) -> list[Any]:
    if lesions is None:
        return []
    percent, unit = codes.UCUM.Percent, codes.UCUM.NoUnits
    found = [
        sr.Measurement(_COUNT, len(lesions.lesions), unit),
        sr.Measurement(codes.SCT.Volume, _short(lesions.volume_ml), codes.UCUM.CubicCentimeter),
        sr.Measurement(_SEVERITY, lesions.severity_score, unit),
    ]
    if sum(lung.volume_ml for lung in lesions.lungs) > 0:
        found.append(sr.Measurement(_SHARE, _short(100 * lesions.involved_share), percent))
    for lung in lesions.lungs:
        if lung.volume_ml > 0:
            site = sr.FindingSite(terms.LUNG, laterality=terms.SIDES[lung.side])
            found.append(sr.Measurement(_SHARE, _short(100 * lung.share), percent, finding_sites=[site]))
    return found


def _source_images(sr: Any, source: SourceSeries) -> list[Any]:
    images = []
    for indices in source.files().values():
        first = source.references[indices[0]]
        frames = [frame for index in indices if (frame := source.references[index].frame) is not None]
        images.append(sr.SourceImageForMeasurementGroup(first.class_uid, first.instance_uid, frames or None))
    return images


def _comments(lesions: LesionReport | None, decision: Decision | None) -> list[str]:
    comments = [RESEARCH_USE]
    if decision is not None:
        comments += [f"Decision: {decision.rule}", *(f"No decision: {reason}" for reason in decision.reasons)]
    if lesions is None:
        return [*comments, "Opacities were not looked for."]
    if not lesions.lesions:
        comments.append("No opacities were found; there is no segmentation.")
    if (more := len(lesions.lesions) - terms.MOST_SEGMENTS) > 0:
        comments.append(f"The {more} smallest opacities are not listed; they share the segment '{OTHERS}'.")
    return [*comments, *lesions.notes]


def _lesion_group(highdicom: Any, lesion: Lesion, source: SourceSeries, segmentation: Dataset) -> Any:
    sr = highdicom.sr
    uid = str(segmentation.SOPInstanceUID)
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=tracking_uid(source, uid, lesion.number), identifier=terms.tracking_id(lesion.number)
        ),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=uid,
            segment_number=lesion.number,
            source_series=sr.SourceSeriesForSegmentation(source.series_uid),
        ),
        finding_type=terms.KINDS[lesion.kind],
        finding_category=terms.ABNORMAL,
        finding_sites=[sr.FindingSite(terms.ZONES[lesion.zone], laterality=terms.SIDES[lesion.side])],
        measurements=[
            sr.Measurement(codes.SCT.Volume, _short(lesion.volume_ml), codes.UCUM.CubicCentimeter),
            sr.Measurement(
                codes.SCT.Diameter,
                _short(lesion.largest_diameter_mm),
                codes.UCUM.Millimeter,
                derivation=codes.SCT.Maximum,
            ),
            sr.Measurement(
                codes.DCM.AttenuationCoefficient,
                _short(lesion.mean_hu),
                codes.UCUM.HounsfieldUnit,
                derivation=codes.SCT.Mean,
            ),
            sr.Measurement(_CONSOLIDATED, _short(100 * lesion.consolidated_share), codes.UCUM.Percent),
        ],
    )


def _files(source: SourceSeries) -> Sequence[Dataset]:
    """Headers of the source's files, under the names that references use."""
    headers = []
    for indices in source.files().values():
        reference = source.references[indices[0]]
        header = copy.deepcopy(source.headers[indices[0]])
        header.SOPClassUID, header.SOPInstanceUID = reference.class_uid, reference.instance_uid
        headers.append(header)
    return headers


def _short(value: float) -> float:
    """Four decimals are more than is known of any of these numbers."""
    return round(float(value), 4)
