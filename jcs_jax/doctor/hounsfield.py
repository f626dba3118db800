"""Hounsfield units: is air near -1000 and soft tissue near 0, or were they stored with an offset?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jcs_jax.data.examples import Example
from jcs_jax.doctor.findings import Finding

_CHECK = "Hounsfield units"
_LUNG, _TISSUE = (-950, -600), (-100, 100)  # HU
_OFFSETS = (0, 1024, -1024)
_EDGES = np.arange(-3100.0, 4100.0, 10.0)
_CLEARLY = 2.0


def hounsfield_histogram(example: Example) -> Float[np.ndarray, " bins"] | None:
    """Shares of a slice's values in bins of 10 from -3100; None where it holds no HU."""
    if example.image is None or example.encoding != "hounsfield":
        return None
    counts, _ = np.histogram(example.image[np.isfinite(example.image)], bins=_EDGES)
    return counts / max(1, example.image.size)


def check_hounsfield(histograms: Sequence[Float[np.ndarray, " bins"]]) -> list[Finding]:
    """Looks which offset gives chest slices both lung and soft tissue.

    Args:
      histograms: of the slices that hold HU.

    Returns:
      An error where values minus 1024 (or plus) make far more sense than the values themselves; nothing without HU.
    """
    if not histograms:
        return []
    shares = np.mean(histograms, axis=0)
    fits = {offset: min(_share(shares, _LUNG, offset), _share(shares, _TISSUE, offset)) for offset in _OFFSETS}
    best = max(fits, key=lambda offset: (fits[offset], offset == 0))
    numbers = {
        "lung_share": _share(shares, _LUNG, 0),
        "tissue_share": _share(shares, _TISSUE, 0),
        "best_offset": best,
    }
    if best and fits[best] > _CLEARLY * fits[0]:
        found = f"the values are HU {best:+d} or so: air is near {best - 1000} and soft tissue near {best}"
        correction, mistake = ("subtract", "never") if best > 0 else ("add", "twice")
        cure = f"{correction} the rescale intercept, {abs(best)} as a rule: it was probably applied {mistake}"
        return [Finding(_CHECK, "error", found, cure, numbers)]
    found = (
        f"{numbers['lung_share']:.0%} of the pixels are lung (-950 to -600), {numbers['tissue_share']:.0%} soft tissue"
    )
    if not fits[0]:
        cure = "look at the first batch: no chest slice lacks both"
        return [Finding(_CHECK, "warning", found, cure, numbers)]
    return [Finding(_CHECK, "ok", found, numbers=numbers)]


def _share(shares: np.ndarray, bounds: tuple[int, int], offset: int) -> float:
    low, high = (bound + offset for bound in bounds)
    return float(shares[(_EDGES[:-1] >= low) & (_EDGES[:-1] < high)].sum())
