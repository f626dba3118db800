"""Names of networks: sizes, preprocessing and where they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from jcs_jax.models.classifier import Classifier
from jcs_jax.models.inputs import STAGE_FEATURES
from jcs_jax.models.joint import JointNetwork
from jcs_jax.models.operating_point import FamiliarFeatures, PatientRule
from jcs_jax.models.segmenter import Segmenter
from jcs_jax.nn.layers import Style
from jcs_jax.preprocessing import Preprocessing

Architecture = Literal["classifier", "segmenter", "joint"]
_MODULES: dict[Architecture, type[nn.Module]] = {
    "classifier": Classifier,
    "segmenter": Segmenter,
    "joint": JointNetwork,
}
_STYLE_OPTIONS = tuple(field.name for field in dataclasses.fields(Style))


@dataclasses.dataclass(frozen=True)
class Preset:
    """A network by name with everything needed to feed it and to read its output.

    Attributes:
      name: e.g. `joint_tiny`.
      architecture: `classifier`, `segmenter` or `joint`.
      options: arguments of the module, and `norm`; plain values.
      preprocessing: how a slice becomes its input.
      class_threshold: probability of infection from which a slice counts as positive.
      mask_threshold: probability from which a pixel counts as opacified.
      source: where the design or the weights come from.
      patient: how slices' answers become one for a patient.
      familiar: what the class features are like on known data; None where nobody measured it.
    """

    name: str
    architecture: Architecture
    options: Mapping[str, Any]
    preprocessing: Preprocessing
    class_threshold: float = 0.5
    mask_threshold: float = 0.5
    source: str = "JCS reimplementation; no weights"
    patient: PatientRule = dataclasses.field(default_factory=PatientRule)
    familiar: FamiliarFeatures | None = None

    @property
    def stage_features(self) -> tuple[str, ...]:
        """The stored first-stage features that can take the image's place, by the name of the network's argument."""
        return STAGE_FEATURES[self.architecture]

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values that `from_json` reads."""
        dtypes = {
            key: jnp.dtype(value).name
            for key, value in self.options.items()
            if key in ("dtype", "param_dtype") and value is not None
        }
        return {
            **dataclasses.asdict(self),
            "options": {**self.options, **dtypes},
            "preprocessing": self.preprocessing.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Preset:
        """Rebuilds what `to_json` wrote (lists become tuples); an unknown key raises TypeError."""
        options = {key: tuple(value) if isinstance(value, list) else value for key, value in values["options"].items()}
        preprocessing = Preprocessing.from_json(values["preprocessing"])
        patient = PatientRule(**values.get("patient", {}))
        familiar = FamiliarFeatures.from_json(values["familiar"]) if values.get("familiar") else None
        rebuilt = {"options": options, "preprocessing": preprocessing, "patient": patient, "familiar": familiar}
        return cls(**{**values, **rebuilt})


_REFERENCE = "sizes of the JCS release (Wu et al., IEEE TIP 2021)"
_SMALL_ENCODERS: dict[str, dict[str, Any]] = {
    "vgg": {"vgg_channels": (16, 32, 64, 128, 128), "vgg_depths": (2, 2, 2, 2, 2)},
    "res2net": {"stem": (16, 16, 32), "planes": (32, 48, 64, 96), "depths": (2, 2, 3, 2)},
    "decoder": {"decoder_channels": (16, 32, 64, 128, 128, 128)},
}
_TINY_ENCODERS: dict[str, dict[str, Any]] = {
    "vgg": {"vgg_channels": (8, 16, 32, 48, 64), "vgg_depths": (1, 1, 2, 2, 2)},
    "res2net": {"stem": (8, 8, 16), "planes": (16, 24, 32, 48), "depths": (1, 1, 2, 1)},
    "decoder": {"decoder_channels": (8, 16, 32, 48, 64, 64)},
}


def _family(suffix: str, parts: dict[str, dict[str, Any]], fusion: tuple[int, ...], size: int) -> list[Preset]:
    preprocessing = Preprocessing(size=(size, size))
    source = "JCS design, narrower and shallower, group norm, for training from scratch; no weights"
    options: dict[Architecture, dict[str, Any]] = {
        "classifier": parts["res2net"],
        "segmenter": {**parts["vgg"], **parts["decoder"]},
        "joint": {
            **parts["vgg"],
            **parts["res2net"],
            **parts["decoder"],
            "fusion_channels": fusion,
            "classes": 2,
        },
    }
    return [
        Preset(
            f"{architecture}_{suffix}",
            architecture,
            {**values, "norm": "group"},
            preprocessing,
            source=source,
        )
        for architecture, values in options.items()
    ]


_PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "classifier",
            "classifier",
            {"norm": "frozen"},
            Preprocessing(size=(224, 224), geometry="centre_crop", shorter_side=256, antialias=False),
            source=_REFERENCE,
        ),
        Preset(
            "segmenter",
            "segmenter",
            {"norm": "frozen"},
            Preprocessing((512, 512), antialias=False),
            source=_REFERENCE,
        ),
        Preset(
            "joint",
            "joint",
            {"norm": "frozen"},
            Preprocessing((512, 512), antialias=False),
            source=_REFERENCE,
        ),
        *_family("small", _SMALL_ENCODERS, (16, 32, 64, 128, 128), 224),
        *_family("tiny", _TINY_ENCODERS, (8, 16, 32, 48, 64), 128),
    )
}


def preset_names() -> list[str]:
    """All names that `get_preset` and `create_model` know."""
    return list(_PRESETS)


def get_preset(name: str) -> Preset:
    """Returns the preset of that name.

    Raises:
      ValueError: if there is none; the message lists the names.
    """
    if name not in _PRESETS:
        raise ValueError(f"no network is called {name!r}; choose one of {', '.join(_PRESETS)}")
    return _PRESETS[name]


def build(preset: Preset, **overrides: Any) -> nn.Module:
    """The Flax module of a preset.

    Args:
      preset: what to build.
      **overrides: arguments of the module, or `norm`, `dtype`, `param_dtype`, `remat`, that replace the preset's.

    Raises:
      ValueError: for an architecture that isn't there or an argument that the module doesn't have; the message
        lists those there are.
    """
    if preset.architecture not in _MODULES:
        raise ValueError(f"no architecture is called {preset.architecture!r}; choose one of {', '.join(_MODULES)}")
    options = {**preset.options, **overrides}
    module = _MODULES[preset.architecture]
    known = [
        *(f.name for f in dataclasses.fields(module) if f.name not in ("style", "parent", "name")),
        *_STYLE_OPTIONS,
    ]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"{preset.name} has no option {', '.join(unknown)}; it has {', '.join(known)}")
    style = Style(**{key: options.pop(key) for key in _STYLE_OPTIONS if key in options})
    return module(**options, style=style)


def create_model(name: str, **overrides: Any) -> nn.Module:
    """Creates a network by name.

    Args:
      name: `classifier`, `segmenter`, `joint` at the reference's sizes, or one of these with `_small`, `_tiny`.
      **overrides: arguments of the module, e.g. `norm="batch"`, `dtype=jnp.bfloat16`, `classes=2`,
        `remat=True`.

    Returns:
      A Linen module; `model.apply(variables, images, train=False)` takes (N, H, W, 3) float32, normalised,
      and returns a `ModelOutput`.

    Raises:
      ValueError: for an unknown name or option.
    """
    return build(get_preset(name), **overrides)
