"""The joint network: both encoders feed one decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from jcs_jax.models.classifier import Classifier
from jcs_jax.models.output import ModelOutput, named, numbered, pooled_class_logits, refuse_bad_dropout
from jcs_jax.models.segmentation import add_context, decode
from jcs_jax.nn.decoder import EncoderFusion
from jcs_jax.nn.layers import NormKind, Style
from jcs_jax.nn.res2net import Res2NetEncoder
from jcs_jax.nn.vgg import VGGEncoder


def fusion_norm(norm: NormKind) -> NormKind:
    """The norm where the encoders meet: the reference runs a batch norm there with fixed statistics."""
    return "fixed_statistics" if norm == "frozen" else norm


class JointNetwork(nn.Module):
    """VGG and Res2Net encoders, fused level by level, and the segmentation branch's context and decoder.

    Source: JCS paper, joint diagnosis; `Models/joint_model.py` of the release, which has no class head.

    Attributes:
      vgg_channels: of VGG's five stages; the context modules have as many as the last.
      vgg_depths: convolutions per stage.
      stem: channels of Res2Net's stem.
      planes: of Res2Net's stages.
      depths: blocks per stage.
      fusion_channels: of the five fused levels.
      decoder_channels: of the five levels and the deepest one.
      classes: number of classes of a linear head on Res2Net's last stage; 0 for none, as in the release.
      dropout: of the pooled features before that head in training, in [0, 1).
      style: norm and dtypes. With `batch` or `group` fusion and decoder are normalised too.
    """

    vgg_channels: Sequence[int] = (64, 128, 256, 512, 512)
    vgg_depths: Sequence[int] = (2, 2, 3, 3, 3)
    stem: Sequence[int] = (32, 32, 64)
    planes: Sequence[int] = (64, 128, 256, 512)
    depths: Sequence[int] = (3, 4, 23, 3)
    fusion_channels: Sequence[int] = (64, 128, 256, 512, 512)
    decoder_channels: Sequence[int] = (64, 128, 256, 512, 512, 512)
    classes: int = 0
    dropout: float = 0.0
    style: Style = Style()

    def __post_init__(self) -> None:
        """Refuses a rate of dropout outside [0, 1)."""
        refuse_bad_dropout(self.dropout)
        super().__post_init__()

    def screening_part(self) -> Classifier:
        """The part that classifies, with the same names of parameters; only for networks with a class head."""
        return Classifier(
            self.stem, self.planes, self.depths, self.classes, self.dropout, style=self.style, parent=None
        )

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n h w 3"] | None = None,
        *,
        vgg_features: Float[Array, "n h w c"] | None = None,
        res2net_features: Float[Array, "n h2 w2 d"] | None = None,
        res2net_stages: Mapping[str, Float[Array, "n h2 w2 e"]] | None = None,
        train: bool = False,
    ) -> ModelOutput:
        """Segments (and with a class head classifies) images or stored first-stage features.

        Args:
          images: (N, H, W, 3) float, normalised; each encoder reads them unless its features are given.
          vgg_features: (N, H, W, vgg_channels[0]), VGG's stage 1 after ReLU, at the image's size.
          res2net_features: (N, ceil(H/2), ceil(W/2), stem[-1]), Res2Net's stem after ReLU.
          train: whether a live batch norm uses the batch's statistics, features are dropped (which needs a key
            `dropout` in `rngs`), and `style.remat` applies.
          res2net_stages: all five stages, `stage0` to `stage4`, where `screening_part` has computed them; Res2Net is
            not run then.

        Returns:
          Output with `side_logits` at the image's size, and `class_logits` where there is a class head.
        """
        vgg_input = images if vgg_features is None else vgg_features
        res2net_input = images if res2net_features is None else res2net_features
        if vgg_input is None or res2net_input is None:
            raise ValueError("the joint network needs images, or both vgg_features and res2net_features")
        vgg = VGGEncoder(self.vgg_channels, self.vgg_depths, style=self.style, name="vgg")(
            vgg_input, from_features=vgg_features is not None, train=train
        )
        res2net = res2net_stages or Res2NetEncoder(
            self.stem, self.planes, self.depths, style=self.style, name="res2net"
        )(res2net_input, from_features=res2net_features is not None, train=train)
        context = add_context(vgg["stage5"], self.vgg_channels[-1], self.style, train=train)
        stage5, stage6 = context.values()
        fusion_style = self.style.with_norm(fusion_norm(self.style.norm))
        fused = EncoderFusion(self.fusion_channels, style=fusion_style, name="fusion")(
            [*(vgg[f"stage{number}"] for number in range(1, 5)), stage5],
            [res2net[f"stage{number}"] for number in range(5)],
            train=train,
        )
        side_logits, levels = decode(
            [*fused, stage6], vgg_input.shape[1:3], self.decoder_channels, self.style, train=train
        )
        intermediates = {
            **named("vgg", vgg),
            **named("res2net", dict(res2net)),
            **context,
            **numbered("fused.stage", fused),
            **levels,
        }
        class_logits = None
        if self.classes:
            intermediates["class_features"] = res2net["stage4"]
            class_logits = pooled_class_logits(
                res2net["stage4"], self.classes, self.style, dropout=self.dropout, train=train
            )
        return ModelOutput(class_logits, side_logits, intermediates)
