"""Pictures: are their values what the data say they are, and is there anything to see?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from jcs_jax.doctor.findings import Finding, Severity, some
from jcs_jax.doctor.slices import SampledSlice

_CHECK = "pictures"
BLANK = 1 / 255  # contrast below which nothing is to be seen
DARK, BRIGHT = 0.02, 0.98
LUNGS_SHARE = 0.02  # of the picture, from which lungs count as found
_MANY, _FEW = 0.5, 0.1
_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class PictureLook:
    """What is to be known of one picture.

    Attributes:
      name: of the slice.
      hounsfield: whether the data say that it holds HU.
      finite: whether every value is a number.
      lowest: stored value.
      highest: stored value.
      darkest: 1st percentile of the intensity in [0, 1], after windowing.
      brightest: 99th percentile.
      lungs: share of the picture that looks like lung.
      black_in_lungs: share of that which is black.
    """

    name: str
    hounsfield: bool
    finite: bool
    lowest: float
    highest: float
    darkest: float
    brightest: float
    lungs: float
    black_in_lungs: float


def look_at_picture(item: SampledSlice) -> PictureLook | None:
    """Measures a picture; None for stored features."""
    image, intensity, lungs = item.example.image, item.intensity, item.lungs
    if image is None or intensity is None or lungs is None:
        return None
    finite = bool(np.isfinite(image).all())
    values = image[np.isfinite(image)]
    darkest, brightest = np.percentile(intensity, (1, 99))
    return PictureLook(
        name=item.example.name,
        hounsfield=item.example.encoding == "hounsfield",
        finite=finite,
        lowest=float(values.min()) if values.size else 0.0,
        highest=float(values.max()) if values.size else 0.0,
        darkest=float(darkest),
        brightest=float(brightest),
        lungs=float(lungs.mean()),
        black_in_lungs=float((intensity[lungs] <= BLANK).mean()) if lungs.any() else 0.0,
    )


def check_pictures(looks: Sequence[PictureLook]) -> list[Finding]:
    """Judges all pictures together; nothing without any."""
    if not looks:
        return []
    findings = [*_not_finite(looks), *_wrong_range(looks)]
    findings = findings or [*_blank(looks), *_lungs(looks)]  # of values that are something else these say nothing
    if findings:
        return findings
    unit = "HU" if looks[0].hounsfield else "of [0, 1]"
    seen = sum(look.lungs >= LUNGS_SHARE for look in looks)
    low, high = min(look.lowest for look in looks), max(look.highest for look in looks)
    found = f"{len(looks)} slices looked at hold {low:.4g} to {high:.4g} {unit}; lungs were found in {seen}"
    return [Finding(_CHECK, "ok", found, numbers={"lowest": low, "highest": high, "lungs_found": seen})]


def _not_finite(looks: Sequence[PictureLook]) -> list[Finding]:
    wrong = [look.name for look in looks if not look.finite]
    if not wrong:
        return []
    found = f"{len(wrong)} of {len(looks)} slices hold NaN or infinity{some(wrong)}"
    return [Finding(_CHECK, "error", found, "replace them before the slices are stored", {"not_finite": len(wrong)})]


def _wrong_range(looks: Sequence[PictureLook]) -> list[Finding]:
    grey = [
        look
        for look in looks
        if not look.hounsfield and not -_TOLERANCE <= look.lowest <= look.highest <= 1 + _TOLERANCE
    ]
    narrow = [look for look in looks if look.hounsfield and look.lowest >= -1 and look.highest <= 255]
    findings = []
    if grey:
        low, high = min(look.lowest for look in grey), max(look.highest for look in grey)
        found = f"{len(grey)} of {len(looks)} slices hold {low:.4g} to {high:.4g} and not intensities in [0, 1]"
        if low < 0 or high > 255:
            cure = (
                "these look like HU: store them as such (encoding `hounsfield`, or the config of the data set for HU)"
            )
        else:
            cure = "divide them by 255"
        findings.append(Finding(_CHECK, "error", found, cure, {"lowest": low, "highest": high, "outside": len(grey)}))
    if narrow:
        low, high = min(look.lowest for look in narrow), max(look.highest for look in narrow)
        found = f"{len(narrow)} of {len(looks)} slices are said to be HU and hold {low:.4g} to {high:.4g}"
        cure = "these look like grey values: store them as such (encoding `intensity`, in [0, 1])"
        findings.append(Finding(_CHECK, "error", found, cure, {"lowest": low, "highest": high, "narrow": len(narrow)}))
    return findings


def _blank(looks: Sequence[PictureLook]) -> list[Finding]:
    kinds = {
        "black": [look.name for look in looks if look.brightest <= DARK],
        "white": [look.name for look in looks if look.darkest >= BRIGHT],
        "one even grey": [
            look.name
            for look in looks
            if look.brightest - look.darkest <= BLANK and look.brightest > DARK and look.darkest < BRIGHT
        ],
    }
    findings = []
    for kind, names in kinds.items():
        if names:
            found = f"{len(names)} of {len(looks)} slices are {kind} as the network sees them{some(names)}"
            cure = "look at these slices; leave blank ones out, and check window and units if there are many"
            severity: Severity = "error" if len(names) > _MANY * len(looks) else "warning"
            findings.append(Finding(_CHECK, severity, found, cure, {"blank": len(names), "slices": len(looks)}))
    return findings


def _lungs(looks: Sequence[PictureLook]) -> list[Finding]:
    visible = [look for look in looks if look.brightest - look.darkest > BLANK]
    if not visible:
        return []
    seen = [look for look in visible if look.lungs >= LUNGS_SHARE]
    numbers = {"lungs_found": len(seen), "slices": len(visible)}
    if len(seen) < _FEW * len(visible):
        found = f"lungs were found in {len(seen)} of {len(visible)} slices"
        cure = (
            "look at the first batch: inverted grey, a wrong window, slices cropped to the lungs, or no axial chest CT?"
        )
        return [Finding(_CHECK, "warning", found, cure, numbers)]
    black = [look.name for look in seen if look.black_in_lungs > _MANY]
    if len(black) > _FEW * len(seen):
        found = f"the lungs are black in {len(black)} of {len(seen)} slices{some(black)}: nothing is to be seen in them"
        cure = "export with a lung window (level -600, width 1500), or give HU"
        return [Finding(_CHECK, "warning", found, cure, {**numbers, "black": len(black)})]
    return []
