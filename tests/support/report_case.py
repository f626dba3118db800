"""A made case for tests of reports: 12 slices of 64 x 64 from formulas, with two lesions and an activation map."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from jcs_jax.report.html.pictures import ViewerSlice

COUNT, SIDE = 12, 64
SPACING, STEP = 4.0, 20.0  # mm
LUNG, WALL, LESION, BONE = -800, 40, -300, 500  # HU
CENTRES = {1: (32, 18, 4, 8), 2: (40, 46, 8, 4)}  # lesion -> row, column, slice (from 0), largest radius in pixels
SCALE = 4.0


def made_slices() -> list[ViewerSlice]:
    """Slices in HU with masks, labels and maps."""
    return [_slice(index) for index in range(COUNT)]


def lesion_labels(index: int) -> np.ndarray:
    """(64, 64) uint16: two balls, of which lesion 1 is larger."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    labels = np.zeros((SIDE, SIDE), np.uint16)
    for number, (row, column, middle, radius) in CENTRES.items():
        reach = radius**2 - (2 * (index - middle)) ** 2
        labels[(rows - row) ** 2 + (columns - column) ** 2 < reach] = number
    return labels


def _slice(index: int) -> ViewerSlice:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    labels = lesion_labels(index)
    lungs = ((rows - 32) / 24) ** 2 + ((np.abs(columns - 31.5) - 14) / 12) ** 2 < 1
    body = ((rows - 32) / 29) ** 2 + ((columns - 31.5) / 31) ** 2 < 1
    hounsfield = np.where(body, WALL, -1024)
    hounsfield = np.where(lungs, LUNG, hounsfield)
    spine = (rows - 56) ** 2 + (columns - 32) ** 2 < 4 + index  # so that no two slices are alike
    hounsfield = np.where(spine, BONE, hounsfield)
    hounsfield = np.where(labels > 0, LESION, hounsfield).astype(np.int16)
    activation = np.full((8, 8), -1.0, np.float32)
    activation[3:5, 1:3] = SCALE * max(0.0, 1 - abs(index - 4) / 4)
    return ViewerSlice(hounsfield, labels > 0, labels, activation)


def made_report() -> dict[str, Any]:
    """The content of diagnosis.json for `made_slices`."""
    areas = [[int((lesion_labels(index) == number).sum()) * SPACING**2 for index in range(COUNT)] for number in CENTRES]
    slices = [_slice_values(index, sum(area[index] for area in areas)) for index in range(COUNT)]
    return {
        "schema": "jcs-diagnosis/2",
        "research_use": "Research use only: not a medical device.",
        "notes": ["the files do not say whether contrast medium was given"],
        "tool": {"name": "jcs-jax", "version": "0.1.0"},
        "model": _model("jcs-joint"),
        "screening_model": _model("jcs-classifier"),
        "thresholds": {"class_probability": 0.5, "mask_probability": 0.5},
        "case": {
            "name": "case-1",
            "source": "dicom",
            "statement": "patient-level result of one study",
            "slices": COUNT,
            "positive_slices": 7,
            "highest_class_probability": 0.95,
            "highest_slice": 5,
        },
        "decision": {
            "answer": "infected",
            "probability": 0.913,
            "threshold": 0.42,
            "rule": "the mean of the five highest slice probabilities, calibrated by temperature",
            "chosen_on": "a validation split",
            "reasons": [],
            "release_rule": {"answer": "not infected", "positive_slices": 7, "more_than": 18},
        },
        "geometry": {
            "pixel_spacing_mm": [SPACING, SPACING],
            "slice_thickness_mm": STEP,
            "affine_lps": np.diag([STEP, SPACING, SPACING, 1]).tolist(),
        },
        "lesions": _lesions(areas),
        "files": dict.fromkeys(("mask_nifti", "lesions_nifti", "seg", "sr", "captures")) | {"html": "report.html"},
        "activation": {"class": "infected", "unit": "log-odds of infection against no infection", "scale": SCALE},
        "slices": slices,
    }


def _model(name: str) -> dict[str, Any]:
    preset = {"name": name, "options": {"norm": "batch"}, "preprocessing": {"size": [512, 512], "shorter_side": None}}
    return {
        "name": name,
        "checkpoint": None,
        "weights_sha256": None,
        "engine": "jax",
        "precision": "float32",
        "source": "made up",
        "preset": preset,
    }


def _slice_values(index: int, area: float) -> dict[str, Any]:
    probability = round(0.95 - 0.1 * abs(index - 4), 6)
    return {
        "number": index + 1,
        "file": f"slice{index + 1:02d}.dcm",
        "height": SIDE,
        "width": SIDE,
        "pixels_sha256": None,
        "height_mm": STEP * index,
        "lung_bearing": True,
        "segmented": True,
        "notes": [],
        "class_probability": probability,
        "positive": probability >= 0.5,
        "lesion_share_of_picture": area / (SIDE * SPACING) ** 2,
        "lesion_area_mm2": area,
        "map_mask_agreement": {"activation_inside_mask": 0.8, "pointing_hit": True} if area else None,
        "files": {"mask": None, "overlay": None, "activation": None},
    }


def _lesions(areas: list[list[float]]) -> dict[str, Any]:
    lesions = []
    for number, area in enumerate(areas, 1):
        present = [index for index in range(COUNT) if area[index]]
        first, last = present[0], present[-1]
        lesions.append(
            {
                "number": number,
                "volume_ml": sum(area) * STEP / 1000,
                "largest_diameter_mm": 64.0 / number,
                "mean_hu": float(LESION),
                "consolidated_share": 0.25,
                "kind": "ground glass",
                "side": "right" if number == 1 else "left",
                "zone": "lower",
                "depth": "central",
                "first_slice": first + 1,
                "last_slice": last + 1,
                "largest_slice": area.index(max(area)) + 1,
                "areas_mm2": area[first : last + 1],
                "activation_share": 0.7,
            }
        )
    lung = {"volume_ml": 2000.0, "involved_ml": 150.0, "involved_share": 0.075}
    zones = {"upper": 0.0, "middle": 0.05, "lower": 0.2}
    return {
        "count": 2,
        "volume_ml": sum(lesion["volume_ml"] for lesion in lesions),
        "involved_share": 0.075,
        "severity_score": 7,
        "lungs": [{"side": side, **lung, "zone_shares": zones} for side in ("right", "left")],
        "lesions": lesions,
    }


def made_pictures() -> tuple[dict[str, Any], list[ViewerSlice]]:
    """A case of three pictures of differing sizes, without HU, segmentation and decision; with a class head."""
    report = copy.deepcopy(made_report())
    report |= {"decision": None, "geometry": None, "lesions": None, "screening_model": None}
    report["case"] |= {"source": "pictures", "slices": 3, "positive_slices": 3, "highest_slice": 3}
    report["case"] |= {"statement": "slice-level result; no decision on the patient", "highest_class_probability": 0.75}
    report["slices"] = report["slices"][:3]
    slices = []
    for item, (height, width) in zip(report["slices"], ((48, 64), (64, 64), (40, 80)), strict=True):
        item |= {"height": height, "width": width, "height_mm": None, "lung_bearing": None, "segmented": False}
        item |= {"lesion_share_of_picture": None, "lesion_area_mm2": None, "map_mask_agreement": None}
        ramp = np.linspace(0, 1, width, dtype=np.float32)
        slices.append(ViewerSlice(np.tile(ramp, (height, 1)), activation=np.full((4, 4), SCALE, np.float32)))
    return report, slices
