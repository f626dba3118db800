"""Fills one case's folder: pictures of every slice, then `diagnosis.json`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from jcs_jax.diagnosis.result import Diagnosis, ModelCard, SliceDiagnosis, SliceFindings
from jcs_jax.errors import InputError
from jcs_jax.report import json_report
from jcs_jax.report.colormap import shared_scale
from jcs_jax.report.overlay import activation_overlay, mask_overlay, mask_picture, png_bytes

REPORT_NAME = "diagnosis.json"


def require_free(folder: Path, *, source: Path, overwrite: bool) -> None:
    """Makes sure that writing a case to `folder` loses nothing but an earlier result.

    Args:
      folder: where the case will go.
      source: the case's input, which must not be replaced.
      overwrite: whether an earlier result may be.

    Raises:
      InputError: if the folder exists and may not be replaced.
    """
    if folder.parent.exists() and not folder.parent.is_dir():
        raise InputError(f"{folder.parent}: not a folder; give another --output")
    if not (folder.exists() or folder.is_symlink()):
        return
    if not overwrite:
        raise InputError(f"{folder}: already exists; give --overwrite, or another --output")
    if folder.is_symlink() or not (folder / REPORT_NAME).is_file():
        raise InputError(f"{folder}: not the folder of an earlier result; move it away or give another --output")
    if source.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{folder}: it holds the input {source}; give another --output")


def write_case(
    folder: Path,
    case: str,
    results: Iterable[SliceDiagnosis],
    model: ModelCard,
    *,
    numbered: bool,
    notes: tuple[str, ...] = (),
) -> Diagnosis:
    """Writes mask, overlay and activation picture of every slice, and the report.

    Results are taken one by one and their maps not kept, so a case may have many slices. Activation pictures
    share one scale and so are drawn last.

    Args:
      folder: existing and empty; best one from `files.atomic_directory`.
      case: its name.
      results: at least one.
      model: which network made them.
      numbered: whether file names begin with the slice's number; a single slice needs none.
      notes: what a reader must know of how the case was put together.

    Returns:
      The case's numbers.

    Raises:
      ValueError: if there are no results.
    """
    findings: list[SliceFindings] = []
    pictures: list[dict[str, str]] = []
    scales: list[float] = []
    with tempfile.TemporaryDirectory(prefix=".maps.", dir=folder) as kept:
        for result in results:
            prefix = f"{len(findings) + 1:04d}_" if numbered else ""
            pictures.append(_write_mask_pictures(folder, prefix, result, model))
            if result.activation is not None:
                scales.append(shared_scale([result.activation]))
                np.save(Path(kept) / f"{len(findings)}.npy", np.stack([result.intensity, result.activation]))
                pictures[-1]["activation"] = f"{prefix}activation.png"
            findings.append(result.findings)
        if not findings:
            raise ValueError(f"case {case}: no slices to report")
        scale = max(scales) if scales else None
        for index, written in enumerate(pictures):
            if scale is not None and "activation" in written:
                intensity, activation = np.load(Path(kept) / f"{index}.npy", allow_pickle=False)
                caption = _class_caption(findings[index], model)
                picture = activation_overlay(intensity, activation, scale=scale, caption=caption)
                _write_picture(folder / written["activation"], picture)
    diagnosis = Diagnosis(case, model, tuple(findings), notes)
    report = json_report.case_report(diagnosis, pictures=pictures, activation_scale=scale)
    (folder / REPORT_NAME).write_text(json_report.to_text(report), encoding="utf-8")
    return diagnosis


def _write_mask_pictures(folder: Path, prefix: str, result: SliceDiagnosis, model: ModelCard) -> dict[str, str]:
    """Writes the mask and its overlay, if there is a mask, and returns their names by kind."""
    if result.mask is None:
        return {}
    names = {"mask": f"{prefix}mask.png", "overlay": f"{prefix}overlay.png"}
    caption = f"lesion where probability is at least {model.mask_threshold:.2f}; slice-level result"
    _write_picture(folder / names["mask"], mask_picture(result.mask))
    _write_picture(folder / names["overlay"], mask_overlay(result.intensity, result.mask, caption=caption))
    return names


def _class_caption(findings: SliceFindings, model: ModelCard) -> str:
    return (
        f"probability of infection {findings.class_probability:.2f} "
        f"(positive from {model.class_threshold:.2f}); slice-level result"
    )


def _write_picture(path: Path, picture: Image.Image) -> None:
    path.write_bytes(png_bytes(picture))
