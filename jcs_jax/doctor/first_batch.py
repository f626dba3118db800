"""The first batch, as the network would be given it: in numbers and as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from jcs_jax.data.inputs import Batch
from jcs_jax.doctor.findings import Finding, percent
from jcs_jax.notice import RESEARCH_USE
from jcs_jax.preprocessing import Preprocessing, decode_features
from jcs_jax.report.overlay import REFERENCE_COLOR

MOST_TILES = 8
_CHECK = "first batch"
_COLUMNS = 4
_TILE = 320  # pixels
_TEXT_HEIGHT, _FONT_SIZE, _GAP = 24, 15, 4
_BACKGROUND, _TEXT = (18, 18, 18), (240, 240, 240)


def check_first_batch(batch: Batch, *, restores: bool = False) -> Finding:
    """Describes a batch; an error where it holds NaN or infinity, a warning where there is nothing to learn from.

    Args:
      batch: as of `TrainingBatches`.
      restores: whether damaged slices are to be given back, which takes neither masks nor labels.
    """
    inputs = {name: array for name, array in batch.items() if name == "image" or name.endswith("_features")}
    shown = ", ".join(f"{name} {' x '.join(map(str, array.shape))}" for name, array in inputs.items())
    finite = all(np.isfinite(array).all() for array in batch.values())
    masks, labels = int(batch["mask_valid"].sum()), int(batch["label_valid"].sum())
    numbers = {
        "slices": len(batch["valid"]),
        "with_mask": masks,
        "with_label": labels,
        "lowest": min(float(array.min()) for array in inputs.values()),
        "highest": max(float(array.max()) for array in inputs.values()),
    }
    span = f"values {numbers['lowest']:.2f} to {numbers['highest']:.2f}"
    found = f"{shown}, {span}; {masks} with a mask, {labels} with a label"
    if not finite:
        cure = "look for NaN in the slices; normalisation and augmentation make none"
        return Finding(_CHECK, "error", f"{shown}: some values are NaN or infinite", cure)
    if not (masks or labels or restores):
        cure = "raise config.batch_size, mix less, or add masks or labels"
        return Finding(_CHECK, "warning", f"{found}: nothing to learn from", cure, numbers)
    return Finding(_CHECK, "ok", found, numbers=numbers)


def draw_batch(batch: Batch, preprocessing: Preprocessing, *, caption: str) -> Image.Image:
    """The first slices of a batch in a grid, un-normalised, masks outlined in blue; no names.

    Args:
      batch: as of `TrainingBatches`.
      preprocessing: of the network, to undo the normalisation.
      caption: a line for the strip below.

    Returns:
      An RGB picture.
    """
    count = min(len(batch["valid"]), MOST_TILES)
    columns = min(count, _COLUMNS)
    rows = math.ceil(count / columns)
    width, height = columns * (_TILE + _GAP) - _GAP, rows * (_TILE + _TEXT_HEIGHT + _GAP)
    canvas = Image.new("RGB", (width, height + 3 * _TEXT_HEIGHT), _BACKGROUND)
    for number in range(count):
        row, column = divmod(number, columns)
        place = column * (_TILE + _GAP), row * (_TILE + _TEXT_HEIGHT + _GAP)
        example = {key: values[number] for key, values in batch.items()}
        canvas.paste(_tile(example, preprocessing), place)
        _write(canvas, (place[0], place[1] + _TILE), f"{number}: {_describe(example)}", width=_TILE)
    _write(canvas, (0, height), "mask: outlined", width=width, color=REFERENCE_COLOR)
    _write(canvas, (0, height + _TEXT_HEIGHT), caption, width=width)
    _write(canvas, (0, height + 2 * _TEXT_HEIGHT), RESEARCH_USE, width=width)
    return canvas


def _tile(example: Mapping[str, np.ndarray], preprocessing: Preprocessing) -> Image.Image:
    grey = np.round(np.clip(np.nan_to_num(_grey(example, preprocessing)), 0, 1) * 255).astype(np.uint8)
    picture = np.asarray(Image.fromarray(grey).resize((_TILE, _TILE), Image.Resampling.BICUBIC).convert("RGB")).copy()
    region = Image.fromarray((example["mask"] > 0.5).astype(np.uint8) * 255)
    inside = np.asarray(region.resize((_TILE, _TILE), Image.Resampling.NEAREST)) > 0
    picture[_outline(inside)] = REFERENCE_COLOR
    return Image.fromarray(picture)


def _grey(example: Mapping[str, np.ndarray], preprocessing: Preprocessing) -> Float[np.ndarray, "h w"]:
    """The slice in [0, 1]; of stored features, the mean over the channels of the first encoder's."""
    if "image" in example:
        return example["image"][..., 0] * preprocessing.std[0] + preprocessing.mean[0]
    features = next(example[name] for name in ("vgg_features", "res2net_features") if name in example)
    plane = decode_features(features).mean(axis=-1)
    return plane / max(float(plane.max()), 1e-6)


def _outline(inside: np.ndarray) -> np.ndarray:
    """The inner border of a region, two pixels wide."""
    padded = np.pad(inside, 2)
    core = inside.copy()
    for row in range(5):
        for column in range(5):
            core &= padded[row : row + inside.shape[0], column : column + inside.shape[1]]
    return inside & ~core


def _describe(example: Mapping[str, np.ndarray]) -> str:
    label = f"label {float(example['label']):.3g}" if example["label_valid"] else "label unknown"
    mask = f"mask {percent(float(example['mask'].mean()))}" if example["mask_valid"] else "no mask"
    return f"{label}, {mask}"


def _write(
    canvas: Image.Image, place: tuple[int, int], text: str, *, width: int, color: tuple[int, int, int] = _TEXT
) -> None:
    """A line of text whose font shrinks until it fits."""
    font = ImageFont.load_default(_FONT_SIZE)
    room = width - 12
    if (length := font.getlength(text)) > room:
        font = ImageFont.load_default(_FONT_SIZE * room / length)
    middle = place[0] + 6, place[1] + _TEXT_HEIGHT / 2
    ImageDraw.Draw(canvas).text(middle, text, font=font, fill=color, anchor="lm")
