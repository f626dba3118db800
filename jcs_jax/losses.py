"""Losses: logits and labels in, per-element values out; the caller reduces.

The reference form (`deep_supervision_loss`) takes Dice over the whole batch, so an image's share depends on
the images beside it. The per-image form (`per_image_bce_dice`) doesn't, and is right for padded batches.

Everything is computed from logits with log-sigmoids, in float32 or wider. The release feeds sigmoids to a
binary cross-entropy that clamps each logarithm at -100: the two agree to rounding while |logit| is moderate;
beyond it the clamped form has no gradient and this one keeps the right one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Shaped

DICE_EPSILON = 1e-5  # the release's, in pixels


def deep_supervision_loss(
    side_logits: Float[Array, "n h w k"],
    masks: Shaped[Array, "n h w"],
    *,
    epsilon: float = DICE_EPSILON,
) -> Float[Array, " k"]:
    """The reference's loss of each side output: BCE + 1 - Dice, both over the whole batch.

    For side output k with p = sigmoid(logits), mask y and sums over all pixels of the batch::

        loss_k = mean(-y log p - (1 - y) log(1 - p)) + 1 - (2 sum(p y) + eps) / (sum(p) + sum(y) + eps)

    The release's loss is the sum of the returned values.

    Args:
      side_logits: (N, H, W, K) side outputs at the masks' size.
      masks: (N, H, W), 1 where opacified, else 0.
      epsilon: keeps Dice defined where both the prediction and the mask are empty.

    Returns:
      (K,) one value per side output, non-negative, at least float32.

    Source: Wu et al., JCS, training of the segmentation branch as released (train_single.py).
    """
    logits, labels = _aligned(side_logits, masks)
    bce = optax.losses.sigmoid_binary_cross_entropy(logits, labels)
    dice = _soft_dice(jax.nn.sigmoid(logits), labels, axis=(0, 1, 2), epsilon=epsilon)
    return jnp.mean(bce, axis=(0, 1, 2)) + 1.0 - dice


def per_image_bce_dice(
    logits: Float[Array, "n h w ..."],
    masks: Shaped[Array, "n h w"],
    *,
    valid: Float[Array, " n"] | None = None,
    pixel_weights: Float[Array, "n h w"] | None = None,
    lesion_weight: float = 1.0,
    cross_entropy_weight: float = 1.0,
    epsilon: float = DICE_EPSILON,
) -> Float[Array, "n ..."]:
    """BCE + 1 - Dice of each image by itself, so that a value doesn't depend on the batch around it.

    With pixel weights w, lesion weight a, cross-entropy weight b, and sums over the pixels of one image::

        b sum(w (-a y log p - (1 - y) log(1 - p))) / sum(w)
        + 1 - ((1 + a) sum(w p y) + eps) / (sum(w p) + a sum(w y) + eps)

    Args:
      logits: (N, H, W), or (N, H, W, K) for K side outputs.
      masks: (N, H, W), 1 where opacified, else 0.
      valid: (N,) factor of each image: 1 counts, 0 is padding. A padding image gives exactly 0 and no
        gradient, whatever its logits and mask hold, NaN included. None: all count.
      pixel_weights: (N, H, W) non-negative; 0 leaves a pixel out. An image without any weight gives 0.
      lesion_weight: positive; what missing an opacified pixel costs against marking a clear one. 1 is BCE and Dice.
      cross_entropy_weight: non-negative; factor of BCE beside Dice. With little of it the answers get surer than the
        probabilities that BCE asks for: closer to 0 and 1, where Dice at any threshold is best.
      epsilon: keeps Dice defined where both the prediction and the mask are empty.

    Returns:
      (N,) or (N, K), at least float32. Reduce with `mean_over_valid`.

    Source: for other lesion weights Dice becomes the index of Salehi et al., Tversky loss function for image
    segmentation, MLMI 2017, with beta = a / (1 + a).
    """
    several = logits.ndim == masks.ndim + 1
    maps = logits if several else logits[..., jnp.newaxis]
    factor = _factor(valid, masks.shape[0])
    weights = jnp.ones(masks.shape) if pixel_weights is None else pixel_weights
    counts = (_expand(factor, masks) > 0) & (weights > 0)
    # Selecting before any arithmetic keeps a padding image's NaN out of the gradient as well.
    maps, labels = _aligned(jnp.where(counts[..., jnp.newaxis], maps, 0), jnp.where(counts, masks, 0))
    weights = jnp.where(counts, weights, 0).astype(maps.dtype)
    weights = jnp.broadcast_to(weights[..., jnp.newaxis], maps.shape)
    total = jnp.sum(weights, axis=(1, 2))
    bce = lesion_weight * labels * jax.nn.softplus(-maps) + (1 - labels) * jax.nn.softplus(maps)
    bce = jnp.sum(weights * bce, axis=(1, 2))
    dice = _soft_dice(jax.nn.sigmoid(maps), labels, weights, axis=(1, 2), lesion_weight=lesion_weight, epsilon=epsilon)
    values = jnp.where(total > 0, cross_entropy_weight * bce / jnp.where(total > 0, total, 1.0) + 1.0 - dice, 0.0)
    values = values * _expand(factor, values).astype(values.dtype)
    return values if several else values[..., 0]


def per_image_deep_supervision(
    side_logits: Float[Array, "n h w k"],
    masks: Shaped[Array, "n h w"],
    *,
    map_weights: Float[Array, " k"] | None = None,
    valid: Float[Array, " n"] | None = None,
    pixel_weights: Float[Array, "n h w"] | None = None,
    lesion_weight: float = 1.0,
    cross_entropy_weight: float = 1.0,
    epsilon: float = DICE_EPSILON,
) -> Float[Array, " n"]:
    """The per-image form summed over the side outputs.

    Args:
      side_logits: (N, H, W, K) side outputs; the first is the answer.
      masks: (N, H, W), 1 where opacified, else 0.
      map_weights: (K,) factor of each side output; None: 1 each, as the release.
      valid: as `per_image_bce_dice`.
      pixel_weights: as `per_image_bce_dice`.
      lesion_weight: as `per_image_bce_dice`.
      cross_entropy_weight: as `per_image_bce_dice`.
      epsilon: as `per_image_bce_dice`.

    Returns:
      (N,), at least float32. Reduce with `mean_over_valid`.
    """
    values = per_image_bce_dice(
        side_logits,
        masks,
        valid=valid,
        pixel_weights=pixel_weights,
        lesion_weight=lesion_weight,
        cross_entropy_weight=cross_entropy_weight,
        epsilon=epsilon,
    )
    if map_weights is None:
        return jnp.sum(values, axis=-1)
    return values @ jnp.asarray(map_weights, values.dtype)


def restoration_loss(side_logits: Float[Array, "n h w k"], greys: Float[Array, "n h w"]) -> Float[Array, " n"]:
    """Cross-entropy of each image's side outputs with its greys, the mean over pixels, summed over the outputs.

    Args:
      side_logits: (N, H, W, K) side outputs at the greys' size.
      greys: (N, H, W) intensities in [0, 1], which sigmoid(side_logits) is to be.

    Returns:
      (N,), at least float32.
    """
    logits, labels = _aligned(side_logits, greys)
    return jnp.sum(jnp.mean(optax.losses.sigmoid_binary_cross_entropy(logits, labels), axis=(1, 2)), axis=-1)


def classification_loss(
    logits: Float[Array, "n c"],
    labels: Int[Array, " n"] | Float[Array, "n c"],
    *,
    label_smoothing: float = 0.0,
    class_weights: Float[Array, " c"] | None = None,
    valid: Float[Array, " n"] | None = None,
) -> Float[Array, " n"]:
    """Softmax cross-entropy of each image, with label smoothing and class weights.

    With smoothing s, C classes and class weights a::

        loss_n = -sum_c a_c q_nc log softmax(logits_n)_c,   q_nc = (1 - s) p_nc + s / C

    where p_nc is 1 for the image's class and 0 for the others, or what a mixed image has of each.

    Args:
      logits: (N, C) class scores.
      labels: (N,) class indices, of which a negative one is unknown and gives exactly 0; or (N, C) shares of
        the classes, each row adding up to 1.
      label_smoothing: share of probability spread evenly over the classes, in [0, 1].
      class_weights: (C,) factor of each class; None: 1 each.
      valid: (N,) factor of each image; 0 is padding: value 0, no gradient. None: all count.

    Returns:
      (N,), at least float32. Reduce with `mean_over_valid`.

    Source: Szegedy et al., Rethinking the Inception Architecture, section 7 (label smoothing).
    """
    factor = _factor(valid, labels.shape[0])
    if labels.ndim == 1:
        factor = factor * (labels >= 0)
        labels = jax.nn.one_hot(labels, logits.shape[-1])
    logits = jnp.where(factor[:, jnp.newaxis] > 0, logits, 0).astype(_wide(logits.dtype))
    target = optax.smooth_labels(labels.astype(logits.dtype), label_smoothing)
    if class_weights is not None:
        target = target * jnp.asarray(class_weights, logits.dtype)[jnp.newaxis, :]
    return -jnp.sum(target * jax.nn.log_softmax(logits), axis=-1) * factor.astype(logits.dtype)


def activation_map_loss(
    activation: Float[Array, "n h2 w2"],
    masks: Shaped[Array, "n h w"],
    *,
    offset: float = 0.0,
    lesion_weight: float = 1.0,
    valid: Float[Array, " n"] | None = None,
    epsilon: float = DICE_EPSILON,
) -> Float[Array, " n"]:
    """How badly an activation map agrees with the mask: BCE + 1 - Dice of sigmoid(map - offset), image by image.

    The map's mean over its positions is the log-odds of infection. Were a position opacified from 0 on, a slice
    with a small lesion would have to be all negative elsewhere, and with it its mean. With a positive offset the
    rest may stay near 0 while the lesion carries the slice over the threshold: both losses can be small at once.

    Args:
      activation: (N, h, w), signed log-odds at the resolution of the features; resized to the masks, bilinear.
      masks: (N, H, W), 1 where opacified, else 0; between them in a mixed image.
      offset: log-odds from which a position counts as more likely opacified than not.
      lesion_weight: of opacified pixels, in BCE and Dice, against 1 of the others.
      valid: (N,) factor of each image; 0 where there is no mask.
      epsilon: keeps Dice defined where both the map and the mask are empty.

    Returns:
      (N,), at least float32. Reduce with `mean_over_valid`.

    Source: the paper names supervision of the activation maps by pixel labels without its form; this is the
    project's own.
    """
    resized = jax.image.resize(activation, masks.shape, method="bilinear", antialias=False)
    weights = 1.0 + (lesion_weight - 1.0) * masks.astype(_wide(activation.dtype))
    return per_image_bce_dice(resized - offset, masks, valid=valid, pixel_weights=weights, epsilon=epsilon)


def mean_over_valid(values: Float[Array, "n ..."], valid: Float[Array, " n"] | None = None) -> Float[Array, " ..."]:
    """The mean over the images that count: sum(values) / sum(valid), and 0 if none counts.

    Args:
      values: (N,) or (N, K) per-image losses, already 0 (or scaled) where `valid` says so.
      valid: (N,) factor of each image, as given to the loss. None: all count.

    Returns:
      () or (K,).
    """
    if valid is None:
        return jnp.mean(values, axis=0)
    total = jnp.sum(valid.astype(values.dtype))
    return jnp.sum(values, axis=0) / jnp.where(total > 0, total, 1.0)


def _soft_dice(
    probabilities: Float[Array, "n h w k"],
    labels: Float[Array, "n h w k"],
    weights: Float[Array, "n h w k"] | float = 1.0,
    *,
    axis: tuple[int, ...],
    lesion_weight: float = 1.0,
    epsilon: float,
) -> Float[Array, " ..."]:
    """((1 + a) sum(w p y) + eps) / (sum(w p) + a sum(w y) + eps) over `axis`, with plain sums (not squares)."""
    overlap = jnp.sum(weights * probabilities * labels, axis=axis)
    areas = jnp.sum(weights * probabilities, axis=axis) + lesion_weight * jnp.sum(weights * labels, axis=axis)
    return ((1.0 + lesion_weight) * overlap + epsilon) / (areas + epsilon)


def _aligned(
    logits: Float[Array, "n h w k"], masks: Shaped[Array, "n h w"]
) -> tuple[Float[Array, "n h w k"], Float[Array, "n h w k"]]:
    """Both in one dtype, float32 or wider, and one shape: the masks repeated for each side output."""
    if logits.shape[:-1] != masks.shape:
        raise ValueError(f"logits {logits.shape} and masks {masks.shape} must share (N, H, W); resize one first")
    logits = logits.astype(_wide(logits.dtype))
    return logits, jnp.broadcast_to(masks.astype(logits.dtype)[..., jnp.newaxis], logits.shape)


def _factor(valid: Shaped[Array, " n"] | None, images: int) -> Float[Array, " n"]:
    return jnp.ones(images) if valid is None else jnp.asarray(valid, jnp.result_type(float))


def _wide(dtype: jnp.dtype) -> jnp.dtype:
    return jnp.promote_types(dtype, jnp.float32)


def _expand(per_image: Array, like: Array) -> Array:
    """(N,) -> (N, 1, ...) with as many axes as `like`."""
    return per_image.reshape(per_image.shape + (1,) * (like.ndim - 1))
