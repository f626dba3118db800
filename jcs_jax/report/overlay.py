"""Pictures of a result: the slice with its mask, or with its activation map, and a strip that explains it.

Nothing is written over the anatomy: text, legend and scale bar stand below the picture.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from jcs_jax.notice import RESEARCH_USE
from jcs_jax.report.colormap import LEVELS, colorize, normalize_map

MIN_PICTURE_SIDE = 512
MAX_PICTURE_SIDE = 2048
# Okabe and Ito's orange and sky blue: told apart in all common kinds of colour blindness, and never grey.
LESION_COLOR = (230, 159, 0)
REFERENCE_COLOR = (86, 180, 233)
FILL_OPACITY = 0.22
MAP_OPACITY = 0.55
MAP_FULL_OPACITY_FROM = 0.35  # of the scale; below, the map fades so that anatomy stays readable
_STRIP_COLOR = (18, 18, 18)
_TEXT_COLOR = (240, 240, 240)
_SOFT_TEXT_COLOR = (190, 190, 190)


def mask_overlay(
    intensity: Float[np.ndarray, "h w"],
    mask: Bool[np.ndarray, "h w"],
    *,
    caption: str = "",
    reference: Bool[np.ndarray, "h w"] | None = None,
) -> Image.Image:
    """Draws the predicted lesion (orange, outlined and lightly filled) on the slice.

    Args:
      intensity: (H, W) in [0, 1].
      mask: (H, W), the prediction.
      caption: a line of text for the strip below.
      reference: (H, W), a reader's mask to outline in blue, where there is one.

    Returns:
      An RGB picture, at least 512 pixels on its shorter side.
    """
    picture = _grey_picture(intensity)
    width = picture.width
    rows = [_text_row(width, _lesion_text(mask), swatch=LESION_COLOR)]
    picture = _draw_region(picture, mask, LESION_COLOR, FILL_OPACITY)
    if reference is not None:
        picture = _draw_region(picture, reference, REFERENCE_COLOR, 0.0)
        rows.append(_reference_row(width))
    return _with_strip(picture, rows, caption)


def activation_overlay(
    intensity: Float[np.ndarray, "h w"],
    activation: Float[np.ndarray, "h w"],
    *,
    scale: float,
    caption: str = "",
    reference: Bool[np.ndarray, "h w"] | None = None,
) -> Image.Image:
    """Draws the positive part of an activation map, what speaks for infection, on the slice, with a scale bar.

    Args:
      intensity: (H, W) in [0, 1].
      activation: (H, W), finite and signed: log-odds of infection against no infection.
      scale: the value of the last colour, the same for all slices that are compared; 0 if nothing is positive.
      caption: a line of text for the strip below.
      reference: (H, W), a reader's mask to outline in blue, where there is one.

    Returns:
      An RGB picture, at least 512 pixels on its shorter side.
    """
    picture = _grey_picture(intensity)
    values = Image.fromarray(normalize_map(activation, scale)).resize(picture.size, Image.Resampling.BILINEAR)
    normalized = np.asarray(values)
    blended = _blend(np.asarray(picture), colorize(normalized), _map_opacity(normalized))
    picture = Image.fromarray(blended)
    rows = [_scale_row(picture.width, scale)]
    if reference is not None:
        picture = _draw_region(picture, reference, REFERENCE_COLOR, 0.0)
        rows.append(_reference_row(picture.width))
    return _with_strip(picture, rows, caption)


def mask_picture(mask: Bool[np.ndarray, "h w"]) -> Image.Image:
    """A mask as a grey picture of its own size, 0 and 255, so that any viewer shows it."""
    return Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))


def png_bytes(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _grey_picture(intensity: Float[np.ndarray, "h w"]) -> Image.Image:
    """The slice as RGB, enlarged to at least 512 pixels a side; a very large one is reduced to 2048."""
    grey = np.round(np.clip(intensity, 0, 1) * 255).astype(np.uint8)
    height, width = grey.shape
    factor = max(MIN_PICTURE_SIDE / min(height, width), min(1.0, MAX_PICTURE_SIDE / max(height, width)))
    size = (round(width * factor), round(height * factor))
    return Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC).convert("RGB")


def _draw_region(
    picture: Image.Image, mask: Bool[np.ndarray, "h w"], color: tuple[int, int, int], opacity: float
) -> Image.Image:
    """Fills a region lightly and outlines it, with a dark rim that keeps the line visible on bright tissue."""
    region = mask_picture(mask).resize(picture.size, Image.Resampling.NEAREST)
    stroke = max(1, round(min(picture.size) / 320))
    inner = np.asarray(region.filter(ImageFilter.MinFilter(2 * stroke + 1))) > 0
    outer = np.asarray(region.filter(ImageFilter.MaxFilter(3))) > 0
    inside = np.asarray(region) > 0
    pixels = _blend(np.asarray(picture), np.array(color, np.uint8), np.where(inside, opacity, 0.0))
    pixels[inside & ~inner] = color
    pixels[outer & ~inside] = (0, 0, 0)
    return Image.fromarray(pixels)


def _blend(
    base: UInt8[np.ndarray, "h w 3"], color: UInt8[np.ndarray, "*hw 3"], opacity: Float[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 3"]:
    weight = opacity.astype(np.float32)[..., np.newaxis]
    return np.round(base * (1 - weight) + color * weight).astype(np.uint8)


def _map_opacity(normalized: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    return MAP_OPACITY * np.clip(normalized / MAP_FULL_OPACITY_FROM, 0, 1)


def _lesion_text(mask: Bool[np.ndarray, "h w"]) -> str:
    return f"predicted lesion: {mask.mean():.1%} of the picture" if mask.any() else "no lesion predicted"


def _reference_row(width: int) -> Image.Image:
    return _text_row(width, "reference outline", swatch=REFERENCE_COLOR)


def _with_strip(picture: Image.Image, rows: Sequence[Image.Image], caption: str) -> Image.Image:
    """Puts legend rows, the caption and the research-use line below a picture."""
    texts = [_text_row(picture.width, caption)] if caption else []
    closing = _text_row(picture.width, RESEARCH_USE, color=_SOFT_TEXT_COLOR)
    parts = [picture, *rows, *texts, closing]
    canvas = Image.new("RGB", (picture.width, sum(part.height for part in parts)), _STRIP_COLOR)
    top = 0
    for part in parts:
        canvas.paste(part, (0, top))
        top += part.height
    return canvas


def _text_row(
    width: int,
    text: str,
    *,
    swatch: tuple[int, int, int] | None = None,
    color: tuple[int, int, int] = _TEXT_COLOR,
) -> Image.Image:
    """One line of text, with a filled square before it if asked; the font shrinks until the line fits."""
    size = _font_size(width)
    row = Image.new("RGB", (width, round(1.6 * size)), _STRIP_COLOR)
    draw = ImageDraw.Draw(row)
    left = size // 2
    middle = row.height / 2
    if swatch:
        draw.rectangle((left, middle - size * 0.4, left + size * 0.8, middle + size * 0.4), fill=swatch)
        left += round(1.3 * size)
    room = width - left - size // 2
    fitting: float = size
    font = ImageFont.load_default(fitting)
    while font.getlength(text) > room and fitting > 1:  # letters are whole pixels wide: no single ratio will do
        fitting *= 0.95
        font = ImageFont.load_default(fitting)
    draw.text((left, middle), text, font=font, fill=color, anchor="lm")
    return row


def _scale_row(width: int, scale: float) -> Image.Image:
    """The colours from 0 to `scale` as they look on mid-grey tissue, with numbers below."""
    if scale == 0:
        return _text_row(width, "log-odds of infection against no infection: nowhere above 0")
    size = _font_size(width)
    margin, bar_height = size // 2, size
    bar_width = width - 2 * margin
    position = np.broadcast_to(np.linspace(0, 1, bar_width, dtype=np.float32), (bar_height, bar_width))
    tissue = np.full((bar_height, bar_width, 3), LEVELS // 2, np.uint8)
    bar = _blend(tissue, colorize(position), _map_opacity(position))
    title = _text_row(width, "activation: log-odds of infection against no infection (one scale for all slices)")
    row = Image.new("RGB", (width, title.height + bar_height + round(1.5 * size)), _STRIP_COLOR)
    row.paste(title, (0, 0))
    row.paste(Image.fromarray(bar), (margin, title.height))
    draw = ImageDraw.Draw(row)
    font = ImageFont.load_default(size * 0.9)
    for share, anchor in ((0.0, "la"), (0.5, "ma"), (1.0, "ra")):
        place = (margin + share * bar_width, title.height + bar_height + size * 0.2)
        label = f"{share * scale:#.3g}" if share else "0 and below"
        draw.text(place, label, font=font, fill=_TEXT_COLOR, anchor=anchor)
    return row


def _font_size(width: int) -> int:
    return max(15, width // 34)
