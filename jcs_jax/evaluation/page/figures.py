"""The page's plots and pictures, each with its text for those who don't see it."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from jcs_jax.evaluation.page.dice_plots import dice_size_plot, threshold_plot, threshold_title
from jcs_jax.evaluation.page.probability_plots import (
    Scores,
    precision_recall_plot,
    reliability_plot,
    roc_plot,
    title_text,
)
from jcs_jax.evaluation.page.wording import value_text
from jcs_jax.evaluation.results import CasePicture, Evaluation
from jcs_jax.report.html.markup import Markup, section, tag

_MOST_BYTES = 1_000_000  # of all pictures together, as they stand in the page
_MOST_PICTURES = 12  # of one kind
_SIDES = (512, 448, 384, 320, 256, 192, 128, 96)  # pixels on the longer side, the first at which all fit
_SHARES_BOTH = "Sensitivity and specificity over all thresholds; above the dotted line the model knows something."
_PRECISION = "How many of those called infected are, over the share found; the flat lines are a guess's precision."
_RELIABILITY = "On the dotted line, of cases with probability 0.3 three in ten are infected. Numbers count cases."
_SIZE = "Small lesions are harder: a few pixels decide. Slices where nothing was found are marked with a cross."
_THRESHOLDS = "Each map is min-max scaled first; the best threshold is chosen on these very slices."


def plots_part(evaluation: Evaluation) -> Markup | None:
    """All plots that the evaluation allows; None if there is nothing to draw."""
    figures = [*_probability_plots(scores_of(evaluation)), *_size_plot(evaluation)]
    if (threshold_dice := evaluation.threshold_dice) is not None and np.isfinite(threshold_dice).all():
        measured = evaluation.summary.get("segmentation", {})
        svg = threshold_plot(threshold_dice, measured)
        figures.append(_plot(svg, threshold_title(measured), _THRESHOLDS))
    if not figures:
        return None
    return section("plots", "Plots", tag("div", *figures, class_="plots"))


def scores_of(evaluation: Evaluation) -> list[Scores]:
    """The labelled probabilities of slices and of patients; a level without any is left out."""
    slices = [(case.values.get("infection_probability", math.nan), case.label) for case in evaluation.cases]
    patients = [(patient.probability, patient.label) for patient in evaluation.patients]
    found = []
    for level, pairs, group, threshold in (
        ("slices", slices, "classification", "class"),
        ("patients", patients, "patients", "patient"),
    ):
        known = [(chance, label) for chance, label in pairs if label >= 0 and math.isfinite(chance)]
        if known:
            chances, labels = np.array(known, np.float64).T
            point = evaluation.thresholds.get(threshold, math.nan)
            found.append(Scores(level, chances, labels.astype(int), point, evaluation.summary.get(group, {})))
    return found


def _probability_plots(levels: Sequence[Scores]) -> list[Markup]:
    figures = []
    both = [one for one in levels if one.has_both_classes()]
    if both:
        told = f"{title_text('ROC curve', both, {'auc': 'AUC'})}\n{_at_threshold(both)}"
        figures.append(_plot(roc_plot(both), told, _SHARES_BOTH))
        told = title_text("Precision over recall", both, {"average_precision": "average precision"})
        figures.append(_plot(precision_recall_plot(both), told, _PRECISION))
    elif levels:
        words = "ROC and precision-recall curves need infected and uninfected cases: there is one class only."
        figures.append(tag("p", words, class_="notice unknown"))
    for one in levels:
        told = title_text("Reliability", [one], {"ece": "expected calibration error", "brier": "Brier score"})
        figures.append(_plot(reliability_plot(one), told, _RELIABILITY))
    return figures


def _at_threshold(levels: Sequence[Scores]) -> str:
    told = []
    for one in (one for one in levels if math.isfinite(one.threshold)):
        right = (one.probabilities >= one.threshold) == (one.labels == 1)
        shares = [value_text(float(right[one.labels == label].mean())) for label in (1, 0)]
        point = value_text(one.threshold)
        told.append(f"{one.level} at threshold {point}: sensitivity {shares[0]}, specificity {shares[1]}")
    return "; ".join(told)


def _size_plot(evaluation: Evaluation) -> list[Markup]:
    pairs = [(case.values.get("lesion_area", 0), case.values.get("dice", math.nan)) for case in evaluation.cases]
    known = [(area, dice) for area, dice in pairs if area > 0 and math.isfinite(dice)]
    if not known:
        return []
    areas, dice = np.array(known, np.float64).T
    told = f"Dice over the lesions' share of the picture, {len(dice)} slices; {int((dice == 0).sum())} have Dice 0"
    return [_plot(dice_size_plot(areas, dice), told, _SIZE)]


def _plot(svg: str, told: str, caption: str) -> Markup:
    data = base64.b64encode(svg.encode()).decode("ascii")
    image = tag("img", src=f"data:image/svg+xml;base64,{data}", alt=told.replace("\n", ". ").strip(". "))
    return tag("figure", image, tag("figcaption", caption))


def pictures_part(pictures: Sequence[CasePicture]) -> Markup | None:
    """The worst and the best masks; None without any."""
    kinds = {kind: [one for one in pictures if one.kind == kind][:_MOST_PICTURES] for kind in ("worst", "best")}
    shown = [one for chosen in kinds.values() for one in chosen]
    if not shown:
        return None
    encoded = dict(zip(map(id, shown), _encode_all([one.picture for one in shown]), strict=True))
    parts: list[Markup] = [tag("p", "Orange: the model's mask. Blue: the reader's.")]
    for kind, chosen in kinds.items():
        if chosen:
            figures = [_picture(one, encoded[id(one)]) for one in chosen]
            parts += [tag("h3", f"{kind.capitalize()} Dice"), tag("div", *figures, class_="figures")]
    return section("pictures", "Worst and best masks", *parts)


def _picture(one: CasePicture, data: str) -> Markup:
    dice = f"Dice {value_text(one.dice)}"
    image = tag("img", src=f"data:image/png;base64,{data}", alt=f"CT slice with both outlines, {dice}")
    return tag("figure", image, tag("figcaption", one.name, tag("br"), dice))


def _encode_all(pictures: Sequence[UInt8[np.ndarray, "h w 3"]]) -> list[str]:
    """PNG in base64, all at the largest size at which they fit together."""
    encoded: list[str] = []
    for side in _SIDES:
        encoded = [_encode(picture, side) for picture in pictures]
        if sum(map(len, encoded)) <= _MOST_BYTES:
            break
    return encoded


def _encode(picture: UInt8[np.ndarray, "h w 3"], side: int) -> str:
    height, width = picture.shape[:2]
    factor = min(1.0, side / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    smaller = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if factor < 1 else picture
    _, data = cv2.imencode(".png", cv2.cvtColor(smaller, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return base64.b64encode(data.tobytes()).decode("ascii")
