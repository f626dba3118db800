"""Names of networks: sizes, preprocessing and where they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from jcs_jax.models.classifier import Classifier
from jcs_jax.models.ensemble import Ensemble
from jcs_jax.models.inputs import STAGE_FEATURES
from jcs_jax.models.joint import JointNetwork
from jcs_jax.models.operating_point import FamiliarFeatures, PatientRule
from jcs_jax.models.res2net_segmenter import Res2NetSegmenter
from jcs_jax.models.segmenter import Segmenter
from jcs_jax.models.sizes import SHIPPED, SMALL, TINY, Options
from jcs_jax.models.unet import UNet
from jcs_jax.nn.convolution import transformed_kernels
from jcs_jax.nn.layers import Convolutions, Style
from jcs_jax.preprocessing import Preprocessing

Architecture = Literal["classifier", "segmenter", "joint", "unet", "res2net_segmenter"]
_MODULES: dict[Architecture, type[nn.Module]] = {
    "classifier": Classifier,
    "segmenter": Segmenter,
    "joint": JointNetwork,
    "unet": UNet,
    "res2net_segmenter": Res2NetSegmenter,
}
_STYLE_OPTIONS = tuple(field.name for field in dataclasses.fields(Style))


@dataclasses.dataclass(frozen=True)
class Preset:
    """A network by name with everything needed to feed it and to read its output.

    Attributes:
      name: e.g. `joint_tiny`.
      architecture: `classifier`, `segmenter`, `joint`, or of the baselines `unet` or `res2net_segmenter`.
      options: arguments of the module, and `norm`; plain values. With `members` above 1 an ensemble of such modules.
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
_FROM_SCRATCH = "JCS design, narrower and shallower, group norm, for training from scratch; no weights"
_BASELINES: dict[str, str] = {
    "unet": "U-Net (Ronneberger et al., MICCAI 2015), padded, bilinear upsampling, group norm; a baseline, no weights",
    "res2net_segmenter": "JCS's joint network without VGG, group norm; a baseline, no weights",
}


def _family(suffix: str, sizes: Mapping[str, Options], side: int) -> list[Preset]:
    return [
        Preset(
            f"{architecture}_{suffix}",
            architecture,
            {**sizes[architecture], "norm": "group"},
            Preprocessing(size=(side, side)),
            source=_BASELINES.get(architecture, _FROM_SCRATCH),
        )
        for architecture in _MODULES
    ]


def _reference_baseline(name: str, architecture: Architecture) -> Preset:
    """As wide as published, and fed as the reference's segmenter is."""
    preprocessing = Preprocessing((512, 512), antialias=False)
    return Preset(name, architecture, {"norm": "group"}, preprocessing, source=_BASELINES[architecture])


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
        _reference_baseline("unet", "unet"),
        _reference_baseline("res2net50_segmenter", "res2net_segmenter"),
        Preset("jcs_tiny", "joint", {**SHIPPED, "norm": "group"}, Preprocessing((192, 192)), source=_FROM_SCRATCH),
        *_family("small", SMALL, 224),
        *_family("tiny", TINY, 128),
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
    members = options.pop("members", 1)
    module = _MODULES[preset.architecture]
    known = [
        *(f.name for f in dataclasses.fields(module) if f.name not in ("style", "parent", "name")),
        *_STYLE_OPTIONS,
    ]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"{preset.name} has no option {', '.join(unknown)}; it has {', '.join(known)}")
    style = Style(**{key: options.pop(key) for key in _STYLE_OPTIONS if key in options})
    network = module(**options, style=style)
    return Ensemble(network, members) if members > 1 else network


def with_convolutions(model: nn.Module, convolutions: Convolutions) -> nn.Module:
    """The same network with its convolutions in another form; one that isn't of `build` stays as it is."""
    if isinstance(model, Ensemble):
        return model.clone(member=with_convolutions(model.member, convolutions))
    style = getattr(model, "style", None)
    return model.clone(style=dataclasses.replace(style, convolutions=convolutions)) if style else model


def with_transformed_kernels(model: nn.Module, variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """Variables to infer with, kernels transformed once where the forms for CPUs want them so.

    Args:
      model: a network; unless its convolutions have those forms, nothing is added.
      variables: of the network.
    """
    style = getattr(model, "style", None)
    if style is None or style.convolutions != "cpu":
        return variables
    return {**variables, **transformed_kernels(variables["params"])}


def create_model(name: str, **overrides: Any) -> nn.Module:
    """Creates a network by name.

    Args:
      name: `classifier`, `segmenter`, `joint` at the reference's sizes, or one of these with `_small`, `_tiny`; the
        baselines `unet` and `res2net50_segmenter`, or `unet` and `res2net_segmenter` with `_small`, `_tiny`.
      **overrides: arguments of the module, e.g. `norm="batch"`, `dtype=jnp.bfloat16`, `classes=2`,
        `remat=True`.

    Returns:
      A Linen module; `model.apply(variables, images, train=False)` takes (N, H, W, 3) float32, normalised,
      and returns a `ModelOutput`.

    Raises:
      ValueError: for an unknown name or option.
    """
    return build(get_preset(name), **overrides)
