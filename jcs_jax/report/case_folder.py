"""Fills the folder of a case of pictures: masks and maps of every slice, a page, and `diagnosis.json`."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jcs_jax.diagnosis.result import Diagnosis, ModelCard, SliceDiagnosis, SliceFindings
from jcs_jax.errors import InputError
from jcs_jax.preprocessing import resize_array
from jcs_jax.report import json_report
from jcs_jax.report.colormap import shared_scale
from jcs_jax.report.html.page import write_html
from jcs_jax.report.html.pictures import ViewerSlice
from jcs_jax.report.overlay import activation_overlay, mask_overlay, mask_picture, png_bytes

FORMATS = ("json", "html", "png")
MAP_REDUCTION = 8  # of activation maps in the page
Finish = Callable[[tuple[SliceFindings, ...]], Diagnosis]


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
    if folder.is_symlink() or not (folder / json_report.FILE_NAME).is_file():
        raise InputError(f"{folder}: not the folder of an earlier result; move it away or give another --output")
    if source.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{folder}: it holds the input {source}; give another --output")


def write_case(
    folder: Path,
    results: Iterable[SliceDiagnosis],
    model: ModelCard,
    finish: Finish,
    *,
    numbered: bool,
    formats: tuple[str, ...] = FORMATS,
) -> dict[str, Any]:
    """Writes mask, overlay and activation picture of every slice, the page and the report.

    Results are taken one by one and their maps kept on disk, so a case may have many slices. Activation pictures
    share one scale and so are drawn last.

    Args:
      folder: existing and empty; best one from `files.atomic_directory`.
      results: at least one.
      model: which network made them.
      finish: makes the case's numbers of those of its slices.
      numbered: whether file names begin with the slice's number; a single slice needs none.
      formats: of `FORMATS`; the report is always written.

    Returns:
      The content of `diagnosis.json`.

    Raises:
      ValueError: if there are no results.
    """
    findings: list[SliceFindings] = []
    pictures: list[dict[str, str]] = []
    scales: list[float] = []
    with tempfile.TemporaryDirectory(prefix=".maps.", dir=folder) as kept:
        for result in results:
            prefix = f"{len(findings) + 1:04d}_" if numbered else ""
            pictures.append(_write_mask_pictures(folder, prefix, result, model) if "png" in formats else {})
            if result.activation is not None:
                scales.append(shared_scale([result.activation]))
                if "png" in formats:
                    pictures[-1]["activation"] = f"{prefix}activation.png"
            _keep(Path(kept) / f"{len(findings)}.npz", result)
            findings.append(result.findings)
        if not findings:
            raise ValueError("no slices to report")
        scale = max(scales) if scales else None
        diagnosis = finish(tuple(findings))
        files = {"html": "report.html"} if "html" in formats else {}
        report = json_report.case_report(diagnosis, pictures=pictures, activation_scale=scale, files=files)
        for written, told, maps in zip(pictures, findings, _kept(Path(kept), len(findings)), strict=True):
            if scale is not None and "activation" in written and maps.activation is not None:
                caption = _class_caption(told, model)
                picture = activation_overlay(maps.values, maps.activation, scale=scale, caption=caption)
                _write_picture(folder / written["activation"], picture)
        if "html" in formats:
            slices = map(_with_coarse_map, _kept(Path(kept), len(findings)))
            write_html(folder / files["html"], report, slices, hounsfield=False)
    (folder / json_report.FILE_NAME).write_text(json_report.to_text(report), encoding="utf-8")
    return report


def _keep(path: Path, result: SliceDiagnosis) -> None:
    maps = {"values": result.intensity, "mask": result.mask, "activation": result.activation}
    np.savez(path, allow_pickle=False, **{name: values for name, values in maps.items() if values is not None})


def _kept(folder: Path, count: int) -> Iterator[ViewerSlice]:
    for index in range(count):
        with np.load(folder / f"{index}.npz", allow_pickle=False) as maps:
            yield ViewerSlice(maps["values"], maps.get("mask"), None, maps.get("activation"))


def _with_coarse_map(item: ViewerSlice) -> ViewerSlice:
    """With an activation map of the few cells that the network had, about: the page draws it smooth again."""
    if item.activation is None:
        return item
    size = (max(1, item.values.shape[0] // MAP_REDUCTION), max(1, item.values.shape[1] // MAP_REDUCTION))
    return dataclasses.replace(item, activation=resize_array(item.activation, size, antialias=True))


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
