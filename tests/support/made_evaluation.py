"""A made-up evaluation of 120 slices of 40 patients, with everything that an evaluation page can show."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from jcs_jax.evaluation.page.facts import ComparedNumber, Comparison, PageFacts, PublishedNumber
from jcs_jax.evaluation.results import Case, CasePicture, Evaluation, PatientCase
from jcs_jax.metrics import Measurement

PATIENTS, SLICES_OF_EACH = 40, 3
ORIGINS = ("Hospital A", "Hospital B", "Collection of rare cases, third release")
_MEASURED_ABOUT = {"dice": 0.62, "iou": 0.49, "pixel_sensitivity": 0.7, "pixel_specificity": 0.994}
_ALL_NAN = Measurement(math.nan, 0, 120)


def made_cases(seed: int = 5) -> list[Case]:
    """Three slices of each patient; the even patients are infected, and a slice in nine of theirs has Dice 0."""
    random = np.random.default_rng(seed)
    cases = []
    for index in range(PATIENTS * SLICES_OF_EACH):
        patient, infected = index // SLICES_OF_EACH, index // SLICES_OF_EACH % 2 == 0
        area = 10 ** random.uniform(-4, -1) if infected else 0.0
        found = np.clip(0.95 + 0.16 * math.log10(area) + random.normal(0, 0.12), 0.02, 0.97) if infected else math.nan
        values = {
            "infection_probability": float(random.beta(5, 2) if infected else random.beta(2, 4)),
            "lesion_area": area,
            "dice": 0.0 if infected and index % 9 == 0 else float(found),
        }
        origin = ORIGINS[0 if patient < 20 else 1 if patient < 37 else 2]
        cases.append(Case(f"slice-{index:03}", f"person-{patient:02}", int(infected), values, origin))
    return cases


def made_patients(cases: Sequence[Case]) -> list[PatientCase]:
    """Each patient's mean probability."""
    return [
        PatientCase(
            one.patient,
            one.label,
            SLICES_OF_EACH,
            float(np.mean([case.values["infection_probability"] for case in cases[place : place + SLICES_OF_EACH]])),
            one.origin,
        )
        for place, one in list(enumerate(cases))[::SLICES_OF_EACH]
    ]


def made_summary(n: int = 120, patients: int = 40) -> dict[str, dict[str, Measurement]]:
    """All groups, with plausible numbers; the Hausdorff distance is not defined."""
    half = n // 2
    labels = {"auc": 0.917, "average_precision": 0.93, "sensitivity": 0.9, "specificity": 0.733, "brier": 0.128}
    labels |= {"ece": 0.061}
    return {
        "segmentation": {
            **{name: _about(value, half, n - half) for name, value in _MEASURED_ABOUT.items()},
            "false_positive_area": _about(0.00312, n - half, half),
            "mean_threshold_dice": _about(0.581, half, n - half),
            "best_threshold_dice": _about(0.648, half, n - half),
            "hausdorff_95_mm": Measurement(math.nan, 0, n),
        },
        "classification": {name: _about(value, n) for name, value in labels.items()},
        "patients": {name: _about(min(value + 0.03, 1), patients, reach=0.4) for name, value in labels.items()},
        "lesions": {
            "detected_small": _about(0.41, 77, reach=0.3),
            "detected_all": _about(0.58, 99),
            "detected_large": Measurement(1.0, 9),
            "false_lesions_per_slice": _about(1.37, n, reach=0.3),
        },
        "explanation": {"pointing_game": _about(0.8, half, n - half), "a_new_number": _about(12.34, half, n - half)},
        "baseline_all_lung": {name: _about(0.13, half, n - half) for name in _MEASURED_ABOUT},
        "baseline_brightness_in_lungs": {
            "dice": _about(0.31, half, n - half),
            "chosen_threshold": Measurement(0.62, 200),
        },
        "baseline_mean_brightness": {"auc": _about(0.71, n)},
        "baseline_image_area": {"auc": _about(0.5, n)},
    }


