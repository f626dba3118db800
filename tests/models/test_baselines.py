"""The U-Net and the Res2Net segmenter: sizes by hand, shapes, gradients, stored features, and folders."""

import functools

import baselines
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jcs_jax.checkpoints import load_model, save_model
from jcs_jax.losses import deep_supervision_loss, per_image_deep_supervision
from jcs_jax.models import create_model
from jcs_jax.models.output import lesion_probability
from jcs_jax.models.presets import build
from jcs_jax.nn.layers import Style
from jcs_jax.nn.unet import UNetDecoder, UNetEncoder

SIZE = (37, 43)  # odd at most stages


@functools.cache
def _network(architecture: str, **options):
    """Module, variables and two images."""
    model = build(baselines.preset(architecture, **options))
    images = jax.random.normal(jax.random.key(1), (2, *SIZE, 3))
    return model, tiny.random_variables(model, images), images


@functools.cache
def _shapes(name: str):
    model = create_model(name)
    return jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 48, 48, 3))))["params"]


def _parameters(name: str, part: str | None = None) -> int:
    params = _shapes(name)
    return sum(leaf.size for leaf in jax.tree.leaves(params[part] if part else params))


def test_the_u_net_has_the_papers_convolutions_and_a_1x1_in_place_of_each_transposed_one():
    widths = (64, 128, 256, 512, 1024)
    norm = 3  # scale and bias of the norm, and the convolution's bias
    encoder = sum(
        9 * before * width + 9 * width**2 + 2 * norm * width
        for before, width in zip((3, *widths), widths, strict=False)
    )
    decoder = sum(
        2 * width * width + width + 9 * 2 * width * width + 9 * width**2 + 2 * norm * width for width in widths[:4]
    )
    assert _parameters("unet", "unet") == encoder
    assert _parameters("unet", "decoder") == decoder
    assert _parameters("unet") == encoder + decoder + 64 + 1


@pytest.mark.parametrize(("size", "tolerance"), [("small", 0.05), ("tiny", 0.1)])
@pytest.mark.parametrize("architecture", baselines.OPTIONS)
def test_a_baseline_has_about_as_many_parameters_as_the_segmenter_it_is_compared_with(architecture, size, tolerance):
    assert _parameters(f"{architecture}_{size}") == pytest.approx(_parameters(f"segmenter_{size}"), rel=tolerance)


@pytest.mark.parametrize("size", ["small", "tiny"])
def test_the_encoder_is_that_of_the_family_so_that_a_classifiers_weights_fit(size):
    assert _shapes(f"res2net_segmenter_{size}")["res2net"] == _shapes(f"classifier_{size}")["res2net"]


def test_the_published_encoder_is_a_res2net_50():
    # Its authors give 25.72 M with the class layer, of 2048 x 1000 + 1000.
    assert _parameters("res2net50_segmenter", "res2net") == pytest.approx(25.72e6 - 2_049_000, rel=1e-3)


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (64, 16), (45, 37)])
def test_the_u_nets_stages_halve_and_its_levels_have_their_size(size):
    model = build(baselines.preset("unet", channels=(4, 6, 8, 10, 12)))
    output, _ = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), jnp.zeros((2, *size, 3))))
    halved = [tuple(side // 2**k for side in size) for k in range(5)]
    for k, channels in enumerate((4, 6, 8, 10, 12)):
        assert output.intermediates[f"unet.stage{k + 1}"].shape == (2, *halved[k], channels)
        if k < 4:
            assert output.intermediates[f"decoder.level{k + 1}"].shape == (2, *halved[k], channels)
    assert output.side_logits.shape == (2, *size, 1)


@pytest.mark.parametrize("size", [(33, 33), (64, 47), (96, 40)])
def test_the_res2net_segmenter_decodes_from_half_of_the_size(size):
    model = build(baselines.preset("res2net_segmenter"))
    output, _ = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), jnp.zeros((2, *size, 3))))
    assert output.intermediates["decoder.level1"].shape[1:3] == tuple(-(-side // 2) for side in size)
    assert output.intermediates["context.stage6"].shape[1:3] == tuple(-(-side // 32) // 2 for side in size)
    assert output.side_logits.shape == (2, *size, 5)


@pytest.mark.parametrize("side", [16, 17, 31, 32])
def test_the_res2net_segmenter_repeats_a_last_stage_of_one_pixel(side):
    model = build(baselines.preset("res2net_segmenter"))
    images = jnp.zeros((1, side, 64, 3))
    output, _ = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), images))
    assert output.intermediates["res2net.stage4"].shape == (1, 1, 2, 16)
    assert output.intermediates["context.stage5"].shape == (1, 2, 2, 4)
    assert output.side_logits.shape == (1, side, 64, 5)


@pytest.mark.parametrize("size", [(15, 64), (64, 15), (1, 1)])
@pytest.mark.parametrize("architecture", baselines.OPTIONS)
def test_an_image_too_small_is_refused_with_the_cure(architecture, size):
    model = build(baselines.preset(architecture))
    with pytest.raises(ValueError, match=f"{size[0]} x {size[1]}.*give images of at least 16 x 16"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, *size, 3))))


