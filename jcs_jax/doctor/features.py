"""Stored first-stage features: are they on the scale that the networks expect?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jcs_jax.data.examples import Example
from jcs_jax.doctor.findings import Finding, percent
from jcs_jax.preprocessing import FEATURE_SCALE

_CHECK = "stored features"
_MOST_SATURATED, _MOST_ZEROS = 0.01, 0.98
_SMALLEST_PEAK = 10  # steps, half a unit: features stored without their factor reach less


@dataclasses.dataclass(frozen=True)
class FeatureLook:
    """What is to be known of one slice's stored features of one encoder.

    Attributes:
      encoder: `vgg_features` or `res2net_features`.
      zeros: share of the values that are 0.
      saturated: share of the values that are 255.
      peak: 99.9th percentile, in steps of 1/20.
    """

    encoder: str
    zeros: float
    saturated: float
    peak: float


def look_at_features(example: Example) -> list[FeatureLook]:
    """Measures the stored features of a slice; nothing where it has a picture."""
    return [
        FeatureLook(name, float((array == 0).mean()), float((array == 255).mean()), float(np.percentile(array, 99.9)))
        for name, array in example.stage_features.items()
    ]


def check_features(looks: Sequence[FeatureLook], info: Mapping[str, str | int], *, pictures: int) -> list[Finding]:
    """Judges the stored features of all slices, encoder by encoder; nothing without any.

    Args:
      looks: at the sample.
      info: what the data set says of itself.
      pictures: slices of the sample that have a picture instead.
    """
    if not looks:
        return []
    findings = []
    if pictures:
        found = f"{pictures} slices looked at are pictures and others stored features: no batch can hold both"
        findings.append(Finding(_CHECK, "error", found, "train on one kind only", {"pictures": pictures}))
    scale = info.get("feature_scale", FEATURE_SCALE)
    if scale != FEATURE_SCALE:
        found = f"the data set's features have {scale} steps to the unit; the networks divide by {FEATURE_SCALE}"
        cure = f"store them with {FEATURE_SCALE} steps to the unit"
        findings.append(Finding(_CHECK, "error", found, cure, {"feature_scale": scale}))
    for encoder in dict.fromkeys(look.encoder for look in looks):
        findings.append(_judge(encoder, [look for look in looks if look.encoder == encoder]))
    return findings


def _judge(encoder: str, looks: Sequence[FeatureLook]) -> Finding:
    zeros, saturated = (float(np.mean([getattr(look, name) for look in looks])) for name in ("zeros", "saturated"))
    peak = float(np.median([look.peak for look in looks]))
    numbers = {
        "encoder": encoder,
        "slices": len(looks),
        "zeros": zeros,
        "saturated": saturated,
        "peak": peak / FEATURE_SCALE,
    }
    told = (
        f"{encoder} of {len(looks)} slices: {percent(zeros)} zeros, {percent(saturated)} saturated (255), 99.9th "
        f"percentile {peak / FEATURE_SCALE:.2f}"
    )
    if saturated > _MOST_SATURATED or peak < _SMALLEST_PEAK or zeros > _MOST_ZEROS:
        cure = f"store the encoder's output after its ReLU times {FEATURE_SCALE}, clipped at 255, as uint8"
        return Finding(_CHECK, "warning", f"{told}: not the scale of a first stage", cure, numbers)
    return Finding(_CHECK, "ok", told, numbers=numbers)
