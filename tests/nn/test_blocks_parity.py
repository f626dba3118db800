"""Every block against the reference's numbers, in float64 and float32, odd sizes included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from jcs_jax.convert import torch_names
from jcs_jax.nn.attention import AttentiveFeatureFusion, GroupedAtrousModule
from jcs_jax.nn.decoder import EncoderFusion
from jcs_jax.nn.layers import SqueezeExcite, Style, resize_bilinear
from jcs_jax.nn.res2net import Bottle2neck

GOLDEN = reference.load("blocks")
PLAIN = Style(norm="none")
BLOCKS = {
    "se_reduction4": (SqueezeExcite(8), torch_names.SQUEEZE_EXCITE),
    "gam_1369": (GroupedAtrousModule(32, (1, 3, 6, 9), style=PLAIN), torch_names.grouped_atrous()),
    "gam_1234": (GroupedAtrousModule(32, (1, 2, 3, 4), style=PLAIN), torch_names.grouped_atrous()),
    "aff": (AttentiveFeatureFusion(32, style=PLAIN), torch_names.attentive_fusion()),
    "bottle2neck_normal": (Bottle2neck(16), torch_names.bottle2neck()),
    "bottle2neck_stage_stride1": (Bottle2neck(32, 1, downsample=True), torch_names.bottle2neck()),
    "bottle2neck_stage_stride2": (Bottle2neck(32, 2, downsample=True), torch_names.bottle2neck()),
}
RESIZES = sorted({key.split("/")[1] for key in GOLDEN if key.startswith("resize/")})


def _inputs(block: str) -> list[np.ndarray]:
    names = sorted(key for key in GOLDEN if key.startswith(f"{block}/in"))
    return [reference.nhwc(GOLDEN[name]) for name in names]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("x64", "tolerance"), [(True, 1e-12), (False, 2e-6)])
def test_block_equals_the_reference(block, x64, tolerance):
    module, names = BLOCKS[block]
    expected = reference.nhwc(GOLDEN[f"{block}/out"])
    with jax.enable_x64(x64):
        inputs = _inputs(block)
        variables = reference.block_variables(module, block, names, *inputs)
        if x64:
            variables, inputs = reference.as_float64(variables), reference.as_float64(inputs)
        out = module.apply(variables, *inputs)
        assert out.dtype == ("float64" if x64 else "float32")
        np.testing.assert_allclose(out, expected, atol=tolerance * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize(("x64", "tolerance"), [(True, 1e-12), (False, 2e-6)])
def test_fusion_of_the_encoders_equals_the_reference(x64, tolerance):
    block, channels = "backbone_fusion", (8,) * 5
    module = EncoderFusion(channels, style=Style(norm="fixed_statistics"))
    with jax.enable_x64(x64):
        vgg = [reference.nhwc(GOLDEN[f"{block}/vgg{level}"]) for level in range(5)]
        res2net = [reference.nhwc(GOLDEN[f"{block}/res2net{level}"]) for level in range(5)]
        variables = reference.block_variables(module, block, torch_names.encoder_fusion(), vgg, res2net)
        if x64:
            variables, vgg, res2net = (reference.as_float64(tree) for tree in (variables, vgg, res2net))
        out = module.apply(variables, vgg, res2net)
        for level, value in enumerate(out):
            expected = reference.nhwc(GOLDEN[f"{block}/out{level}"])
            np.testing.assert_allclose(value, expected, atol=tolerance * np.abs(expected).max(), rtol=0)


def test_float32_weights_in_a_float64_computation_lose_nothing():
    block, style = "backbone_fusion", Style(norm="fixed_statistics", dtype=jnp.float64)
    module = EncoderFusion((8,) * 5, style=style)
    normal = Bottle2neck(16, style=Style(dtype=jnp.float64))
    with jax.enable_x64(True):
        vgg = [reference.nhwc(GOLDEN[f"{block}/vgg{level}"]).astype(np.float64) for level in range(5)]
        res2net = [reference.nhwc(GOLDEN[f"{block}/res2net{level}"]).astype(np.float64) for level in range(5)]
        variables = reference.block_variables(module, block, torch_names.encoder_fusion(), vgg, res2net)
        expected = reference.nhwc(GOLDEN[f"{block}/out0"])
        np.testing.assert_allclose(module.apply(variables, vgg, res2net)[0], expected, atol=1e-12, rtol=1e-12)
        (x,) = _inputs("bottle2neck_normal")
        variables = reference.block_variables(normal, "bottle2neck_normal", torch_names.bottle2neck(), x)
        expected = reference.nhwc(GOLDEN["bottle2neck_normal/out"])
        np.testing.assert_allclose(normal.apply(variables, x), expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("case", RESIZES)
@pytest.mark.parametrize(("x64", "tolerance"), [(True, 1e-7), (False, 1e-5)])
def test_resize_equals_the_reference_up_and_down(case, x64, tolerance):
    size = tuple(int(side) for side in case.split("-")[1].split("x"))
    x = reference.nhwc(GOLDEN[f"resize/{case}/in0"])
    with jax.enable_x64(x64):
        out = resize_bilinear(jax.numpy.asarray(x, "float64" if x64 else "float32"), size)
        np.testing.assert_allclose(out, reference.nhwc(GOLDEN[f"resize/{case}/out"]), atol=tolerance, rtol=0)
