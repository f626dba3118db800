"""Fills a volume's folder: report, pictures, and masks in the geometry of the source."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from jcs_jax import __version__
from jcs_jax.diagnosis.result import Diagnosis, SourceGrid, StudyMaps
from jcs_jax.memory import let_go, planes
from jcs_jax.notice import TOOL
from jcs_jax.preprocessing import display_window, resize_array
from jcs_jax.report import json_report
from jcs_jax.report.colormap import shared_scale
from jcs_jax.report.dicom.capture import write_captures
from jcs_jax.report.dicom.instances import Algorithm, content_digest
from jcs_jax.report.dicom.pseudonyms import Pseudonyms
from jcs_jax.report.dicom.seg import write_segmentation
from jcs_jax.report.dicom.source import source_series
from jcs_jax.report.dicom.sr import write_report
from jcs_jax.report.html.page import write_html
from jcs_jax.report.html.pictures import ViewerSlice
from jcs_jax.report.nifti import write_nifti
from jcs_jax.report.overlay import activation_overlay, mask_overlay, mask_picture, png_bytes

FORMATS = ("json", "html", "png", "nifti", "seg", "sr", "sc")
DICOM_FORMATS = ("seg", "sr", "sc")
NO_DICOM_SOURCE = "SEG, SR and secondary captures belong to a DICOM series, and the source is none: they were left out"
NO_LESION = "no opacity was found: there is no SEG, since viewers refuse empty ones"


def write_study(
    folder: Path,
    diagnosis: Diagnosis,
    maps: StudyMaps,
    grid: SourceGrid,
    *,
    formats: tuple[str, ...],
    pseudonyms: Pseudonyms,
) -> dict[str, Any]:
    """Writes what was asked for of a volume, and always `diagnosis.json`.

    Args:
      folder: existing and empty; best one from `files.atomic_directory`.
      diagnosis: the numbers.
      maps: what they were measured on.
      grid: of the source.
      formats: of `FORMATS`.
      pseudonyms: what to write in place of identifiers.

    Returns:
      The content of `diagnosis.json`.

    Raises:
      InputError: a DICOM format without highdicom.
    """
    notes = []
    if grid.headers is None and set(formats) & set(DICOM_FORMATS):
        notes.append(NO_DICOM_SOURCE)
        formats = tuple(name for name in formats if name not in DICOM_FORMATS)
    if "seg" in formats and not (diagnosis.lesions and diagnosis.lesions.lesions):
        notes.append(NO_LESION)
    diagnosis = dataclasses.replace(diagnosis, case_notes=(*diagnosis.case_notes, *notes))
    study = _Study(folder, diagnosis, maps, grid)
    pictures = study.write_pictures() if "png" in formats else [{} for _ in diagnosis.slices]
    files: dict[str, Any] = {"html": "report.html"} if "html" in formats else {}
    if "nifti" in formats:
        files |= study.write_masks()
    if set(formats) & set(DICOM_FORMATS):
        files |= study.write_dicom(formats, pseudonyms)
    report = json_report.case_report(diagnosis, pictures=pictures, activation_scale=study.scale, files=files)
    if "html" in formats:
        write_html(folder / files["html"], report, study.viewer_slices(), hounsfield=True)
    (folder / json_report.FILE_NAME).write_text(json_report.to_text(report), encoding="utf-8")
    return report


@dataclasses.dataclass(frozen=True)
class _Study:
    """What all writers need; attributes as in `write_study`."""

    folder: Path
    diagnosis: Diagnosis
    maps: StudyMaps
    grid: SourceGrid

    @functools.cached_property
    def scale(self) -> float | None:
        """The value of the last colour in activation pictures."""
        return None if self.maps.activation is None else shared_scale(self.maps.activation)

    @functools.cached_property
    def shown(self) -> list[int]:
        """Slices that get pictures: positive ones and those with a lesion, else the most suspicious one."""
        slices, highest = self.diagnosis.slices, self.diagnosis.highest
        chosen = [index for index, findings in enumerate(slices) if findings.positive or findings.lesion_share]
        return chosen or [len(slices) // 2 if highest is None else slices.index(highest)]

    def write_pictures(self) -> list[dict[str, str]]:
        """Pictures of the slices that are shown; returns their names by kind, an empty mapping for other slices."""
        written: list[dict[str, str]] = [{} for _ in self.diagnosis.slices]
        for index in self.shown:
            pictures = {}
            if self.maps.mask is not None and self.diagnosis.slices[index].lesion_share is not None:
                pictures = {"mask": mask_picture(self.maps.mask[index]), "overlay": self._mask_overlay(index)}
            if self.maps.activation is not None:
                pictures["activation"] = self._activation_overlay(index)
            for kind, picture in pictures.items():
                written[index][kind] = f"{index + 1:04d}_{kind}.png"
                (self.folder / written[index][kind]).write_bytes(png_bytes(picture))
        return written

    def write_masks(self) -> dict[str, str]:
        """Masks in the source's geometry, where there are any; returns their names."""
        if self.maps.mask is None or self.maps.labels is None:
            return {}
        values = {"mask": self.maps.mask, "lesions": self.maps.labels}
        paths = {
            f"{name}_nifti": write_nifti(self.folder / f"{name}.nii.gz", self._restored(array), self.grid.affine)
            for name, array in values.items()
        }
        return {kind: path.name for kind, path in paths.items()}

    def write_dicom(self, formats: tuple[str, ...], pseudonyms: Pseudonyms) -> dict[str, Any]:
        """SEG, SR and secondary captures, those that were asked for; returns their names."""
        if self.grid.headers is None:
            raise ValueError("DICOM outputs need the headers of the source")
        source = source_series(self.grid.headers[0], pseudonyms, frames=self.grid.headers[1])
        algorithm, lesions = Algorithm(TOOL, __version__), self.diagnosis.lesions
        written: dict[str, Any] = {}
        segmentation = None
        if "seg" in formats and lesions is not None and lesions.lesions and self.maps.labels is not None:
            path, labels = self.folder / "segmentation.dcm", self._restored(self.maps.labels)
            segmentation = write_segmentation(path, labels, lesions.lesions, source, algorithm=algorithm)
            written["seg"] = path.name
        if "sr" in formats:
            path, decision = self.folder / "report.dcm", self.diagnosis.decision
            write_report(path, lesions, decision, source, algorithm=algorithm, segmentation=segmentation)
            written["sr"] = path.name
        if "sc" in formats:
            digest = content_digest(*(part for part in (self.maps.mask, self.maps.activation) if part is not None))
            captures = self.folder / "captures"
            paths = write_captures(captures, self._captures(), source, algorithm=algorithm, digest=digest)
            written["captures"] = [f"{captures.name}/{path.name}" for path in paths]
        return written

    def viewer_slices(self) -> Iterator[ViewerSlice]:
        """For the page."""
        maps = self.maps
        for index, values in enumerate(planes(maps.hounsfield)):
            segmented = self.diagnosis.slices[index].lesion_share is not None
            yield ViewerSlice(
                values,
                maps.mask[index] if segmented and maps.mask is not None else None,
                maps.labels[index] if segmented and maps.labels is not None else None,
                None if maps.activation is None else maps.activation[index],
            )
            let_go(maps.mask, maps.labels)

    def _captures(self) -> Iterator[tuple[int, UInt8[np.ndarray, "h w 3"]]]:
        """Overlays of the slices that are shown, with their places in the source."""
        numbers = np.arange(len(self.maps.hounsfield))[:, np.newaxis, np.newaxis]
        places = list(self.grid.restore(np.broadcast_to(numbers, self.maps.hounsfield.shape))[:, 0, 0])
        for index in self.shown:
            if self.maps.mask is not None and self.maps.mask[index].any():
                yield places.index(index), np.asarray(self._mask_overlay(index))
            elif self.maps.activation is not None:
                yield places.index(index), np.asarray(self._activation_overlay(index))

    def _restored(self, values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(self.grid.restore(values))

    def _mask_overlay(self, index: int) -> Image.Image:
        mask = np.asarray(self.maps.mask)[index]
        return mask_overlay(self._windowed(index), mask, caption=self._caption(index))

    def _activation_overlay(self, index: int) -> Image.Image:
        kept = np.asarray(np.asarray(self.maps.activation)[index], np.float32)
        height, width = self.maps.hounsfield.shape[1:]
        own = resize_array(kept, (height, width))
        return activation_overlay(self._windowed(index), own, scale=self.scale or 0.0, caption=self._caption(index))

    def _windowed(self, index: int) -> Float[np.ndarray, "h w"]:
        """A slice in the window that the network saw."""
        preprocessing = self.diagnosis.model.preset["preprocessing"]
        values = self.maps.hounsfield[index]
        return display_window(values, preprocessing["window_level"], preprocessing["window_width"])

    def _caption(self, index: int) -> str:
        findings = self.diagnosis.slices[index]
        told = [f"slice {index + 1} of {len(self.diagnosis.slices)}"]
        if findings.height_mm is not None:
            told.append(f"{findings.height_mm:.0f} mm")
        if findings.class_probability is not None:
            told.append(f"probability of infection {findings.class_probability:.2f}")
        return ", ".join(told)
