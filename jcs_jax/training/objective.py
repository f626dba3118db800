"""What a training run minimises."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from jcs_jax.explain import INFECTED, UNINFECTED, class_activation_map
from jcs_jax.losses import (
    activation_map_loss,
    classification_loss,
    deep_supervision_loss,
    per_image_deep_supervision,
    restoration_loss,
)
from jcs_jax.models.output import ModelOutput

Metrics = dict[str, Float[Array, ""]]
_SEGMENTATION, _CLASSIFICATION, _MAP = "segmentation_loss", "classification_loss", "map_loss"


@dataclasses.dataclass(frozen=True)
class Objective:
    """A weighted sum of losses, each the mean over the images that it can be measured on.

    Attributes:
      segmentation: `per_image`, each image's BCE and Dice by itself, images without a mask left out; `reference`, Dice
        over the whole batch as released; or `restoration`, the greys of slices that `Restoration` has damaged.
      lesion_weight: what missing an opacified pixel costs against marking a clear one, `per_image` only; see
        `per_image_bce_dice`.
      cross_entropy_weight: factor of BCE beside Dice, `per_image` only; see `per_image_bce_dice`.
      segmentation_weight: factor of the segmentation loss, which sums five side maps.
      classification_weight: factor of the cross-entropy, over images whose label is known.
      class_weights: factors of the cross-entropy of uninfected and infected images.
      label_smoothing: of the cross-entropy, in [0, 1].
      map_weight: factor of the activation map's disagreement with the mask, over images with a mask.
      map_warmup_steps: over which `map_weight` rises from 0.
      map_lesion_weight: of opacified positions, see `activation_map_loss`.
      map_offset: see `activation_map_loss`.
    """

    segmentation: str = "per_image"
    lesion_weight: float = 1.0
    cross_entropy_weight: float = 1.0
    segmentation_weight: float = 1.0
    classification_weight: float = 1.0
    class_weights: tuple[float, float] = (1.0, 1.0)
    label_smoothing: float = 0.0
    map_weight: float = 0.0
    map_warmup_steps: int = 0
    map_lesion_weight: float = 4.0
    map_offset: float = 2.0

    def __post_init__(self) -> None:
        """Refuses a segmentation loss that isn't there, and weights that it can't have."""
        if self.segmentation not in ("per_image", "reference", "restoration"):
            raise ValueError(f"the segmentation loss is per_image, reference or restoration, not {self.segmentation!r}")
        if not 0 < self.lesion_weight < float("inf"):
            raise ValueError(f"lesion_weight is {self.lesion_weight}; it must be above 0")
        if not 0 <= self.cross_entropy_weight < float("inf"):
            raise ValueError(f"cross_entropy_weight is {self.cross_entropy_weight}; it must be at least 0")
        for name in ("lesion_weight", "cross_entropy_weight"):
            if self.segmentation != "per_image" and getattr(self, name) != 1:
                raise ValueError(f"{name} changes single slices' loss only; set config.loss.segmentation=per_image")

    def counts(self, batch: Mapping[str, Array]) -> Metrics:
        """How many images of a batch each loss can be measured on."""
        with_mask = jnp.sum(batch["valid"] * batch["mask_valid"])
        with_label = jnp.sum(batch["valid"] * batch["label_valid"])
        return {_SEGMENTATION: with_mask, _CLASSIFICATION: with_label, _MAP: with_mask}

    def weights(self, step: Array | float = float("inf")) -> Metrics:
        """The factor of each loss after so many steps; without a number, at the end of the map's warm-up."""
        risen = jnp.clip(step / self.map_warmup_steps, 0, 1) if self.map_warmup_steps else 1.0
        factors = (self.segmentation_weight, self.classification_weight, self.map_weight * risen)
        names = (_SEGMENTATION, _CLASSIFICATION, _MAP)
        return {name: jnp.asarray(factor) for name, factor in zip(names, factors, strict=True)}

    def losses(
        self,
        output: ModelOutput,
        batch: Mapping[str, Array],
        counts: Metrics,
        *,
        head_kernel: Float[Array, "c 2"] | None = None,
    ) -> Metrics:
        """Every loss that the network has an output for: the sum over the batch's images, divided by the count.

        Args:
          output: of the network for the batch.
          batch: as of the data pipeline.
          counts: what to divide by; nothing is divided by less than 1.
          head_kernel: of the class head, for the activation map; None leaves the map alone.
        """
        values: Metrics = {}
        if output.side_logits is not None:
            values[_SEGMENTATION] = self._segmentation(output.side_logits, batch, counts[_SEGMENTATION])
        if output.class_logits is not None:
            values[_CLASSIFICATION] = self._classification(output.class_logits, batch, counts[_CLASSIFICATION])
            if self.map_weight and head_kernel is not None:
                features = output.intermediates["class_features"]
                values[_MAP] = self._map(features, head_kernel, batch, counts[_MAP])
        return values

    def __call__(
        self,
        output: ModelOutput,
        batch: Mapping[str, Array],
        *,
        counts: Metrics | None = None,
        head_kernel: Float[Array, "c 2"] | None = None,
        step: Array | float = float("inf"),
    ) -> tuple[Float[Array, ""], Metrics]:
        """The batch's loss and its parts.

        Args:
          output: of the network for the batch.
          batch: as of the data pipeline; a slice's mask may be valid in part, and with `mask_certainty`,
            (N, h, w) in [0, 1], each pixel counts by it in the per-image segmentation loss.
          counts: of the whole batch, where `batch` is a part of it; the parts' losses then add up to the whole's.
            None: the counts of `batch`.
          head_kernel: as `losses`.
          step: steps taken, for the schedule of the map's weight.

        Returns:
          The weighted sum, and every loss by name.
        """
        values = self.losses(output, batch, self.counts(batch) if counts is None else counts, head_kernel=head_kernel)
        weights = self.weights(step)
        return sum((weights[name] * value for name, value in values.items()), jnp.zeros(())), values

    def _segmentation(self, side_logits: Array, batch: Mapping[str, Array], count: Array) -> Float[Array, ""]:
        if self.segmentation == "reference":
            return deep_supervision_loss(side_logits, batch["mask"]).sum()
        valid = batch["valid"] * batch["mask_valid"]
        if self.segmentation == "restoration":
            return (restoration_loss(side_logits, batch["mask"]) * valid).sum() / jnp.maximum(count, 1.0)
        certainty = batch.get("mask_certainty")
        values = per_image_deep_supervision(
            side_logits,
            batch["mask"],
            valid=valid,
            pixel_weights=certainty,
            lesion_weight=self.lesion_weight,
            cross_entropy_weight=self.cross_entropy_weight,
        )
        return values.sum() / jnp.maximum(count, 1.0)

    def _classification(self, logits: Array, batch: Mapping[str, Array], count: Array) -> Float[Array, ""]:
        valid = batch["valid"] * batch["label_valid"]
        shares = jnp.stack([1 - batch["label"], batch["label"]], axis=-1)
        values = classification_loss(
            logits,
            shares,
            label_smoothing=self.label_smoothing,
            class_weights=jnp.asarray(self.class_weights),
            valid=valid,
        )
        return values.sum() / jnp.maximum(count, 1.0)

    def _map(self, features: Array, kernel: Array, batch: Mapping[str, Array], count: Array) -> Float[Array, ""]:
        activation = class_activation_map(features, kernel, INFECTED, against=UNINFECTED)
        values = activation_map_loss(
            activation,
            batch["mask"],
            offset=self.map_offset,
            lesion_weight=self.map_lesion_weight,
            valid=batch["valid"] * batch["mask_valid"],
        )
        return values.sum() / jnp.maximum(count, 1.0)
