"""Small chests as DICOM and NIfTI files, whose opacities are known voxel by voxel, and a network that finds them."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from ct_files import write_dicom, write_nifti
from jaxtyping import Array
from phantom_study import phantom_study

import jcs_jax
from jcs_jax.models.output import ModelOutput
from jcs_jax.models.presets import Preset
from jcs_jax.preprocessing import Preprocessing

OPACITY = -333  # HU of opacities, and of nothing else
SLICES, ROWS, COLUMNS = 24, 64, 88
PIXEL, THICKNESS = 2.0, 5.0  # mm
CELL = 8
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
VARIABLES = {"params": {"class_head": {"kernel": np.array([[-1e4, 1e4], [1.0, -1.0]], np.float32)}}}
ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


class Chest(NamedTuple):
    """Slices from the feet up, rows backwards, columns to the left."""

    hounsfield: np.ndarray  # (24, 64, 88) int16
    mask: np.ndarray  # bool
    affine: np.ndarray  # to LPS mm


@functools.cache
def chest(*, seed: int = 3, lesions: int = 4) -> Chest:
    """The same arguments give the same chest; arrays are not to be changed."""
    made = phantom_study(seed, lesions=lesions, pixel=PIXEL, thickness=THICKNESS, prone=False)
    wide = ((0, 0), (0, 0), (0, COLUMNS - made.mask.shape[2]))
    hounsfield = np.pad(made.volume.hounsfield, wide, constant_values=-1000)
    mask = np.pad(made.mask, wide)
    hounsfield[np.abs(hounsfield - OPACITY) < 20] = OPACITY + 20
    hounsfield[mask] = OPACITY
    return Chest(hounsfield, mask, made.volume.affine)


def oriented(one: Chest, orientation: tuple) -> tuple[np.ndarray, np.ndarray]:
    """The voxels in another order of axes and directions, and the affine to RAS mm that goes with it.

    Args:
      one: the chest.
      orientation: of `ORIENTATIONS`: which of its axes come first, second and third, and 1 or -1 for each.
    """
    axes, signs = orientation
    array, affine = one.hounsfield.transpose(axes), one.affine[:, [*axes, 3]]
    for axis, sign in enumerate(signs):
        if sign < 0:
            array = np.flip(array, axis)
            affine = affine.copy()
            affine[:, 3] += affine[:, axis] * (array.shape[axis] - 1)
            affine[:, axis] *= -1
    return np.ascontiguousarray(array), RAS_FROM_LPS @ affine


def write_chest_nifti(path: Path, one: Chest, orientation: tuple = ((2, 1, 0), (1, 1, 1))) -> Path:
    """As NIfTI, by default with columns first."""
    return write_nifti(path, *oriented(one, orientation))


def write_chest_dicom(folder: Path, one: Chest, **elements: object) -> Path:
    """As a DICOM series under names that don't follow the slices; `elements` replace others by keyword."""
    for index, pixels in enumerate(one.hounsfield):
        given = {
            "SOPInstanceUID": f"1.2.3.4.{index}",
            "StudyInstanceUID": "1.2.3.1",
            "FrameOfReferenceUID": "1.2.3.2",
            "PixelSpacing": [PIXEL, PIXEL],
            "SliceThickness": THICKNESS,
            "ImagePositionPatient": [float(value) for value in (one.affine @ [index, 0, 0, 1])[:3]],
        }
        named = {keyword: value(index) if callable(value) else value for keyword, value in elements.items()}
        write_dicom(folder / f"{index * 7 % SLICES:03d}.dcm", pixels, **{**given, **named})
    return folder


class ChestNetwork(nn.Module):
    """Segments voxels of `OPACITY` HU; infected if there is one.

    A slice without any has log-odds of -2. `one_sided`: blind on the right half of the picture.
    """

    classifies: bool = True
    segments: bool = True
    one_sided: bool = False

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> ModelOutput:
        hounsfield = (images[..., :1] + 1) / 2 * 1500 - 1350
        found = (jnp.abs(hounsfield - OPACITY) < 3).astype(jnp.float32)
        if self.one_sided:
            found = found.at[:, :, found.shape[2] // 2 :].set(0)
        logits = side_logits = None
        intermediates = {}
        if self.classifies:
            pooled = nn.avg_pool(found, (CELL, CELL), (CELL, CELL))
            features = jnp.concatenate([pooled, jnp.ones_like(pooled)], axis=-1)
            intermediates["class_features"] = features
            logits = nn.Dense(2, use_bias=False, name="class_head")(features.mean((1, 2)))
        if self.segments:
            others = jnp.full((*found.shape[:-1], 4), -50.0)  # deep supervision must not reach the answer
            side_logits = jnp.concatenate([100 * found - 50, others], axis=-1)
        return ModelOutput(logits, side_logits, intermediates)


def chest_preset(architecture: str = "joint", **options: object) -> Preset:
    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing(size=(ROWS, COLUMNS), mean=half, std=half)
    return Preset("chest", architecture, {}, preprocessing, source="made for tests", **options)


def kernel(bias: float) -> dict:
    """Variables with which slices without opacity have log-odds of `bias`."""
    return {"params": {"class_head": {"kernel": np.array([[-1e4, 1e4], [-bias / 2, bias / 2]], np.float32)}}}


def networks() -> dict[str, tuple]:
    """Model, variables and preset by the name of a model folder."""
    return {
        "joint": (ChestNetwork(), VARIABLES, chest_preset()),
        "one_sided": (ChestNetwork(one_sided=True), VARIABLES, chest_preset()),
        "classifier": (ChestNetwork(segments=False), VARIABLES, chest_preset("classifier")),
        "alarmist": (ChestNetwork(segments=False), kernel(2.0), chest_preset("classifier")),
        "segmenter": (ChestNetwork(classifies=False), {"params": {}}, chest_preset("segmenter")),
        "other/joint": (ChestNetwork(), VARIABLES, chest_preset(class_threshold=0.75)),
    }


@pytest.fixture
def chest_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `networks` be loaded from a folder `models`, by their names."""
    loaded = networks()
    monkeypatch.setattr(
        jcs_jax, "load_model", lambda path: loaded[Path(path).relative_to("models").as_posix()], raising=False
    )
