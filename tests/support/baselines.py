"""The baselines, as narrow as `tiny` makes the networks of JCS."""

from __future__ import annotations

import dataclasses
from typing import Any

import tiny

from jcs_jax.models.presets import Preset, get_preset
from jcs_jax.preprocessing import Preprocessing

OPTIONS: dict[str, dict[str, Any]] = {
    "unet": {"channels": (4, 4, 4, 4, 4)},
    "res2net_segmenter": {**tiny.RES2NET, **tiny.DECODER},
}
SIDE_MAPS = {"unet": 1, "res2net_segmenter": 5}


def preset(architecture: str, *, side: int = tiny.SIDE, **options: Any) -> Preset:
    """The `_tiny` preset of a baseline, far narrower and with a small input."""
    given = get_preset(f"{architecture}_tiny")
    merged = {**given.options, **OPTIONS[architecture], **options}
    return dataclasses.replace(given, options=merged, preprocessing=Preprocessing(size=(side, side)))