def _about(value: float, n: int, n_absent: int = 0, reach: float = 0.2) -> Measurement:
    room = min(value, 1 - value) if value < 1 else value
    return Measurement(value, n, n_absent, value - reach * room * 1.2, value + reach * room)


def made_pictures(count: int = 4, side: int = 256) -> list[CasePicture]:
    """As many worst and as many best ones: noise in two discs, with a line in both colours."""
    rows, columns = np.mgrid[:side, :side] / side
    pictures = []
    for index in range(2 * count):
        noise = np.random.default_rng(index).normal(0, 14, (side, side))
        lungs = ((columns - 0.3) / 0.18) ** 2 + ((rows - 0.5) / 0.32) ** 2 < 1
        lungs |= ((columns - 0.7) / 0.18) ** 2 + ((rows - 0.5) / 0.32) ** 2 < 1
        grey = np.clip(np.where(lungs, 50, 150) + noise, 0, 255).astype(np.uint8)
        picture = np.repeat(grey[..., np.newaxis], 3, axis=-1)
        distance = np.hypot(rows - 0.55, columns - 0.3)
        picture[np.abs(distance - 0.08 - 0.004 * index) < 0.006] = (230, 159, 0)
        picture[np.abs(distance - 0.1) < 0.006] = (86, 180, 233)
        kind = "worst" if index < count else "best"
        pictures.append(CasePicture(f"slice-{index:03}", kind, index / (2 * count), picture))
    return pictures


def made_evaluation() -> Evaluation:
    """With every part."""
    cases = made_cases()
    small = made_summary(n=60, patients=20), made_summary(n=51, patients=17), made_summary(n=9, patients=3)
    return Evaluation(
        preset="jcs_small",
        thresholds={"class": 0.5, "mask": 0.5, "patient": 0.55},
        counts={
            "slices": 120,
            "with_mask": 120,
            "empty_mask": 60,
            "infected": 60,
            "uninfected": 60,
            "unlabelled": 0,
            "patients": 40,
        },
        summary=made_summary(),
        cases=cases,
        notes=("the pictures have lost their HU: they can't be windowed again",),
        leakage={"names": 0, "patients": 0, "pictures": 0},
        patients=made_patients(cases),
        subgroups=dict(zip(ORIGINS, small, strict=True)),
        pictures=made_pictures(),
    )


def undefined_evaluation() -> Evaluation:
    """Nothing is defined: no mask has a lesion, no class head, nothing is labelled."""
    whole = made_evaluation()
    summary = {group: dict.fromkeys(numbers, _ALL_NAN) for group, numbers in whole.summary.items()}
    values = {"infection_probability": math.nan, "dice": math.nan, "lesion_area": 0.0}
    cases = [dataclasses.replace(case, label=-1, values=values) for case in whole.cases]
    return dataclasses.replace(
        whole, summary=summary, cases=cases, patients=(), subgroups={}, pictures=(), thresholds={"class": math.nan}
    )


def made_facts() -> PageFacts:
    """Where the made-up evaluation comes from."""
    return PageFacts("weights/joint, step 4000", "made_up", "test", "train", "the split validation", {"Seed": "3"})


def made_comparison() -> Comparison:
    """Ours against another model."""
    numbers = [
        ComparedNumber("segmentation", "dice", 0.571, 0.62, 0.049, 0.012, 0.085, 0.0085, 60),
        ComparedNumber("classification", "auc", 0.921, 0.917, -0.004, -0.031, 0.024, 0.77, 120),
        ComparedNumber("patients", "brier", 0.14, 0.128, -0.012, math.nan, math.nan, math.nan, 40),
    ]
    return Comparison("unet_small", "jcs_small", numbers)


def made_published() -> list[PublishedNumber]:
    """Two publications' numbers."""
    return [
        PublishedNumber("Somebody et al. 2021", "dice", 0.783, 1000, "other patients"),
        PublishedNumber("Somebody et al. 2021", "sensitivity", 0.95, None, "by patient", "patients"),
        PublishedNumber("Others 2020", "e_measure", 0.911, 48),
    ]
