"""Networks by name: sizes, outputs, options, and presets as JSON."""

import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jcs_jax.models import Preset, create_model, get_preset, preset_names
from jcs_jax.models.presets import build, with_convolutions

RELEASED = ("classifier", "segmenter", "joint")
# Architecture -> its network of the published size.
PUBLISHED = {**{name: name for name in RELEASED}, "unet": "unet", "res2net_segmenter": "res2net50_segmenter"}
FROM_SCRATCH = [f"{architecture}_{suffix}" for suffix in ("small", "tiny") for architecture in PUBLISHED]
NAMES = [*PUBLISHED.values(), *FROM_SCRATCH, "jcs_tiny"]
SIDE_MAPS = {"classifier": 0, "segmenter": 5, "joint": 5, "unet": 1, "res2net_segmenter": 5}
STAGES = {
    "classifier": [f"res2net.stage{i}" for i in range(5)],
    "segmenter": [
        *(f"vgg.stage{i}" for i in range(1, 6)),
        *("context.stage5", "context.stage6"),
        *(f"decoder.level{i}" for i in range(1, 6)),
    ],
}
STAGES["joint"] = [*STAGES["classifier"], *STAGES["segmenter"], *(f"fused.stage{i}" for i in range(1, 6))]
STAGES["unet"] = [*(f"unet.stage{i}" for i in range(1, 6)), *(f"decoder.level{i}" for i in range(1, 5))]
STAGES["res2net_segmenter"] = [*STAGES["classifier"], *STAGES["segmenter"][5:]]


@functools.cache
def _shapes(name: str, size: tuple[int, int] = (32, 32), **options):
    """Output and variables of a named network for two images, as shapes."""
    model = create_model(name, **options)
    return jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), jnp.zeros((2, *size, 3)), train=False))


def _parameters(name: str) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(_shapes(name)[1]["params"]))


def test_the_names_are_the_fixed_ones():
    assert sorted(preset_names()) == sorted(NAMES)


@pytest.mark.parametrize("size", [(32, 32), (45, 37)])
@pytest.mark.parametrize("name", NAMES)
def test_network_gives_what_its_name_promises(name, size):
    output, variables = _shapes(name, size)
    architecture = get_preset(name).architecture
    classifies = architecture == "classifier" or name in ("joint_small", "joint_tiny", "jcs_tiny")
    segments = architecture != "classifier"
    assert (output.class_logits is not None) == classifies
    assert (output.side_logits is not None) == segments
    if classifies:
        assert output.class_logits.shape == (2, 2)
    if segments:
        assert output.side_logits.shape == (2, *size, SIDE_MAPS[architecture])
    assert set(output.intermediates) == {*STAGES[architecture], *(["class_features"] if classifies else [])}
    assert set(variables) <= {"params", "batch_stats"}


@pytest.mark.parametrize("name", ["joint_tiny", "joint_small", "classifier", "classifier_tiny"])
def test_the_class_head_is_one_kernel_without_bias_on_res2nets_last_stage(name):
    output, variables = _shapes(name)
    channels = output.intermediates["class_features"].shape[-1]
    assert output.intermediates["class_features"].shape == output.intermediates["res2net.stage4"].shape
    assert jax.tree.map(jnp.shape, variables["params"]["class_head"]) == {"kernel": (channels, 2)}


def test_the_tiny_joint_network_has_under_one_and_a_half_million_parameters():
    assert 0.5e6 < _parameters("joint_tiny") < 1.5e6


@pytest.mark.parametrize("architecture", PUBLISHED)
def test_tiny_is_smaller_than_small_and_small_than_the_reference(architecture):
    names = (f"{architecture}_tiny", f"{architecture}_small", PUBLISHED[architecture])
    tiny_size, small, reference = map(_parameters, names)
    assert 2 * tiny_size < small
    assert 2 * small < reference


def test_the_reference_networks_have_the_published_number_of_parameters():
    # Res2Net-101 26w 4s: 42.9 M convolution weights, 2048 x 2 of the head; VGG-16's convolutions have 14.7 M.
    params = _shapes("segmenter")[1]["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params["vgg"])) == 14_714_688
    assert _parameters("classifier") == pytest.approx(43.06e6, rel=1e-3)


@functools.cache
def _runnable(name: str):
    model = create_model(name)
    images = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
    variables = tiny.random_variables(model, images)
    return tiny.quick_jit(functools.partial(model.apply, train=False)), variables, images


@pytest.mark.parametrize("name", ["classifier_tiny", "segmenter_tiny", "joint_tiny"])
def test_tiny_network_runs_on_two_images(name):
    apply, variables, images = _runnable(name)
    output = apply(variables, images)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(output))
    if output.class_logits is not None:
        pooled = output.intermediates["class_features"].mean((1, 2))
        expected = pooled @ variables["params"]["class_head"]["kernel"]
        np.testing.assert_allclose(output.class_logits, expected, rtol=1e-4, atol=1e-4)


def test_an_image_is_judged_by_itself():
    apply, variables, images = _runnable("joint_tiny")
    together = apply(variables, images)
    changed = apply(variables, images.at[1:].set(7.0))
    np.testing.assert_array_equal(together.side_logits[0], changed.side_logits[0])
    np.testing.assert_array_equal(together.class_logits[0], changed.class_logits[0])


