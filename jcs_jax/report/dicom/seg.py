"""The opacities as a DICOM Segmentation, in the geometry of the source's own slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8, UInt16
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from jcs_jax.diagnosis.result.lesions import Lesion
from jcs_jax.dicom_headers import quiet_dicom
from jcs_jax.notice import RESEARCH_USE
from jcs_jax.report.dicom import terms
from jcs_jax.report.dicom.instances import (
    MAKER,
    Algorithm,
    content_digest,
    load_highdicom,
    save,
    series_arguments,
)
from jcs_jax.report.dicom.source import Reference, SourceSeries

OTHERS = "other opacities"


def write_segmentation(
    path: Path,
    labels: UInt16[np.ndarray, "s h w"],
    lesions: Sequence[Lesion],
    source: SourceSeries,
    *,
    algorithm: Algorithm,
) -> Dataset | None:
    """Writes a binary segmentation: a segment for each of the 50 largest opacities, one for all others.

    Args:
      path: the file, `.dcm`.
      labels: (S, H, W) uint16, numbers of lesions, 0 outside; slices, rows and columns as the source has them.
      lesions: numbered 1, 2, ..., the largest first.
      source: the slices.
      algorithm: what found the opacities.

    Returns:
      What was written, for the report to refer to. None, and no file, if there are no opacities: viewers take an
      empty segmentation for a broken one, and the report says that none were found.

    Raises:
      InputError: highdicom isn't installed.
      ValueError: labels don't fit the source or the lesions.
    """
    _check(labels, lesions, source)
    if not lesions:
        return None
    highdicom = load_highdicom()
    segments = _segments(labels)
    arguments = series_arguments(source, algorithm, "opacities", content_digest(labels))
    with quiet_dicom():
        dataset = highdicom.seg.Segmentation(
            source_images=source.headers,
            pixel_array=segments,
            segmentation_type="BINARY",
            segment_descriptions=_descriptions(
                highdicom, lesions, source, algorithm, instance_uid=arguments["sop_instance_uid"]
            ),
            content_label="OPACITIES",
            content_description=RESEARCH_USE,
            content_creator_name=f"{MAKER}^",
            **arguments,
        )
        _name_files(dataset, source)
        save(dataset, path)
    return dataset


def _check(labels: UInt16[np.ndarray, "s h w"], lesions: Sequence[Lesion], source: SourceSeries) -> None:
    header = source.headers[0]
    expected = (len(source.headers), header.Rows, header.Columns)
    if labels.shape != expected:
        raise ValueError(f"labels are {labels.shape}, and the source's slices {expected}")
    if [lesion.number for lesion in lesions] != list(range(1, len(lesions) + 1)):
        raise ValueError("lesions must be numbered 1, 2, ..., the largest first")
    highest = int(labels.max())
    if highest != len(lesions):
        raise ValueError(f"labels go to {highest}, and there are {len(lesions)} lesions")


def _segments(labels: UInt16[np.ndarray, "s h w"]) -> UInt8[np.ndarray, "s h w"]:
    return np.minimum(labels, terms.MOST_SEGMENTS + 1).astype(np.uint8)


def _descriptions(
    highdicom: Any, lesions: Sequence[Lesion], source: SourceSeries, algorithm: Algorithm, *, instance_uid: str
) -> list[Any]:
    made_by = highdicom.AlgorithmIdentificationSequence(
        name=algorithm.name, family=codes.DCM.ArtificialIntelligence, version=algorithm.version
    )
    common = {
        "segmented_property_category": terms.ABNORMAL,
        "algorithm_type": "AUTOMATIC",
        "algorithm_identification": made_by,
    }
    found = []
    for lesion in lesions[: terms.MOST_SEGMENTS]:
        description = highdicom.seg.SegmentDescription(
            segment_number=lesion.number,
            segment_label=terms.label(lesion),
            segmented_property_type=terms.KINDS[lesion.kind],
            anatomic_regions=[terms.ZONES[lesion.zone]],
            tracking_id=terms.tracking_id(lesion.number),
            tracking_uid=tracking_uid(source, instance_uid, lesion.number),
            **common,
        )
        side = highdicom.sr.CodedConcept.from_code(terms.SIDES[lesion.side])
        description.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [side]
        found.append(description)
    if len(lesions) > terms.MOST_SEGMENTS:
        found.append(
            highdicom.seg.SegmentDescription(
                segment_number=terms.MOST_SEGMENTS + 1,
                segment_label=OTHERS,
                segmented_property_type=terms.OPACITY,
                anatomic_regions=[terms.LUNG],
                **common,
            )
        )
    return found


def tracking_uid(source: SourceSeries, segmentation_uid: str, number: int) -> str:
    """Of an opacity, the same in segmentation and report."""
    return source.new_uid("tracking", segmentation_uid, str(number))


def _name_files(dataset: Any, source: SourceSeries) -> None:
    """Turns references to slices into references to the files, and frames of files, that hold them."""
    files = {
        str(header.SOPInstanceUID): reference
        for header, reference in zip(source.headers, source.references, strict=True)
    }
    items = {
        id(item): item  # frames of several segments share one
        for group in dataset.PerFrameFunctionalGroupsSequence
        for derivation in group.DerivationImageSequence
        for item in derivation.SourceImageSequence
    }
    for item in items.values():
        reference = files[item.ReferencedSOPInstanceUID]
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference.class_uid, reference.instance_uid
        if reference.frame is not None:
            item.ReferencedFrameNumber = reference.frame
    once = list({reference.instance_uid: reference for reference in source.references}.values())
    dataset.SourceImageSequence = [_reference_item(reference) for reference in once]
    dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence = [_reference_item(reference) for reference in once]


def _reference_item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference.class_uid, reference.instance_uid
    return item
