"""Opacities in coded words.

Source: DICOM PS3.16, annex D for codes of DCM; SNOMED CT for those of SCT.
"""

from __future__ import annotations

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from jcs_jax.diagnosis.result.lesions import Kind, Lesion, Side, Zone

LUNG = codes.SCT.Lung
SIDES: dict[Side, Code] = {"right": codes.SCT.Right, "left": codes.SCT.Left}
ZONES: dict[Zone, Code] = {
    "upper": codes.SCT.UpperZoneOfLung,
    "middle": codes.SCT.MiddleZoneOfLung,
    "lower": codes.SCT.LowerZoneOfLung,
}
OPACITY = codes.DCM.AbnormalOpacity
KINDS: dict[Kind, Code] = {
    "ground glass": codes.DCM.GroundGlassOpacity,
    "mixed": OPACITY,
    "consolidation": Code("95436008", "SCT", "Lung consolidation"),
}
ABNORMAL = codes.SCT.MorphologicallyAbnormalStructure
MOST_SEGMENTS = 50  # opacities that are told apart; the smaller ones share a segment


def tracking_id(number: int) -> str:
    """Of an opacity, the same in segmentation and report."""
    return f"opacity {number}"


def label(lesion: Lesion) -> str:
    """An opacity in a line for a list."""
    return f"{tracking_id(lesion.number)}, {lesion.side} {lesion.zone}, {lesion.volume_ml:.1f} ml"
