"""Which module of the PyTorch release each module of ours was; tables, one per block, composed like the blocks."""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn

from jcs_jax.models.classifier import Classifier
from jcs_jax.models.joint import JointNetwork
from jcs_jax.models.segmenter import Segmenter

Names = dict[str, str]
SQUEEZE_EXCITE: Names = {"reduce": "linear1", "expand": "linear2"}
# torchvision's vgg16_bn numbers its layers; these are its convolutions, in order. The norm follows each.
TORCHVISION_VGG16_BN = (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)


def under(ours: str, theirs: str, names: Mapping[str, str]) -> Names:
    """Puts a block's table under a module name on each side."""
    return {f"{ours}/{key}": f"{theirs}.{value}" for key, value in names.items()}


def conv_norm_act() -> Names:
    """Names within one convolution with norm and ReLU."""
    return {"conv": "conv", "norm": "bn"}


def grouped_atrous() -> Names:
    """Names within a grouped atrous module ("GPD")."""
    names = {f"atrous{index}": f"dilation_convs.{index}" for index in range(4)}
    names |= under("attention", "se_block", SQUEEZE_EXCITE)
    for ours, theirs in (("expand", "expand_conv"), ("reduce", "reduce_conv"), ("output", "end_conv")):
        names |= under(ours, theirs, conv_norm_act())
    return names


def attentive_fusion() -> Names:
    """Names within an attentive feature fusion ("FuseModule")."""
    names = under("attention_both", "se1", SQUEEZE_EXCITE) | under("attention_high", "se2", SQUEEZE_EXCITE)
    for ours, theirs in (("mix", "conv1"), ("reduce", "reduce_conv"), ("output", "conv2")):
        names |= under(ours, theirs, conv_norm_act())
    return names


def bottle2neck() -> Names:
    """Names within a Res2Net block."""
    names = {"expand_conv": "conv1", "expand_norm": "bn1", "project_conv": "conv3", "project_norm": "bn3"}
    names |= {"shortcut_conv": "downsample.1", "shortcut_norm": "downsample.2"}
    for index in range(3):
        names |= {f"scale{index}_conv": f"convs.{index}", f"scale{index}_norm": f"bns.{index}"}
    return names


def encoder_fusion(levels: int = 5) -> Names:
    """Names within the fusion of the two encoders."""
    names: Names = {}
    for ours, theirs in (("join", "cat_modules"), ("refine", "se_modules"), ("output", "fuse_modules")):
        for level in range(levels):
            names |= under(f"{ours}{level + 1}", f"{theirs}.{level}", conv_norm_act())
    return names


def res2net(depths: tuple[int, ...]) -> Names:
    """Names within the Res2Net encoder, whose stem is numbered as one sequence."""
    names = {"stem1_conv": "conv1.0", "stem1_norm": "conv1.1", "stem2_conv": "conv1.3", "stem2_norm": "conv1.4"}
    names |= {"stem3_conv": "conv1.6", "stem3_norm": "bn1"}
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            names |= under(f"stage{stage}_block{block}", f"layer{stage}.{block}", bottle2neck())
    return names


def vgg(depths: tuple[int, ...]) -> Names:
    """Names within the VGG encoder."""
    names: Names = {}
    for stage, depth in enumerate(depths, start=1):
        for index in range(1, depth + 1):
            names |= under(f"conv{stage}_{index}", f"conv{stage}_{index}", conv_norm_act())
    return names


def torchvision_vgg(depths: tuple[int, ...]) -> Names:
    """Names within the VGG encoder as torchvision publishes it (`features.0` and so on)."""
    layers = iter(TORCHVISION_VGG16_BN)
    names: Names = {}
    for stage, depth in enumerate(depths, start=1):
        for index in range(1, depth + 1):
            number = next(layers)
            names[f"conv{stage}_{index}/conv"] = f"features.{number}"
            names[f"conv{stage}_{index}/norm"] = f"features.{number + 1}"
    return names


def _decoder(levels: int) -> Names:
    names = under("deepest_lateral", f"fpn.inners_a.{levels}", conv_norm_act())
    names |= under("deepest", f"fpn.fuse.{levels}", conv_norm_act())
    for level in range(levels):
        names |= under(f"lateral{level + 1}", f"fpn.inners_a.{level}", conv_norm_act())
        names |= under(f"above{level + 1}", f"fpn.inners_b.{level}", conv_norm_act())
        names |= under(f"fusion{level + 1}", f"fpn.fuse.{level}", attentive_fusion())
    return names


def _segmentation(model: Segmenter | JointNetwork) -> Names:
    levels = len(model.decoder_channels) - 1
    names = under("vgg", "vgg16", vgg(tuple(model.vgg_depths)))
    names |= under("enhanced/gam5", "gpd", grouped_atrous()) | under("enhanced/gam6", "gpd1", grouped_atrous())
    names |= {f"decoder/{key}": value for key, value in _decoder(levels).items()}
    return names | {f"heads/side{level + 1}": f"cls{level + 1}" for level in range(levels)}


def module_names(model: nn.Module) -> Names:
    """Path of every module that can hold parameters -> its dotted name in the release.

    Args:
      model: a classifier, segmenter or joint network of any size.
    """
    if isinstance(model, Classifier):
        encoder = {f"res2net/{key}": value for key, value in res2net(tuple(model.depths)).items()}
        return encoder | {"class_head": "fc"}
    if isinstance(model, Segmenter):
        return _segmentation(model)
    if isinstance(model, JointNetwork):
        names = _segmentation(model) | under("res2net", "res2net", res2net(tuple(model.depths)))
        return names | under("fusion", "fuse", encoder_fusion()) | {"class_head": "fc"}
    raise ValueError(f"the release has no network like {type(model).__name__}")
