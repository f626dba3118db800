"""A tiny stand-in for a local copy of COVID-19-CT100: grey squares of noise with palette masks."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 40


def save_mask(path: Path, mask: np.ndarray) -> None:
    """Saves a 0/1 mask as the release does: palette indices, with black and white as their colours."""
    indexed = Image.frombytes("P", mask.shape[::-1], mask.astype(np.uint8).tobytes())
    indexed.putpalette([0, 0, 0, 255, 255, 255])
    indexed.save(path)


def line(index: int) -> str:
    """The list line of a slice."""
    return f"tr_im/tr_im_{index:04d}.png tr_mask_new/tr_mask_{index:04d}.png"


def write_list(folder: Path, name: str, indices: list[int]) -> None:
    """Writes a list of slices."""
    (folder / name).write_text("\n".join(map(line, indices)) + "\n")


def write_copy(folder: Path, count: int = 7) -> Path:
    """Writes `count` slices with `all.txt`; slice i has a lesion of i + 1 rows, but slice 0 none."""
    (folder / "tr_im").mkdir(parents=True)
    (folder / "tr_mask_new").mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        pixels = rng.integers(0, 256, (SIZE, SIZE + 8), np.uint8)
        Image.fromarray(pixels).save(folder / f"tr_im/tr_im_{index:04d}.png")
        mask = np.zeros(pixels.shape, np.uint8)
        mask[: index + 1 if index else 0] = 1
        save_mask(folder / f"tr_mask_new/tr_mask_{index:04d}.png", mask)
    write_list(folder, "all.txt", list(range(count)))
    return folder
