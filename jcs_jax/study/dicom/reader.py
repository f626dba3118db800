"""A CT study from DICOM."""

from __future__ import annotations

import collections
import functools
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from jcs_jax.errors import InputError
from jcs_jax.memory import let_go, paged_copy, paged_zeros
from jcs_jax.study.dicom.files import StudyFile, study_files
from jcs_jax.study.dicom.headers import FileHeader, SliceHeader, read_dataset, read_header
from jcs_jax.study.dicom.pixels import read_hounsfield
from jcs_jax.study.dicom.series import choose, group
from jcs_jax.study.dicom.stack import stack
from jcs_jax.study.hounsfield import check_hounsfield
from jcs_jax.study.volume import LEAST_SIDE, MOST_VOXELS, DicomHeaders, Orientation, Volume, clip_hounsfield

_LOOKED_AT = 32  # slices that show whether values are HU
_LOSSY = "the pictures were compressed with loss; faint opacities may be lost or made up"
_PHASE_UNKNOWN = "the files do not say whether contrast medium was given"
_CONTRAST = "contrast medium was given: vessels and enhancing tissue are denser than the networks have learned"


def read_dicom(source: Path, *, series_uid: str = "") -> Volume:
    """Reads the chest CT of a study.

    Args:
      source: a folder, a zip file, a DICOMDIR, or one file.
      series_uid: the series to take, or the end of its UID; empty to choose (`series.choose`).

    Returns:
      The volume, in the patient's order.

    Raises:
      InputError: with the file, what is wrong and the cure.
    """
    headers, faults = _read_headers(study_files(source))
    if not headers:
        raise InputError(_nothing_read(source, faults))
    series, chosen = choose(group(headers), source, uid=series_uid)
    stacked = stack(series.slices, source)
    rows, columns = stacked.slices[0].size
    if min(rows, columns) < LEAST_SIDE:
        raise InputError(
            f"{source}: its slices are {columns} x {rows} pixels, too small for CT (at least {LEAST_SIDE} a side)"
        )
    if rows * columns * len(stacked.slices) > MOST_VOXELS:
        raise InputError(f"{source}: {len(stacked.slices)} slices of {columns} x {rows} are too many for one series")
    values = _read_pixels(stacked.slices, source)
    orientation = Orientation.nearest(stacked.affine)
    return Volume(
        paged_copy(orientation.apply(values)),
        orientation.apply_affine(stacked.affine, values.shape),
        stacked.heights,
        orientation,
        tuple(note for note in (chosen, *_about_files(faults), *stacked.notes, *_about_series(series.headers)) if note),
        functools.partial(_read_again, stacked.slices),
    )


def _read_pixels(slices: tuple[SliceHeader, ...], source: Path) -> Shaped[np.ndarray, "s h w"]:
    """HU of all slices, clipped; some are looked at before."""
    values, looked_at = paged_zeros((len(slices), *slices[0].size), np.int16), []
    every = -(-len(slices) // _LOOKED_AT)
    for index, plane in enumerate(read_hounsfield(slices)):
        clipped = clip_hounsfield(plane)
        if clipped.dtype != values.dtype:  # not whole numbers: so are all from here on
            values = paged_copy(values, np.promote_types(clipped.dtype, values.dtype))
        values[index] = clipped
        let_go(values)
        if index % every == 0:
            looked_at.append(plane)
    check_hounsfield(np.stack(looked_at), str(source))
    return values


def _read_again(slices: tuple[SliceHeader, ...]) -> DicomHeaders:
    """The header of every slice; slices of one file share it."""
    files = {one.file.name: one for one in slices}
    datasets = {name: _dataset(one) for name, one in files.items()}
    return DicomHeaders([datasets[one.file.name] for one in slices], [one.frame for one in slices])


def _dataset(header: SliceHeader) -> Any:
    with header.file.open() as stream:
        return read_dataset(stream, header.file.name, pixels=False)


def _read_headers(files: list[StudyFile]) -> tuple[list[FileHeader], list[str]]:
    headers, faults = [], []
    for file in files:
        try:
            headers.append(read_header(file))
        except InputError as error:
            faults.append(str(error))
    return headers, faults


def _nothing_read(source: Path, faults: list[str]) -> str:
    if len(faults) == 1:
        return faults[0]
    return f"{source}: none of its {len(faults)} files is a DICOM picture; the first: {faults[0]}"


def _about_files(faults: list[str]) -> list[str]:
    return [f"{len(faults)} file{'s' * (len(faults) > 1)} of the study could not be read as pictures"] if faults else []


def _about_series(headers: tuple[FileHeader, ...]) -> list[str]:
    notes = [_LOSSY] if any(header.lossy for header in headers) else []
    contrast = collections.Counter(header.contrast for header in headers)
    if contrast[True]:
        return [*notes, _CONTRAST]
    return notes if contrast[False] else [*notes, _PHASE_UNKNOWN]
