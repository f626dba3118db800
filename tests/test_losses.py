"""Losses against the reference, hand-worked cases, optax and numerical gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference
from jax.test_util import check_grads

from jcs_jax import losses

SIZES = [(64, 64), (72, 56)]


@pytest.fixture(autouse=True)
def no_silent_broadcasting():
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def _random(shape=(3, 8, 7, 2), seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, shape), (rng.random(shape[:3]) < 0.3).astype(np.float64)


def _by_definition(logits, mask, epsilon=1e-5):
    """BCE + 1 - Dice of one (H, W) map, straight from the formula."""
    p = 1 / (1 + np.exp(-logits))
    bce = -(mask * np.log(p) + (1 - mask) * np.log(1 - p)).mean()
    return bce + 1 - (2 * (p * mask).sum() + epsilon) / (p.sum() + mask.sum() + epsilon)


class TestReferenceForm:
    @pytest.mark.parametrize("network", ["segmenter", "joint"])
    @pytest.mark.parametrize("size", SIZES)
    def test_equals_the_release_in_float64(self, network, size, float64):
        golden, key = reference.load(network), f"{size[0]}x{size[1]}"
        logits = reference.nhwc(golden[f"{key}/logits"].astype(np.float64))
        values = losses.deep_supervision_loss(jnp.asarray(logits), jnp.asarray(reference.masks(*size)))
        assert values.dtype == jnp.float64
        np.testing.assert_allclose(values, golden[f"{key}/loss_per_map"], rtol=1e-12)
        np.testing.assert_allclose(values.sum(), golden[f"{key}/loss"], rtol=1e-12)

    @pytest.mark.parametrize("size", SIZES)
    def test_equals_the_release_in_float32(self, size):
        golden, key = reference.load("joint"), f"{size[0]}x{size[1]}"
        logits = reference.nhwc(golden[f"{key}/logits"]).astype(np.float32)
        values = losses.deep_supervision_loss(jnp.asarray(logits), jnp.asarray(reference.masks(*size)))
        assert values.dtype == jnp.float32
        np.testing.assert_allclose(values, golden[f"{key}/loss_per_map"], rtol=1e-5)

    def test_four_pixels_by_hand(self, float64):
        # Logits 0: p = 1/2, BCE = log 2; mask of one pixel: Dice = (2 * 0.5 + eps) / (2 + 1 + eps).
        values = losses.deep_supervision_loss(jnp.zeros((1, 2, 2, 3)), jnp.array([[[1, 0], [0, 0]]]))
        expected = np.log(2) + 1 - (1 + 1e-5) / (3 + 1e-5)
        np.testing.assert_allclose(values, [expected] * 3, rtol=1e-14)

    def test_dice_is_over_the_whole_batch(self, float64):
        logits, masks = _random((2, 6, 5, 1))
        tall = np.concatenate(list(logits))[np.newaxis]
        np.testing.assert_allclose(
            losses.deep_supervision_loss(jnp.asarray(logits), jnp.asarray(masks)),
            losses.deep_supervision_loss(jnp.asarray(tall), jnp.asarray(np.concatenate(list(masks))[np.newaxis])),
            rtol=1e-13,
        )

    def test_gradient_equals_finite_differences(self, float64):
        logits, masks = _random()
        check_grads(
            lambda z: losses.deep_supervision_loss(z, jnp.asarray(masks)).sum(),
            (jnp.asarray(logits),),
            order=1,
            modes=["rev"],
            atol=1e-7,
            rtol=1e-7,
        )

    @pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.int32, np.float32])
    def test_masks_may_have_any_dtype(self, dtype):
        logits, masks = _random()
        logits = jnp.asarray(logits, jnp.float32)
        np.testing.assert_array_equal(
            losses.deep_supervision_loss(logits, jnp.asarray(masks.astype(dtype))),
            losses.deep_supervision_loss(logits, jnp.asarray(masks, jnp.float32)),
        )

    def test_bfloat16_logits_are_summed_in_float32(self):
        logits, masks = _random()
        logits = jnp.asarray(logits, jnp.bfloat16)
        values = losses.deep_supervision_loss(logits, jnp.asarray(masks, jnp.float32))
        assert values.dtype == jnp.float32
        np.testing.assert_array_equal(
            values, losses.deep_supervision_loss(logits.astype(jnp.float32), jnp.asarray(masks, jnp.float32))
        )

    def test_maps_and_masks_of_different_sizes_are_refused(self):
        with pytest.raises(ValueError, match=r"\(1, 4, 4, 5\).*\(1, 8, 8\)"):
            losses.deep_supervision_loss(jnp.zeros((1, 4, 4, 5)), jnp.zeros((1, 8, 8)))


class TestExtremes:
    @pytest.mark.parametrize("magnitude", [200.0, 1e4, 1e30])
    @pytest.mark.parametrize("mask_value", [0.0, 1.0])
    def test_right_and_sure_costs_nothing(self, magnitude, mask_value):
        logits = jnp.full((2, 4, 4, 1), magnitude * (2 * mask_value - 1))
        masks = jnp.full((2, 4, 4), mask_value)
        for values in (losses.deep_supervision_loss(logits, masks), losses.per_image_bce_dice(logits, masks)):
            np.testing.assert_allclose(values, 0.0, atol=1e-6)

    def test_wrong_and_sure_costs_the_logit_itself(self):
        # BCE of logit -500 on a 1 is 500; a logarithm clamped at -100 would say 100 and have no gradient.
        loss = lambda z: losses.per_image_bce_dice(z, jnp.ones((1, 2, 2)))[0]  # noqa: E731
        logits = jnp.full((1, 2, 2), -500.0)
        np.testing.assert_allclose(loss(logits), 501.0, rtol=1e-6)
        np.testing.assert_allclose(jax.grad(loss)(logits), -0.25, rtol=1e-6)

    def test_empty_mask_and_empty_prediction_have_no_dice_loss(self, float64):
        # Every p = sigmoid(-50) is 2e-22: (0 + eps) / (8e-22 + 0 + eps) = 1.
        np.testing.assert_allclose(
            losses.per_image_bce_dice(jnp.full((1, 2, 2), -50.0), jnp.zeros((1, 2, 2))), 0.0, atol=1e-12
        )

    @pytest.mark.parametrize("fill", [0.0, 1.0])
    def test_empty_and_full_masks_have_finite_gradients(self, fill):
        logits = jnp.asarray(_random()[0], jnp.float32)
        gradient = jax.grad(lambda z: losses.deep_supervision_loss(z, jnp.full((3, 8, 7), fill)).sum())(logits)
        assert jnp.isfinite(gradient).all()


class TestPerImageForm:
    def test_equals_the_formula_image_by_image(self, float64):
        logits, masks = _random()
        values = losses.per_image_bce_dice(jnp.asarray(logits), jnp.asarray(masks))
        expected = [[_by_definition(logits[n, ..., k], masks[n]) for k in range(2)] for n in range(3)]
        np.testing.assert_allclose(values, expected, rtol=1e-12)

    def test_takes_single_maps_too(self, float64):
        logits, masks = _random()
        several = losses.per_image_bce_dice(jnp.asarray(logits), jnp.asarray(masks))
        single = losses.per_image_bce_dice(jnp.asarray(logits[..., 1]), jnp.asarray(masks))
        assert single.shape == (3,)
        np.testing.assert_allclose(single, several[:, 1], rtol=1e-14)

    def test_one_image_alone_equals_the_reference_form(self, float64):
        logits, masks = _random((1, 8, 7, 5))
        np.testing.assert_allclose(
            losses.per_image_bce_dice(jnp.asarray(logits), jnp.asarray(masks))[0],
            losses.deep_supervision_loss(jnp.asarray(logits), jnp.asarray(masks)),
            rtol=1e-13,
        )

    def test_a_value_does_not_depend_on_the_batch(self, float64):
        logits, masks = _random()
        together = losses.per_image_bce_dice(jnp.asarray(logits), jnp.asarray(masks))
        for n in range(3):
            alone = losses.per_image_bce_dice(jnp.asarray(logits[n : n + 1]), jnp.asarray(masks[n : n + 1]))
            np.testing.assert_allclose(alone[0], together[n], rtol=1e-14)

    @pytest.mark.parametrize("filler", [0.0, 7.5, 1e30, np.nan, np.inf])
    def test_padding_changes_neither_loss_nor_gradient(self, filler, float64):
        logits, masks = _random()
        padded = np.concatenate([logits, np.full((2, 8, 7, 2), filler)])
        padded_masks = np.concatenate([masks, np.full((2, 8, 7), filler)])
        valid = jnp.array([1.0, 1, 1, 0, 0])

        def loss(z, y, v):
            return losses.mean_over_valid(losses.per_image_deep_supervision(z, y, valid=v), v)

        value, gradient = jax.value_and_grad(loss)(jnp.asarray(padded), jnp.asarray(padded_masks), valid)
        alone, alone_gradient = jax.value_and_grad(loss)(jnp.asarray(logits), jnp.asarray(masks), jnp.ones(3))
        np.testing.assert_allclose(value, alone, rtol=1e-14)
        np.testing.assert_allclose(gradient[:3], alone_gradient, rtol=1e-12, atol=1e-18)
        np.testing.assert_array_equal(gradient[3:], 0.0)

    def test_pixels_without_weight_do_not_exist(self, float64):
        logits, masks = _random()
        weights = np.ones((3, 8, 7))
        weights[:, 5:] = 0
        spoilt = logits.copy()
        spoilt[:, 5:] = np.nan
        np.testing.assert_allclose(
            losses.per_image_bce_dice(jnp.asarray(spoilt), jnp.asarray(masks), pixel_weights=jnp.asarray(weights)),
            losses.per_image_bce_dice(jnp.asarray(logits[:, :5]), jnp.asarray(masks[:, :5])),
            rtol=1e-13,
        )

    def test_a_pixel_of_weight_two_counts_twice(self, float64):
        # Pixels (logit 1, y 1, w 2) and (logit -1, y 0, w 1) are three pixels of weight 1.
        weighted = losses.per_image_bce_dice(
            jnp.array([[[1.0, -1.0]]]), jnp.array([[[1.0, 0.0]]]), pixel_weights=jnp.array([[[2.0, 1.0]]])
        )
        repeated = _by_definition(np.array([1.0, 1.0, -1.0]), np.array([1.0, 1.0, 0.0]))
        np.testing.assert_allclose(weighted, [repeated], rtol=1e-13)

    @pytest.mark.parametrize("weight", [0.5, 1.0, 4.0])
    def test_missed_pixels_cost_more_than_false_ones_by_the_lesion_weight(self, weight, float64):
        # Pixels (probability 0.8, y 1), (0.3, y 1), (0.4, y 0).
        probability, truth = np.array([0.8, 0.3, 0.4]), np.array([1.0, 1.0, 0.0])
        logits = jnp.asarray(np.log(probability / (1 - probability)))[np.newaxis, np.newaxis]
        value = losses.per_image_bce_dice(logits, jnp.asarray(truth)[np.newaxis, np.newaxis], lesion_weight=weight)
        bce = -(weight * np.log(0.8) + weight * np.log(0.3) + np.log(0.6)) / 3
        hit, false, missed = 0.8 + 0.3, 0.4, 0.2 + 0.7
        tversky = hit / (hit + false / (1 + weight) + missed * weight / (1 + weight))
        np.testing.assert_allclose(value, [bce + 1 - tversky], rtol=1e-5)

    @pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
    def test_cross_entropy_counts_by_its_weight_beside_dice(self, weight, float64):
        logits, truth = np.array([1.5, -0.5, -2.0]), np.array([1.0, 1.0, 0.0])
        probability = 1 / (1 + np.exp(-logits))
        bce = -np.mean(np.log(np.where(truth, probability, 1 - probability)))
        dice = 2 * np.sum(probability * truth) / np.sum(probability + truth)
        value = losses.per_image_bce_dice(
            jnp.asarray(logits)[np.newaxis, np.newaxis],
            jnp.asarray(truth)[np.newaxis, np.newaxis],
            cross_entropy_weight=weight,
        )
        np.testing.assert_allclose(value, [weight * bce + 1 - dice], rtol=1e-5)

    def test_an_image_without_any_weight_is_zero(self):
        values = losses.per_image_bce_dice(jnp.ones((2, 3, 3)), jnp.ones((2, 3, 3)), pixel_weights=jnp.zeros((2, 3, 3)))
        np.testing.assert_array_equal(values, 0.0)

    def test_gradient_equals_finite_differences(self, float64):
        logits, masks = _random()
        rng = np.random.default_rng(1)
        weights, valid = jnp.asarray(rng.random((3, 8, 7))), jnp.array([1.0, 0.0, 1.0])

        def loss(z):
            values = losses.per_image_bce_dice(z, jnp.asarray(masks), valid=valid, pixel_weights=weights)
            return losses.mean_over_valid(values, valid).sum()

        check_grads(loss, (jnp.asarray(logits),), order=1, modes=["rev"], atol=1e-7, rtol=1e-7)

    def test_map_weights_scale_the_side_outputs(self, float64):
        logits, masks = (jnp.asarray(array) for array in _random())
        values = losses.per_image_bce_dice(logits, masks)
        np.testing.assert_allclose(losses.per_image_deep_supervision(logits, masks), values.sum(1), rtol=1e-14)
        weighted = losses.per_image_deep_supervision(logits, masks, map_weights=jnp.array([1.0, 0.25]))
        np.testing.assert_allclose(weighted, values[:, 0] + values[:, 1] / 4, rtol=1e-14)

    def test_equals_optax(self, float64):
        logits, masks = (jnp.asarray(array) for array in _random((3, 8, 7, 1)))
        bce = optax.losses.sigmoid_binary_cross_entropy(logits[..., 0], masks).mean((1, 2))
        # optax smooths 2 (I + s) / (2 I + ... + 2 s): its s is half of epsilon.
        dice_loss = optax.losses.binary_dice_loss(logits, masks[..., jnp.newaxis], smooth=0.5e-5)
        np.testing.assert_allclose(losses.per_image_bce_dice(logits[..., 0], masks), bce + dice_loss, rtol=1e-12)

    def test_works_under_jit(self):
        logits, masks = _random()
        logits, masks = jnp.asarray(logits, jnp.float32), jnp.asarray(masks, jnp.float32)
        np.testing.assert_allclose(
            jax.jit(losses.per_image_bce_dice)(logits, masks), losses.per_image_bce_dice(logits, masks), rtol=1e-6
        )


class TestClassification:
    LOGITS = np.array([[2.0, -1.0], [0.5, 0.25], [-3.0, 4.0]])

    def test_equals_optax_without_options(self, float64):
        labels = jnp.array([0, 1, 1])
        np.testing.assert_allclose(
            losses.classification_loss(jnp.asarray(self.LOGITS), labels),
            optax.losses.softmax_cross_entropy_with_integer_labels(jnp.asarray(self.LOGITS), labels),
            rtol=1e-13,
            atol=1e-15,  # optax subtracts logits, which cancels
        )

    def test_even_logits_cost_log_two(self):
        np.testing.assert_allclose(losses.classification_loss(jnp.zeros((1, 2)), jnp.array([1])), np.log(2), rtol=1e-6)

    def test_label_smoothing_by_hand(self, float64):
        # s = 0.2, two classes: q = (0.9, 0.1); log p of logits (log 3, 0) is (log 3/4, log 1/4).
        value = losses.classification_loss(jnp.array([[np.log(3), 0.0]]), jnp.array([0]), label_smoothing=0.2)
        np.testing.assert_allclose(value, [-(0.9 * np.log(0.75) + 0.1 * np.log(0.25))], rtol=1e-13)

    def test_shares_of_the_classes_mix_their_costs(self, float64):
        logits, costs = jnp.asarray(self.LOGITS), []
        for label in (0, 1):
            costs.append(losses.classification_loss(logits, jnp.full(3, label)))
        shares = jnp.array([[1.0, 0.0], [0.25, 0.75], [0.0, 1.0]])
        mixed = losses.classification_loss(logits, shares)
        np.testing.assert_allclose(mixed, shares[:, 0] * costs[0] + shares[:, 1] * costs[1], rtol=1e-13)
        padded = losses.classification_loss(logits, shares, valid=jnp.array([1.0, 0.0, 1.0]))
        np.testing.assert_allclose(padded, mixed * np.array([1, 0, 1]), rtol=1e-13)

    def test_class_weights_scale_the_true_class(self, float64):
        labels = jnp.array([0, 1, 1])
        plain = losses.classification_loss(jnp.asarray(self.LOGITS), labels)
        weighted = losses.classification_loss(jnp.asarray(self.LOGITS), labels, class_weights=jnp.array([0.5, 3.0]))
        np.testing.assert_allclose(weighted, plain * np.array([0.5, 3, 3]), rtol=1e-13)

    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_unknown_labels_and_padding_cost_nothing_and_pull_nowhere(self, smoothing):
        logits = jnp.asarray(np.concatenate([self.LOGITS, [[np.nan, 1.0]]]), jnp.float32)
        labels, valid = jnp.array([0, -1, 1, 1]), jnp.array([1.0, 1.0, 1.0, 0.0])

        def loss(z):
            return losses.classification_loss(z, labels, label_smoothing=smoothing, valid=valid)

        gradient = jax.grad(lambda z: loss(z).sum())(logits)
        np.testing.assert_array_equal(loss(logits)[jnp.array([1, 3])], 0.0)
        np.testing.assert_array_equal(gradient[jnp.array([1, 3])], 0.0)
        assert (jnp.abs(gradient[jnp.array([0, 2])]) > 0).all()

    def test_extreme_logits_stay_finite(self):
        value = losses.classification_loss(jnp.array([[1e4, -1e4]]), jnp.array([1]))
        np.testing.assert_allclose(value, [2e4], rtol=1e-6)

    def test_gradient_equals_finite_differences(self, float64):
        def loss(z):
            return losses.classification_loss(
                z, jnp.array([0, 1, -1]), label_smoothing=0.1, class_weights=jnp.array([0.3, 2.0])
            ).sum()

        check_grads(loss, (jnp.asarray(self.LOGITS),), order=1, modes=["rev"], atol=1e-7, rtol=1e-7)


class TestMeanOverValid:
    def test_divides_by_the_images_that_count(self):
        assert losses.mean_over_valid(jnp.array([2.0, 4.0, 0.0]), jnp.array([1.0, 1.0, 0.0])) == 3.0

    def test_is_zero_if_none_counts(self):
        assert losses.mean_over_valid(jnp.zeros(3), jnp.zeros(3)) == 0.0

    def test_keeps_the_side_outputs_apart(self):
        values = losses.mean_over_valid(jnp.array([[1.0, 2.0], [3.0, 6.0]]))
        np.testing.assert_array_equal(values, [2.0, 4.0])
