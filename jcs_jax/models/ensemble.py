"""Several networks of one kind whose answers are averaged."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jcs_jax.models.joint import JointNetwork
from jcs_jax.models.output import MEMBER, ModelOutput, mean_of_side_logits


class Ensemble(nn.Module):
    """Runs networks of one architecture on the same slices: `member1`, `member2` and so on are their variables.

    Class logits are averaged, and side maps as probabilities. Maps of the members stand side by side along channels, so
    that the class features and `class_head_kernel` give the mean of the logits, as those of a single network do.

    Source: Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles, NeurIPS
    2017.

    Attributes:
      member: one of them, of `create_model`.
      members: how many.
    """

    member: nn.Module
    members: int

    @property
    def shares_trunk(self) -> bool:
        """Whether the members classify and segment on one encoder."""
        return isinstance(self.member, JointNetwork)

    def screening_part(self) -> Ensemble:
        """The members' parts that classify; only for joint networks with a class head."""
        if not isinstance(self.member, JointNetwork):
            raise ValueError("only joint networks have a part that screens")
        return Ensemble(self.member.screening_part(), self.members, parent=None)

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n h w 3"] | None = None,
        *,
        res2net_stages: dict[str, Float[Array, "n h2 w2 e"]] | None = None,
        train: bool = False,
        **stored: Float[Array, "n h2 w2 c"],
    ) -> ModelOutput:
        """Averages what the members say.

        Args:
          images: (N, H, W, 3), as the networks take them.
          res2net_stages: of all members side by side, as `screening_part` gives them.
          train: of the networks.
          **stored: first-stage features in place of images.

        Returns:
          Output of the networks; maps that all members have, side by side.
        """
        shares: list[dict[str, Any]] = [{} for _ in range(self.members)]
        for name, maps in (res2net_stages or {}).items():
            for share, part in zip(shares, jnp.split(maps, self.members, axis=-1), strict=True):
                share.setdefault("res2net_stages", {})[name] = part
        outputs: list[ModelOutput] = []
        for number, share in enumerate(shares, start=1):
            network: Any = self.member.copy(parent=self, name=f"{MEMBER}{number}")
            outputs.append(network(images, **stored, **share, train=train))
        class_logits = [one.class_logits for one in outputs if one.class_logits is not None]
        side_logits = [one.side_logits for one in outputs if one.side_logits is not None]
        side_by_side = {
            name: jnp.concatenate([one.intermediates[name] for one in outputs], axis=-1)
            for name in outputs[0].intermediates
        }
        return ModelOutput(
            jnp.mean(jnp.stack(class_logits), axis=0) if class_logits else None,
            mean_of_side_logits(side_logits) if side_logits else None,
            side_by_side,
        )
