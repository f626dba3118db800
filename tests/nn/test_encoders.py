"""Names and shapes of every encoder stage, odd sizes included, and feature input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import random_variables

from jcs_jax.nn.attention import EnhancedFeatureModule
from jcs_jax.nn.decoder import Decoder, EncoderFusion, SideHeads
from jcs_jax.nn.layers import Style
from jcs_jax.nn.res2net import Bottle2neck, Res2NetEncoder
from jcs_jax.nn.vgg import VGGEncoder

STYLE = Style(norm="none")
VGG = VGGEncoder((2, 3, 4, 5, 6), (1, 2, 1, 1, 2), style=STYLE)
RES2NET = Res2NetEncoder((2, 2, 3), (4, 5, 6, 7), (1, 2, 1, 1), style=STYLE)
SIZES = [(64, 64), (45, 37), (33, 16), (17, 100)]


def _shapes(module, shape, **arguments):
    def run():
        return module.init_with_output(jax.random.key(0), jnp.zeros(shape), **arguments)

    out, variables = jax.eval_shape(run)
    return out, variables["params"]


@pytest.mark.parametrize("size", SIZES)
def test_vgg_halves_three_times_rounding_down_and_not_before_stage_5(size):
    stages, _ = _shapes(VGG, (2, *size, 3))
    sizes = [tuple(side >> power for side in size) for power in (0, 1, 2, 3, 3)]
    expected = {f"stage{i}": (2, *side, i + 1) for i, side in enumerate(sizes, start=1)}
    assert {name: stage.shape for name, stage in stages.items()} == expected


@pytest.mark.parametrize("size", SIZES)
def test_res2net_halves_five_times_rounding_up(size):
    stages, _ = _shapes(RES2NET, (2, *size, 3))
    channels = (3, 16, 20, 24, 28)
    expected = {
        f"stage{i}": (2, *(-(-side // 2 ** (i + 1)) for side in size), features) for i, features in enumerate(channels)
    }
    assert {name: stage.shape for name, stage in stages.items()} == expected


def test_layers_are_named_by_stage():
    _, vgg = _shapes(VGG, (1, 16, 16, 3))
    assert set(vgg) == {"conv1_1", "conv2_1", "conv2_2", "conv3_1", "conv4_1", "conv5_1", "conv5_2"}
    _, res2net = _shapes(RES2NET, (1, 16, 16, 3))
    assert set(res2net) == {
        *("stem1_conv", "stem2_conv", "stem3_conv", "stage1_block0", "stage2_block0", "stage2_block1"),
        *("stage3_block0", "stage4_block0"),
    }
    assert set(res2net["stage1_block0"]) - set(res2net["stage2_block1"]) == {"shortcut_conv"}


@pytest.mark.parametrize(("encoder", "first"), [(VGG, "stage1"), (RES2NET, "stage0")])
def test_an_encoder_goes_on_from_its_own_first_stage_exactly(encoder, first):
    @jax.jit
    def run(variables, images):
        whole = encoder.apply(variables, images)
        return whole, encoder.apply(variables, whole[first], from_features=True)

    images = jax.random.normal(jax.random.key(1), (1, 19, 22, 3))
    whole, rest = run(random_variables(encoder, images), images)
    assert min(float(jnp.abs(stage).max()) for stage in whole.values()) > 0
    jax.tree.map(np.testing.assert_array_equal, whole, rest)


@pytest.mark.parametrize(("planes", "width"), [(64, 26), (128, 52), (256, 104), (512, 208), (1, 1)])
def test_a_split_of_a_block_has_the_width_of_26w_4s(planes, width):
    _, params = _shapes(Bottle2neck(planes, style=STYLE), (1, 4, 4, 4 * planes))
    assert params["expand_conv"]["kernel"].shape == (1, 1, 4 * planes, 4 * width)
    assert [params[f"scale{i}_conv"]["kernel"].shape for i in range(3)] == [(3, 3, width, width)] * 3
    assert params["project_conv"]["kernel"].shape == (1, 1, 4 * width, 4 * planes)


def test_the_sixth_stage_has_half_the_side_of_the_fifth():
    (stage5, stage6), _ = _shapes(EnhancedFeatureModule(8), (1, 5, 4, 6))
    assert (stage5.shape, stage6.shape) == ((1, 5, 4, 8), (1, 2, 2, 8))


@pytest.mark.parametrize("size", [(1, 4), (4, 1), (0, 0)])
def test_a_fifth_stage_too_small_for_a_sixth_is_refused_with_the_cure(size):
    with pytest.raises(ValueError, match=f"{size[0]} x {size[1]}.*at least 16 x 16"):
        _shapes(EnhancedFeatureModule(8), (1, *size, 6))


def test_the_decoders_levels_have_the_sizes_of_their_stages():
    sizes = [(9, 7), (4, 3), (2, 2), (3, 1)]  # the deepest may even be larger than the one before
    stages = [jnp.zeros((2, *size, 5)) for size in sizes]
    levels, variables = jax.eval_shape(lambda: Decoder((4, 6, 8, 10)).init_with_output(jax.random.key(0), stages))
    assert [level.shape for level in levels] == [(2, 9, 7, 4), (2, 4, 3, 6), (2, 2, 2, 8)]
    assert {f"lateral{i}" for i in (1, 2, 3)} <= set(variables["params"])


def test_the_decoder_refuses_another_number_of_stages():
    with pytest.raises(ValueError, match="4 levels but came by 2 stages"):
        Decoder((4, 6, 8, 10)).init(jax.random.key(0), [jnp.zeros((1, 4, 4, 2))] * 2)


def test_side_heads_give_one_logit_per_level_at_the_wanted_size():
    levels = [jnp.ones((2, 3, 4, 5)), jnp.ones((2, 6, 8, 7))]
    variables = random_variables(SideHeads(), levels, (11, 13))
    logits = jax.jit(lambda: SideHeads().apply(variables, levels, (11, 13)))()
    assert logits.shape == (2, 11, 13, 2)
    assert set(variables["params"]) == {"side1", "side2"}
    kernel = variables["params"]["side2"]["kernel"]
    expected = kernel.sum() + variables["params"]["side2"]["bias"]
    np.testing.assert_allclose(logits[..., 1], np.full((2, 11, 13), expected), rtol=1e-5)


def test_fusion_takes_res2nets_sizes_and_puts_vgg_first():
    vgg, res2net = [jnp.ones((1, 8, 6, 2))], [jnp.ones((1, 4, 3, 5))]
    module = EncoderFusion((7,), style=STYLE)
    variables = random_variables(module, vgg, res2net)
    assert [x.shape for x in jax.eval_shape(lambda: module.apply(variables, vgg, res2net))] == [(1, 4, 3, 7)]
    params = variables["params"]
    assert params["join1"]["conv"]["kernel"].shape == (3, 3, 7, 7)
    params["join1"]["conv"]["kernel"] = jnp.zeros((3, 3, 7, 7)).at[1, 1, 0, 0].set(1.0)  # reads VGG's first channel
    apply = jax.jit(module.apply)
    one, other = (apply(variables, vgg, [factor * res2net[0]])[0] for factor in (1, 2))
    np.testing.assert_array_equal(one, other)
    assert np.abs(apply(variables, [2 * vgg[0]], res2net)[0] - one).max() > 0
