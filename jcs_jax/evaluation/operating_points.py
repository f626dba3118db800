"""Thresholds chosen on validation data, in a file that belongs to one model's weights."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np

from jcs_jax.data.examples import Source
from jcs_jax.diagnosis.calibration import fit_threshold
from jcs_jax.errors import InputError
from jcs_jax.evaluation.predictions import predictions
from jcs_jax.files import write_atomically
from jcs_jax.metrics import ThresholdCurve
from jcs_jax.models.presets import Preset
from jcs_jax.notice import RESEARCH_USE

FORMAT = "jcs-thresholds/1"


@dataclasses.dataclass(frozen=True)
class OperatingPoints:
    """From where on a slice counts as infected and a pixel as opacified.

    Attributes:
      weights: SHA-256 of the model's arrays.
      class_threshold: probability of infection; None where it couldn't be chosen.
      mask_threshold: probability of opacity; None where it couldn't be chosen.
      chosen_on: NAME/CONFIG:SPLIT.
    """

    weights: str
    class_threshold: float | None
    mask_threshold: float | None
    chosen_on: str

    def applied(self, preset: Preset) -> Preset:
        """The preset with these thresholds, where there are any."""
        of_class = preset.class_threshold if self.class_threshold is None else self.class_threshold
        of_mask = preset.mask_threshold if self.mask_threshold is None else self.mask_threshold
        return dataclasses.replace(preset, class_threshold=of_class, mask_threshold=of_mask)


def choose_operating_points(
    model: nn.Module,
    variables: Any,
    preset: Preset,
    source: Source,
    *,
    weights: str,
    chosen_on: str,
    batch_size: int = 4,
) -> OperatingPoints:
    """Chooses thresholds on slices that the model was not trained on and will not be scored on.

    That of the class has the largest sum of sensitivity and specificity (Youden's J); that of the mask, one of 1/255 ..
    255/255, the highest mean Dice.

    Raises:
      InputError: neither can be chosen: no mask with an opacity that the model could draw, and not both labels.
    """
    curve, probabilities, labels = ThresholdCurve.empty(), [], []
    for prediction in predictions(model, variables, preset, source, batch_size=batch_size):
        mask, label = prediction.example.mask, prediction.example.label
        if prediction.lesions is not None and mask is not None:
            maps = np.asarray(prediction.lesions, np.float64)[np.newaxis]
            curve = curve.merge(ThresholdCurve.from_maps(maps, mask[np.newaxis], scale=False))
        if prediction.infection is not None and label >= 0:
            probabilities.append(prediction.infection)
            labels.append(label == 1)
    of_class = None
    if any(labels) and not all(labels):
        of_class = fit_threshold(np.array(probabilities), np.array(labels))
    of_mask = curve.best_threshold(lowest=1).value
    if of_class is None and math.isnan(of_mask):
        raise InputError(
            f"{chosen_on}: has neither a mask with an opacity nor both labels, so no threshold can be chosen; "
            "name another split"
        )
    return OperatingPoints(weights, of_class, None if math.isnan(of_mask) else of_mask, chosen_on)


def write_operating_points(points: OperatingPoints, file: str | os.PathLike[str]) -> Path:
    """Writes them as JSON, in one step."""
    document = {"format": FORMAT, "notice": RESEARCH_USE, **dataclasses.asdict(points)}
    return write_atomically(Path(file), json.dumps(document, indent=2) + "\n")


def read_operating_points(file: str | os.PathLike[str], *, weights: str) -> OperatingPoints:
    """Reads the thresholds of a model.

    Args:
      file: as `write_operating_points` wrote it.
      weights: SHA-256 of the arrays of the model that they are for.

    Raises:
      InputError: no such file, or one of another form or model.
    """
    path = Path(file)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("format") != FORMAT:
            raise KeyError("format")
        document.pop("notice")
        points = OperatingPoints(**document)
        thresholds = [value for value in (points.class_threshold, points.mask_threshold) if value is not None]
        if not all(isinstance(value, float | int) and 0 <= value <= 1 for value in thresholds):
            raise ValueError("a threshold is outside 0 to 1")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; make it with jcs evaluate --save_thresholds") from None
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: holds no thresholds ({error}); make it with jcs evaluate --save_thresholds"
        ) from error
    if points.weights != weights:
        raise InputError(
            f"{path}: was chosen for another model's weights; choose thresholds for this one with --save_thresholds"
        )
    return points
