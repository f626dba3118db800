"""Sizes of the networks for training from scratch: options of the modules, by architecture.

The segmenting ones that are compared with each other have about as many parameters: 2.3 million the small, 0.5 million
the tiny ones.
"""

from __future__ import annotations

from typing import Any

Options = dict[str, Any]


def _sizes(
    vgg: Options, res2net: Options, decoder: Options, *, fusion: tuple[int, ...], unet: tuple[int, ...], deep: int
) -> dict[str, Options]:
    """Options by architecture, from those of the parts; `deep`: channels of a Res2Net segmenter's deepest levels."""
    return {
        "classifier": res2net,
        "segmenter": {**vgg, **decoder},
        "joint": {**vgg, **res2net, **decoder, "fusion_channels": fusion, "classes": 2},
        "unet": {"channels": unet},
        "res2net_segmenter": {**res2net, "decoder_channels": (*decoder["decoder_channels"][:4], deep, deep)},
    }


# Between small and tiny: as much as two CPU cores train in half an hour, and small enough for a wheel.
SHIPPED: Options = {
    "vgg_channels": (8, 16, 32, 64, 96),
    "vgg_depths": (1, 1, 2, 2, 2),
    "stem": (16, 16, 24),
    "planes": (24, 40, 56, 80),
    "depths": (2, 2, 3, 2),
    "fusion_channels": (16, 24, 40, 64, 96),
    "decoder_channels": (16, 24, 40, 64, 96, 96),
    "classes": 2,
}
SMALL = _sizes(
    {"vgg_channels": (16, 32, 64, 128, 128), "vgg_depths": (2, 2, 2, 2, 2)},
    {"stem": (16, 16, 32), "planes": (32, 48, 64, 96), "depths": (2, 2, 3, 2)},
    {"decoder_channels": (16, 32, 64, 128, 128, 128)},
    fusion=(16, 32, 64, 128, 128),
    unet=(18, 36, 72, 144, 288),
    deep=112,
)
TINY = _sizes(
    {"vgg_channels": (8, 16, 32, 48, 64), "vgg_depths": (1, 1, 2, 2, 2)},
    {"stem": (8, 8, 16), "planes": (16, 24, 32, 48), "depths": (1, 1, 2, 1)},
    {"decoder_channels": (8, 16, 32, 48, 64, 64)},
    fusion=(8, 16, 32, 48, 64),
    unet=(8, 16, 32, 64, 144),
    deep=64,
)
