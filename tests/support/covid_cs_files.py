"""Synthetic files in exactly the form in which COVID-CS is released: lists, annotation PNGs and .mat files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

FEATURES = "feats_joint_pretrained"
SIDES = {
    "segmentation_features": (512, 256),
    "segmentation_features_half": (256, 128),
    "classification_features": (None, 112),
}
SLICES_A_PATIENT = 2


def slice_name(index: int, patient: int | None = None) -> str:
    """A 32-digit patient hash and a slice number, as in the release; slices 2p and 2p + 1 are of patient p."""
    number = index // SLICES_A_PATIENT if patient is None else patient
    return f"{hashlib.md5(bytes([number])).hexdigest()}_{140 + index:04d}"


def feature_values(side: int, seed: int, values: int = 500) -> np.ndarray:
    """(1, 64, side, side) uint8, mostly zero so that it is written and compressed fast."""
    rng = np.random.default_rng([7, seed])
    array = np.zeros((1, 64, side, side), np.uint8)
    array.ravel()[rng.choice(array.size, values, replace=False)] = rng.integers(1, 200, values)
    return array


def lesion_mask(side: int, seed: int) -> np.ndarray:
    """(side, side) 0/1: one rectangle of seed + 1 rows; slice 0 shows none."""
    mask = np.zeros((side, side), np.uint8)
    if seed:
        mask[2 : 3 + seed % (side - 4), 5 : side // 2] = 1
    return mask


def slice_pixels(side: int, seed: int) -> np.ndarray:
    """(side, side) uint8 of noise."""
    return np.random.default_rng([8, seed]).integers(0, 256, (side, side), np.uint8)


def save_picture(path: Path, pixels: np.ndarray) -> None:
    """A grey PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def save_feature_file(path: Path, sides: tuple[int | None, int], seed: int, *, compressed: bool = False) -> None:
    """One .mat file: both networks' features, or the stem alone under another name."""
    vgg_side, res2net_side = sides
    stem = feature_values(res2net_side, seed)
    arrays = (
        {"feat": stem[0]} if vgg_side is None else {"vgg_feats": feature_values(vgg_side, seed), "res2net_feats": stem}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, arrays, do_compression=compressed)


def write_covid_cs(
    folder: Path,
    config: str = "segmentation_features",
    *,
    train: int = 2,
    test: int = 1,
    sides: tuple[int | None, int] | None = None,
    mask_side: int | None = None,
    compressed: bool = False,
) -> Path:
    """Writes a copy of so many slices.

    Args:
      folder: becomes the folder COVID-CS.
      config: one of the builder's.
      train: slices 0, 1, ... of the list train.txt.
      test: slices of test.txt; they begin a new patient.
      sides: of the features of VGG and Res2Net; None for those of the config.
      mask_side: of the annotations; None for the side of VGG's features, or of the slices.
      compressed: whether the .mat files are.
    """
    first_test = -(-train // SLICES_A_PATIENT) * SLICES_A_PATIENT
    sides = sides or SIDES.get(config, (512, 0))
    folder.mkdir(parents=True)
    for split, indices in (("train", range(train)), ("test", range(first_test, first_test + test))):
        lines = []
        for index in indices:
            name = slice_name(index)
            if config == "classification_features":
                stored = f"feats/{name}.mat"
                lines.append(f"{stored} {index // SLICES_A_PATIENT % 2}\n")
            else:
                stored = f"{FEATURES}/{name}.mat"
                lines.append(f"image/{name}.png annotation/{name}.png\n")
                save_picture(folder / f"annotation/{name}.png", lesion_mask(mask_side or sides[0], index) * 255)
            if config == "images":
                save_picture(folder / f"image/{name}.png", slice_pixels(mask_side or sides[0], index))
            else:
                save_feature_file(folder / stored, sides, index, compressed=compressed)
        (folder / f"{split}.txt").write_text("".join(lines))
    return folder


def write_table(path: Path, rows: list[Mapping[str, object]]) -> None:
    """Writes a CSV with the columns of the first row."""
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
