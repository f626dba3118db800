"""Networks of one kind whose answers are averaged."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jcs_jax.diagnosis.stages import Stages
from jcs_jax.evaluation.predictions import infection_map
from jcs_jax.evaluation.randomisation import cascade, parts_from_the_output
from jcs_jax.models.folding import fold_norms
from jcs_jax.models.mirrored import MirrorAveraged
from jcs_jax.models.output import class_head_kernel, infection_probability, lesion_probability, member_names
from jcs_jax.models.presets import Preset, build

IMAGES = jnp.asarray(np.random.default_rng(2).normal(size=(2, 32, 32, 3)), jnp.float32)
MEMBERS = 3


def _of(preset: Preset, members: int = MEMBERS) -> Preset:
    return dataclasses.replace(preset, options={**preset.options, "members": members})


def _made(architecture: str, **options):
    """A preset, its network, variables of the members, and the same as an ensemble's."""
    preset = tiny.preset(architecture, **options)
    model = build(preset)
    own = [tiny.random_variables(model, IMAGES, seed=seed) for seed in range(MEMBERS)]
    joined = {kind: {f"member{i}": one[kind] for i, one in enumerate(own, 1)} for kind in own[0]}
    return preset, model, own, joined


@pytest.fixture(scope="module")
def joint():
    preset, model, own, joined = _made("joint", classes=2, norm="frozen")  # group norm of few values magnifies rounding
    ensemble = build(_of(preset))
    outputs = [tiny.quick_jit(model.apply)(variables, IMAGES) for variables in own]
    return preset, ensemble, joined, outputs, tiny.quick_jit(ensemble.apply)(joined, IMAGES)


def test_variables_are_those_of_the_members_and_of_nothing_else(joint):
    _, ensemble, joined, _, _ = joint
    expected = jax.eval_shape(lambda: ensemble.init(jax.random.key(0), IMAGES))
    assert jax.tree.structure(expected) == jax.tree.structure(joined)
    assert member_names(joined["params"]) == ["member1", "member2", "member3"]


def test_logits_and_probabilities_are_means(joint):
    _, _, _, outputs, got = joint
    np.testing.assert_allclose(got.class_logits, np.mean([one.class_logits for one in outputs], axis=0), atol=1e-6)
    lesions = np.mean([lesion_probability(one) for one in outputs], axis=0)
    np.testing.assert_allclose(lesion_probability(got), lesions, atol=1e-6)
    assert got.side_logits.shape == outputs[0].side_logits.shape


def test_the_activation_map_is_the_mean_and_belongs_to_the_logits(joint):
    _, _, joined, outputs, got = joint
    maps = infection_map(got, joined)
    own = [infection_map(one, {"params": joined["params"][f"member{i}"]}) for i, one in enumerate(outputs, 1)]
    np.testing.assert_allclose(maps, np.mean(own, axis=0), atol=1e-5)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), got.class_logits[:, 1] - got.class_logits[:, 0], atol=1e-5)


def test_a_diagnosis_in_two_stages_says_the_same(joint):
    preset, ensemble, joined, _, got = joint
    stages = Stages.of(ensemble, joined, _of(preset), batch_size=2)
    inputs = list(np.asarray(IMAGES))
    screened = stages.screen(inputs)
    np.testing.assert_allclose([one.probability for one in screened], infection_probability(got), atol=1e-5)
    assert set(screened[0].trunk) == {f"stage{number}" for number in range(5)}
    lesions = stages.segment(inputs, [one.trunk for one in screened])
    np.testing.assert_allclose(lesions, lesion_probability(got), atol=1e-5)


def test_it_is_mirrored_as_a_network_is(joint):
    _, ensemble, joined, _, got = joint
    both = tiny.quick_jit(MirrorAveraged(ensemble).apply)
    one, turned = both(joined, IMAGES), both(joined, IMAGES[:, :, ::-1])
    np.testing.assert_allclose(lesion_probability(turned)[:, :, ::-1], lesion_probability(one), atol=1e-6)
    assert not np.allclose(lesion_probability(one), lesion_probability(got), atol=1e-4)


def test_redrawn_weights_are_those_of_all_members(joint):
    _, _, joined, _, _ = joint
    parts = parts_from_the_output(joined)
    assert parts == [
        "class_head",
        "res2net.stage4",
        "res2net.stage3",
        "res2net.stage2",
        "res2net.stage1",
        "res2net.stem",
    ]
    _, redrawn = next(cascade(joined, parts, seed=0))
    for name in ("member1", "member2", "member3"):
        kernels = [variables["params"][name]["class_head"]["kernel"] for variables in (joined, redrawn)]
        assert not np.array_equal(*kernels)


def test_segmenters_have_no_class_head_and_take_stored_features():
    preset, model, own, joined = _made("segmenter")
    features = jnp.asarray(np.random.default_rng(0).random((1, 32, 32, 4)), jnp.float32)
    outputs = [tiny.quick_jit(model.apply)(variables, vgg_features=features) for variables in own]
    got = tiny.quick_jit(build(_of(preset)).apply)(joined, vgg_features=features)
    lesions = np.mean([lesion_probability(one) for one in outputs], axis=0)
    np.testing.assert_allclose(lesion_probability(got), lesions, atol=1e-6)
    assert got.class_logits is None
    assert class_head_kernel(joined["params"]) is None


def test_norms_of_the_members_fold():
    preset, _, _, joined = _made("classifier", norm="frozen")
    ensemble = _of(preset)
    folded, variables = fold_norms(ensemble, joined)
    expected = tiny.quick_jit(build(ensemble).apply)(joined, IMAGES).class_logits
    np.testing.assert_allclose(tiny.quick_jit(build(folded).apply)(variables, IMAGES).class_logits, expected, atol=1e-5)
    assert "batch_stats" not in variables


@pytest.mark.parametrize("architecture", ["classifier", "segmenter"])
def test_only_joint_networks_have_a_part_that_screens(architecture):
    ensemble = build(_of(tiny.preset(architecture)))
    assert not ensemble.shares_trunk
    with pytest.raises(ValueError, match="only joint networks"):
        ensemble.screening_part()