@pytest.mark.parametrize("architecture", baselines.OPTIONS)
def test_the_gradient_reaches_every_parameter_and_is_finite(architecture):
    # Without norms: one takes the offset of a convolution's bias away, and all that a single pixel says.
    model, variables, images = _network(architecture, norm="none")
    masks = (images[..., 0] > 0).astype(jnp.float32)

    def loss(params):
        return per_image_deep_supervision(model.apply({"params": params}, images, train=True).side_logits, masks).sum()

    gradient = tiny.quick_jit(jax.grad(loss))
    reached = set()
    for seed in range(6):  # of one seed some ReLUs are dead
        found = gradient(tiny.random_variables(model, images, seed=seed)["params"])
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(found))
        paths = jax.tree_util.tree_leaves_with_path(found)
        reached |= {jax.tree_util.keystr(path) for path, leaf in paths if float(jnp.abs(leaf).max()) > 0}
    every = {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(variables["params"])}
    assert every - reached == set()


def test_one_map_alone_is_the_answer_and_its_loss_the_whole_loss():
    model, variables, images = _network("unet")
    output = tiny.quick_jit(model.apply)(variables, images)
    logits = np.asarray(output.side_logits, np.float64)
    np.testing.assert_allclose(lesion_probability(output), 1 / (1 + np.exp(-logits[..., 0])), rtol=1e-5)
    masks = np.asarray(images[..., 1] > 0, np.float64)
    probability = 1 / (1 + np.exp(-logits[..., 0]))
    bce = -(masks * np.log(probability) + (1 - masks) * np.log(1 - probability))
    axes = (1, 2)
    dice = (2 * (probability * masks).sum(axes) + 1e-5) / (probability.sum(axes) + masks.sum(axes) + 1e-5)
    np.testing.assert_allclose(
        per_image_deep_supervision(output.side_logits, masks), bce.mean(axes) + 1 - dice, rtol=1e-4
    )
    assert deep_supervision_loss(output.side_logits, jnp.asarray(masks)).shape == (1,)


def _copying(module, *inputs):
    """Variables with which each 3x3 convolution adds up its channels and looks at no neighbour."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    return jax.tree.map(lambda leaf: leaf.at[1, 1].set(1.0) if leaf.shape[:2] == (3, 3) else leaf, zeros)


def test_a_skip_and_the_level_above_are_joined_channel_by_channel():
    module = UNetDecoder(style=Style("none"))
    fine, coarse = jnp.full((1, 4, 4, 1), 3.0), jnp.full((1, 2, 2, 2), 1.0).at[..., 1].set(10.0)
    variables = _copying(module, [fine, coarse])
    variables["params"]["above1"]["kernel"] = jnp.array([[[[2.0], [0.5]]]])  # 2 x 1 + 0.5 x 10 = 7
    (level,) = module.apply(variables, [fine, coarse])
    np.testing.assert_allclose(level, np.full((1, 4, 4, 1), 3.0 + 7.0))


def test_the_encoder_pools_before_each_stage_but_the_first():
    module = UNetEncoder((1, 1), style=Style("none"))
    image = jnp.arange(16.0).reshape(1, 4, 4, 1)
    first, second = module.apply(_copying(module, image), image)
    np.testing.assert_array_equal(first, image)
    np.testing.assert_array_equal(second[0, ..., 0], [[5, 7], [13, 15]])


def test_an_image_is_judged_by_itself():
    model, variables, images = _network("unet")
    apply = tiny.quick_jit(model.apply)
    together, changed = apply(variables, images), apply(variables, images.at[1:].set(7.0))
    np.testing.assert_array_equal(together.side_logits[0], changed.side_logits[0])


def test_batch_norm_reaches_the_decoders_and_a_frozen_one_does_not():
    for architecture in baselines.OPTIONS:
        encoder = "unet" if architecture == "unet" else "res2net"
        outside = {"decoder"} if architecture == "unet" else {"decoder", "enhanced"}
        assert set(_network(architecture, norm="batch")[1]["batch_stats"]) == {encoder} | outside
        assert set(_network(architecture, norm="frozen")[1]["batch_stats"]) == {encoder}


class TestStoredFeatures:
    def test_they_give_exactly_what_the_image_gives(self):
        model, variables, images = _network("res2net_segmenter")

        @tiny.quick_jit
        def run(images):
            whole = model.apply(variables, images)
            features = whole.intermediates["res2net.stage0"]
            return whole, model.apply(variables, images + jnp.nan, res2net_features=features)

        whole, other = run(images)
        jax.tree.map(np.testing.assert_array_equal, whole, other)

    def test_without_the_image_its_sides_are_taken_to_be_even(self):
        model, variables, _ = _network("res2net_segmenter")
        features = jnp.zeros((1, 19, 22, 4))
        output = jax.eval_shape(lambda: model.apply(variables, res2net_features=features))
        assert output.side_logits.shape == (1, 38, 44, 5)

    def test_neither_image_nor_features_is_refused(self):
        model, variables, _ = _network("res2net_segmenter")
        with pytest.raises(ValueError, match="needs images or res2net_features"):
            model.apply(variables)

    def test_the_published_size_takes_the_released_features(self):
        model = create_model("res2net50_segmenter")
        variables = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 64, 48, 3))))
        features = jax.ShapeDtypeStruct((1, 32, 24, 64), jnp.float32)
        output = jax.eval_shape(lambda v, f: model.apply(v, res2net_features=f), variables, features)
        assert output.side_logits.shape == (1, 64, 48, 5)


@pytest.mark.parametrize("architecture", baselines.OPTIONS)
def test_a_model_folder_gives_back_network_weights_and_preset(architecture, tmp_path):
    preset = baselines.preset(architecture)
    _, variables, _ = _network(architecture)
    folder = save_model(tmp_path / "model", variables, preset, provenance={})
    model, loaded, found = load_model(folder)
    assert (model, found) == (build(preset), preset)
    jax.tree.map(np.testing.assert_array_equal, loaded, variables)
