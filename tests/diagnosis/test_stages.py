"""The two stages give what the whole network gives, and what two looks at a slice give on average."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jcs_jax.diagnosis.stages import Stages
from jcs_jax.errors import InputError
from jcs_jax.models.output import infection_probability, lesion_probability
from jcs_jax.models.presets import build

SIDE = 64


def _network(architecture: str):
    preset = tiny.preset(architecture, side=SIDE, **({"classes": 2} if architecture == "joint" else {}))
    model = build(preset)
    return model, tiny.random_variables(model, jnp.zeros((1, SIDE, SIDE, 3))), preset


@pytest.fixture(scope="module")
def joint():
    return _network("joint")


@pytest.fixture(scope="module")
def slices() -> list[np.ndarray]:
    return list(np.random.default_rng(0).normal(size=(3, SIDE, SIDE, 3)).astype(np.float32))


def test_both_stages_agree_with_the_whole_network(joint, slices):
    model, variables, _ = joint
    stages = Stages.of(*joint, batch_size=4)
    screened = stages.screen(slices)
    apply = jax.jit(model.apply)  # of halves, as the stages compute: XLA rounds by the size of the batch
    halves = [apply(variables, np.stack(pair)) for pair in ([slices[0], slices[1]], [slices[2], slices[0]])]
    whole = jax.tree.map(lambda *parts: np.concatenate(parts), *halves)
    np.testing.assert_allclose([one.probability for one in screened], infection_probability(whole)[:3], rtol=1e-5)
    for one in screened:
        assert 1 / (1 + np.exp(-one.activation.mean())) == pytest.approx(one.probability, rel=1e-5)
    of_stages = [whole.intermediates[f"res2net.stage{number}"][:3] for number in range(5)]
    features = np.concatenate([maps.mean((1, 2)) for maps in of_stages], axis=-1)
    np.testing.assert_allclose([one.features for one in screened], features, rtol=1e-4, atol=1e-6)
    lesions = stages.segment(slices, [one.trunk for one in screened])
    np.testing.assert_allclose(lesions, lesion_probability(whole)[:3], rtol=1e-4, atol=1e-6)


def test_the_trunk_is_computed_once(joint, slices):
    """Stage two must use what stage one left: with another slice's trunk, its answer changes."""
    stages = Stages.of(*joint, batch_size=4)
    trunks = [one.trunk for one in stages.screen(slices)]
    assert set(trunks[0]) == {"stage0", "stage1", "stage2", "stage3", "stage4"}
    own, others = stages.segment(slices, trunks), stages.segment(slices, trunks[::-1])
    assert np.abs(own[0] - others[0]).max() > 1e-4
    np.testing.assert_allclose(own[1], others[1], rtol=1e-5)


def test_some_slices_of_a_batch_can_go_on(joint, slices):
    stages = Stages.of(*joint, batch_size=4)
    trunks = [one.trunk for one in stages.screen(slices)]
    both, one = stages.segment(slices, trunks), stages.segment(slices[1:2], trunks[1:2])
    np.testing.assert_allclose(one[0], both[1], rtol=1e-4, atol=1e-6)


def test_without_a_trunk_the_second_stage_starts_anew(joint, slices):
    stages = Stages.of(*joint, batch_size=4)
    trunks = [one.trunk for one in stages.screen(slices)]
    np.testing.assert_allclose(stages.segment(slices, [{}] * 3), stages.segment(slices, trunks), rtol=1e-4, atol=1e-6)


def test_flips_average_the_slice_and_its_mirror_image(joint, slices):
    plain, flipped = Stages.of(*joint, batch_size=4), Stages.of(*joint, flip=True, batch_size=4)
    mirrored = [np.ascontiguousarray(one[:, ::-1]) for one in slices]
    first, second, both = plain.screen(slices), plain.screen(mirrored), flipped.screen(slices)
    for a, b, mean in zip(first, second, both, strict=True):
        np.testing.assert_allclose(mean.activation, (a.activation + b.activation[:, ::-1]) / 2, rtol=1e-4, atol=1e-5)
        assert mean.probability == pytest.approx(1 / (1 + np.exp(-mean.activation.mean())), rel=1e-5)
    lesions = flipped.segment(slices, [one.trunk for one in both])
    a = plain.segment(slices, [one.trunk for one in first])
    b = plain.segment(mirrored, [one.trunk for one in second])
    np.testing.assert_allclose(lesions, [(x + y[:, ::-1]) / 2 for x, y in zip(a, b, strict=True)], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "classifies", "segments"), [("classifier", True, False), ("segmenter", False, True)])
def test_networks_of_one_stage_say_which(name, classifies, segments, slices):
    stages = Stages.of(*_network(name))
    assert (stages.classifies, stages.segments) == (classifies, segments)
    if segments:
        assert stages.segment(slices, [{}] * 3)[0].shape == (SIDE, SIDE)
    else:
        assert stages.screen(slices)[0].trunk == {}


def test_side_maps_but_the_first_are_not_computed(joint, slices):
    stages = Stages.of(*joint, batch_size=4)
    model, variables, _ = joint
    trunk = {}
    images = np.stack([*slices, slices[0]])
    ours = stages._programs._segment._traced.lower(variables, images, trunk).compile().cost_analysis()["flops"]
    all_maps = jax.jit(lambda v, x: jax.nn.sigmoid(model.apply(v, x).side_logits)).lower(variables, images)
    assert ours < all_maps.compile().cost_analysis()["flops"]


def test_an_answer_that_is_not_finite_is_refused(joint, slices):
    model, variables, preset = joint
    broken = jax.tree.map(lambda leaf: leaf * np.nan, variables)
    with pytest.raises(InputError, match="not finite"):
        Stages.of(model, broken, preset).screen(slices)
    with pytest.raises(InputError, match="not finite"):
        Stages.of(model, broken, preset).segment(slices, [{}] * 3)