def test_bfloat16_gives_finite_float32_gradients_close_to_those_of_a_float32_computation():
    # Frozen norms: with group norm a network of random weights multiplies any error, also float32's own, by ten.
    preset = tiny.preset("joint", norm="frozen")
    images = jax.random.normal(jax.random.key(1), (2, 48, 48, 3))
    variables = tiny.random_variables(build(preset), images)

    def run(dtype):
        def loss(params):
            output = build(preset, dtype=dtype).apply({**variables, "params": params}, images, train=True)
            logits = [output.class_logits.astype(jnp.float32), output.side_logits.astype(jnp.float32)]
            return sum(jax.nn.softplus(x).mean() for x in logits), logits

        return tiny.quick_jit(jax.grad(loss, has_aux=True))(variables["params"])

    (exact_gradient, exact_logits), (gradient, logits) = run(None), run(jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))
    for computed, exact in zip(logits, exact_logits, strict=True):
        np.testing.assert_allclose(computed, exact, atol=0.05 * float(jnp.abs(exact).max()))
    one, other = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (gradient, exact_gradient)
    )
    assert one @ other / (np.linalg.norm(one) * np.linalg.norm(other)) > 0.98


@pytest.mark.parametrize("name", ["classifier_tiny", "segmenter_tiny", "joint_tiny"])
def test_every_map_of_a_network_is_in_the_dtype_of_the_computation(name):
    output, variables = _shapes(name, dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(output)} == {jnp.dtype("bfloat16")}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", ["joint", "joint_tiny"])
def test_parameters_have_the_dtype_that_is_asked_for(name):
    _, variables = _shapes(name, param_dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} >= {jnp.dtype("bfloat16")}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables["params"])} == {jnp.dtype("bfloat16")}


def test_reference_networks_are_normalised_as_released():
    stats = _shapes("joint")[1]["batch_stats"]
    assert set(stats) == {"vgg", "res2net", "fusion"}  # no norm in context modules and decoder
    assert set(stats["vgg"]["conv1_1"]["norm"]) == {"scale", "bias", "mean", "var"}
    assert set(stats["fusion"]["join1"]["norm"]) == {"mean", "var"}  # a live norm with fixed statistics


def test_batch_norm_reaches_decoder_and_context():
    stats = _shapes("joint_tiny", norm="batch")[1]["batch_stats"]
    assert set(stats) == {"vgg", "res2net", "fusion", "enhanced", "decoder"}
    assert set(stats["vgg"]["conv1_1"]["norm"]) == {"mean", "var"}


def test_networks_for_training_from_scratch_have_group_norm_and_no_statistics():
    for name in set(NAMES) - set(RELEASED):
        assert get_preset(name).options["norm"] == "group"
        assert set(_shapes(name)[1]) == {"params"}


def test_the_joint_network_may_have_a_class_head_at_reference_size():
    assert _shapes("joint", classes=2)[0].class_logits.shape == (2, 2)
    assert _shapes("joint_tiny", classes=0)[0].class_logits is None


def test_the_reference_presets_preprocess_as_released():
    classifier = get_preset("classifier").preprocessing
    assert (classifier.size, classifier.geometry, classifier.shorter_side) == ((224, 224), "centre_crop", 256)
    for name in ("segmenter", "joint"):
        assert get_preset(name).preprocessing.size == (512, 512)
        assert get_preset(name).preprocessing.geometry == "stretch"
    assert not any(get_preset(name).preprocessing.antialias for name in RELEASED)


@pytest.mark.parametrize("name", NAMES)
def test_preset_survives_json(name):
    preset = get_preset(name)
    restored = Preset.from_json(json.loads(json.dumps(preset.to_json())))
    assert restored == preset
    assert build(restored) == build(preset)


def test_a_preset_with_dtypes_survives_json():
    preset = tiny.preset("segmenter", dtype=jnp.bfloat16, param_dtype=None)
    stored = json.loads(json.dumps(preset.to_json()))
    assert stored["options"]["dtype"] == "bfloat16"
    assert stored["options"]["param_dtype"] is None
    assert build(Preset.from_json(stored)).style.dtype == "bfloat16"


def test_an_unknown_key_of_a_stored_preset_is_refused():
    with pytest.raises(TypeError, match="colour"):
        Preset.from_json({**get_preset("joint").to_json(), "colour": 1})


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"'joint_huge'.*joint_tiny"):
        create_model("joint_huge")


def test_an_unknown_option_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"no option colour, widths; it has .*vgg_channels.*norm"):
        create_model("joint_tiny", widths=3, colour="red")


def test_an_unknown_architecture_is_refused_with_those_there_are():
    values = {**get_preset("joint").to_json(), "architecture": "transformer"}
    with pytest.raises(ValueError, match=r"'transformer'.*classifier, segmenter, joint, unet, res2net_segmenter"):
        build(Preset.from_json(values))


@pytest.mark.parametrize("size", [(15, 64), (64, 15), (7, 7), (1, 1)])
@pytest.mark.parametrize("name", ["segmenter_tiny", "joint_tiny"])
def test_an_image_too_small_to_segment_is_refused_with_the_cure(name, size):
    with pytest.raises(ValueError, match="give images of at least 16 x 16"):
        _shapes(name, size)


def test_a_classifier_reads_even_the_smallest_image():
    assert _shapes("classifier_tiny", (1, 1))[0].class_logits.shape == (2, 2)


@pytest.mark.parametrize("form", ["xla", "cpu"])
def test_a_network_is_the_same_with_another_form_of_convolutions(form):
    network, ensemble = create_model("joint_tiny"), create_model("joint_tiny", members=2)
    changed, changed_ensemble = with_convolutions(network, form), with_convolutions(ensemble, form)
    assert changed.style.convolutions == changed_ensemble.member.style.convolutions == form
    assert with_convolutions(changed, "xla") == network
    assert with_convolutions(changed_ensemble, "xla") == ensemble


def test_a_network_of_ones_own_keeps_its_convolutions():
    own = nn.Dense(3)
    assert with_convolutions(own, "cpu") is own
