"""Which series of a study is the chest CT, and why."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jcs_jax.errors import InputError
from jcs_jax.study.dicom.headers import FileHeader, Place, SliceHeader

_AXIAL = np.cos(np.deg2rad(30))  # between a slice's normal and the body's axis; gantries lean up to 30 degrees
_CHEST = ("CHEST", "THORAX", "THORACIC", "LUNG", "PULMO")
_OTHER_PARTS = ("HEAD", "BRAIN", "SKULL", "NECK", "SPINE", "PELVIS", "KNEE", "HIP", "FOOT", "ANKLE", "HAND", "WRIST")
_DERIVED = ("MIP", "MINIP", "AVERAGE", "PERFUSION", "SUBTRACTION", "PROJECTION IMAGE", "VOLREND", "MPR", "SCREEN SAVE")
_SCOUTS = ("LOCALIZER", "SCOUT", "TOPOGRAM")
_FULL_COVER = 250.0  # mm along the body, about the height of the lungs


@dataclasses.dataclass(frozen=True)
class Series:
    """The pictures of one series.

    Attributes:
      uid: Series Instance UID.
      number: as the scanner counts; empty if it doesn't.
      headers: of its files.
    """

    uid: str
    number: str
    headers: tuple[FileHeader, ...]

    @property
    def slices(self) -> list[SliceHeader]:
        """Of all files."""
        return [one for header in self.headers for one in header.slices]

    def told(self) -> str:
        """For a message: never its UID or description, which can name a patient."""
        count = len(self.slices)
        return f"{f'number {self.number} ' if self.number.isdecimal() else ''}({count} slice{'s' * (count > 1)})"


def group(headers: Sequence[FileHeader]) -> list[Series]:
    """Series by UID, in order of their number."""
    groups: dict[str, list[FileHeader]] = collections.defaultdict(list)
    for header in headers:
        groups[header.series_uid].append(header)
    found = [Series(uid, members[0].series_number, tuple(members)) for uid, members in groups.items()]
    return sorted(
        found,
        key=lambda one: (not one.number.isdecimal(), int(one.number or 0) if one.number.isdecimal() else 0, one.uid),
    )


def choose(series: Sequence[Series], source: Path, *, uid: str = "") -> tuple[Series, str]:
    """The series to diagnose.

    Scouts, other modalities, reformats and pictures without a place are left out. Of the others the best is taken, by:
    a name of the chest, and none of another part of the body; original slices; how much of the body it covers, up to
    250 mm; the number of its slices.

    Args:
      series: of the study.
      source: of the study, for errors.
      uid: the series that was asked for, or the end of its UID; empty to choose.

    Returns:
      The series, and what is to be said of the choice; empty if there was none to make.

    Raises:
      InputError: no series can be diagnosed, or not the one asked for.
    """
    refused = {one.uid: _refusal(one) for one in series}
    if uid:
        return _asked_for(series, source, uid, refused), ""
    fitting = [one for one in series if not refused[one.uid]]
    if not fitting:
        reasons = "; ".join(f"series {one.told()} {refused[one.uid]}" for one in series[:5])
        more = f"; and {len(series) - 5} more" if len(series) > 5 else ""
        raise InputError(f"{source}: no CT series of the chest to diagnose: {reasons}{more}; give a chest CT")
    best = max(fitting, key=_rank)
    if len(series) == 1:
        return best, ""
    return best, (
        f"of {len(series)} series number {series.index(best) + 1} was taken, {best.told()}; --series_uid takes another"
    )


def _asked_for(series: Sequence[Series], source: Path, uid: str, refused: Mapping[str, str]) -> Series:
    found = [one for one in series if one.uid == uid] or [one for one in series if one.uid.endswith(uid)]
    if len(found) != 1:
        wrong = "has no series" if not found else f"has {len(found)} series"
        raise InputError(f"{source}: {wrong} whose UID ends with --series_uid; give the whole UID")
    if refused[found[0].uid]:
        raise InputError(f"{source}: the series of --series_uid {refused[found[0].uid]}; choose another")
    return found[0]


def _refusal(series: Series) -> str:
    """Why a series can't be diagnosed; empty if it can."""
    first = series.headers[0]
    words = {word for header in series.headers for word in header.image_type}
    if first.modality != "CT":
        return f"is of modality {first.modality or 'unknown'}, and only CT has HU"
    if words & set(_SCOUTS):
        return "is a scout"
    if made := sorted(words & set(_DERIVED)):
        return f"was computed from others ({made[0].lower()})"
    places = [one.place for one in series.slices if one.place is not None]
    if not places:
        return "does not say where its slices lie"
    if not any(_is_axial(place) for place in places):
        return "is not axial"
    return ""


def _is_axial(place: Place) -> bool:
    return abs(float(place.normal[2])) >= _AXIAL


def _rank(series: Series) -> tuple[bool, bool, bool, float, int]:
    first = series.headers[0]
    told = f"{first.body_part} {first.description}"
    heights = [float(one.place.position[2]) for one in series.slices if one.place is not None and _is_axial(one.place)]
    return (
        any(word in told for word in _CHEST),
        not any(word in first.body_part for word in _OTHER_PARTS),
        "ORIGINAL" in first.image_type,
        min(max(heights) - min(heights), _FULL_COVER),
        len(heights),
    )
