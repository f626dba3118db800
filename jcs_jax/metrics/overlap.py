"""Overlap of a predicted and a true mask, one value per image in float64; empty masks: see the package."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Shaped

PIXELS = (1, 2)  # the axes of one image in (N, H, W)


def binarize(probabilities: Float[np.ndarray, "n h w"], threshold: float) -> Bool[np.ndarray, "n h w"]:
    """The pixels whose probability reaches a fixed threshold (>=).

    Args:
      probabilities: (N, H, W) in [0, 1].
      threshold: in [0, 1].

    Raises:
      ValueError: if a probability is NaN.
    """
    return _checked(probabilities) >= threshold


def adaptive_threshold(probabilities: Float[np.ndarray, "n h w"]) -> Float[np.ndarray, " n"]:
    """The release's threshold of each image: twice the mean of its own prediction, (N,).

    Above 1 where the mean is above one half: then nothing is predicted.
    """
    probabilities = _checked(probabilities)
    return 2.0 * probabilities.mean(axis=PIXELS)


def dice(predicted: Bool[np.ndarray, "n h w"], target: Shaped[np.ndarray, "n h w"]) -> Float[np.ndarray, " n"]:
    """2 |P & T| / (|P| + |T|) of each image.

    Args:
      predicted: (N, H, W) bool.
      target: (N, H, W), true or 1 where opacified.

    Returns:
      (N,) in [0, 1]; nan where the target is empty.
    """
    both, areas, target_area = _counts(predicted, target)
    return _ratio(2 * both, areas, defined=target_area > 0)


def iou(predicted: Bool[np.ndarray, "n h w"], target: Shaped[np.ndarray, "n h w"]) -> Float[np.ndarray, " n"]:
    """|P & T| / |P | T| of each image (Jaccard); arguments and nan as `dice`."""
    both, areas, target_area = _counts(predicted, target)
    return _ratio(both, areas - both, defined=target_area > 0)


def iou_adaptive(
    probabilities: Float[np.ndarray, "n h w"], target: Shaped[np.ndarray, "n h w"]
) -> Float[np.ndarray, " n"]:
    """IoU as the release measures it (printed there as F_beta): foreground strictly above twice the mean.

    On an empty mask ours is nan and left out; the release scores 0 there, or NaN for the whole set if the
    prediction is constant.

    Args:
      probabilities: (N, H, W) in [0, 1].
      target: (N, H, W), true or 1 where opacified.

    Returns:
      (N,) in [0, 1]; nan where the target is empty.

    Source: the JCS release's evaluation (IoUEval.py).
    """
    threshold = adaptive_threshold(probabilities)[:, np.newaxis, np.newaxis]
    return iou(_checked(probabilities) > threshold, target)


def mae(probabilities: Float[np.ndarray, "n h w"], target: Shaped[np.ndarray, "n h w"]) -> Float[np.ndarray, " n"]:
    """Mean absolute difference of probability and mask, (N,) in [0, 1]; defined for every image."""
    probabilities = _checked(probabilities)
    return np.abs(probabilities - _mask(target, probabilities.shape)).mean(axis=PIXELS)


def sensitivity(predicted: Bool[np.ndarray, "n h w"], target: Shaped[np.ndarray, "n h w"]) -> Float[np.ndarray, " n"]:
    """Share of the opacified pixels that are predicted, (N,); nan where there are none."""
    both, _, target_area = _counts(predicted, target)
    return _ratio(both, target_area, defined=target_area > 0)


def specificity(predicted: Bool[np.ndarray, "n h w"], target: Shaped[np.ndarray, "n h w"]) -> Float[np.ndarray, " n"]:
    """Share of the clear pixels that are not predicted, (N,); nan where there are none."""
    return sensitivity(~np.asarray(predicted, bool), ~_mask(target, np.shape(predicted)))


def false_positive_area(
    predicted: Bool[np.ndarray, "n h w"], target: Shaped[np.ndarray, "n h w"]
) -> Float[np.ndarray, " n"]:
    """Predicted share of the image where the mask is empty, (N,) in [0, 1]; nan where it isn't."""
    predicted = np.asarray(predicted, bool)
    empty = ~_mask(target, predicted.shape).any(axis=PIXELS)
    return np.where(empty, predicted.mean(axis=PIXELS), np.nan)


def _counts(predicted: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels in both, in the one plus in the other, and in the target; int64 (N,) each."""
    predicted = np.asarray(predicted, bool)
    target = _mask(target, predicted.shape)
    target_area = target.sum(axis=PIXELS)
    return (predicted & target).sum(axis=PIXELS), predicted.sum(axis=PIXELS) + target_area, target_area


def _ratio(numerator: np.ndarray, denominator: np.ndarray, *, defined: np.ndarray) -> np.ndarray:
    result = np.full(numerator.shape, np.nan)
    return np.divide(numerator, denominator, out=result, where=defined)


def _checked(probabilities: np.ndarray) -> np.ndarray:
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 3:
        raise ValueError(f"probabilities must be (N, H, W), got {probabilities.shape}")
    if np.isnan(probabilities).any():
        raise ValueError(f"the prediction of image {int(np.isnan(probabilities).any(axis=PIXELS).argmax())} is NaN")
    return probabilities


def _mask(target: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    target = np.asarray(target)
    if target.shape != shape or target.ndim != 3:
        raise ValueError(f"prediction {shape} and mask {target.shape} must both be one (N, H, W)")
    return target.astype(bool)
