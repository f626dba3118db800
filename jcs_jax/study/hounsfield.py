"""Whether numbers can be HU of a chest, and what went wrong where they can't."""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped

from jcs_jax.errors import InputError

_TISSUE = (-200, 200)  # fat, water, muscle
_GAS = (-1100, -400)  # air, and lung that holds it
_LUNG_TO_FAT = (-900, -150)  # empty below the lowest HU of a scan that lies 1024 too high
_OFFSET = 1024  # that stored values of CT usually carry
_LEAST = 0.005  # of all voxels, tissue and gas each; a slice through the apex has more
_CERTAIN = 0.05


def check_hounsfield(values: Shaped[np.ndarray, "*shape"], name: str) -> None:
    """Refuses values that are no HU.

    Args:
      values: of a whole series, before anything was clipped.
      name: of its file or folder, for the error.

    Raises:
      InputError: NaN, no soft tissue or no gas at all, or soft tissue 1024 above or below where it belongs.
    """
    if not np.isfinite([values.min(), values.max()]).all():
        raise InputError(f"{name}: holds values that are no number (NaN or infinite); save HU as 16-bit integers")
    if (
        _lies_at(values, _OFFSET) and _share(values, _LUNG_TO_FAT) < _LEAST
    ):  # padding can look like gas, air like tissue
        raise InputError(_shifted(name, _OFFSET))
    if min(_share(values, _TISSUE), _share(values, _GAS)) >= _LEAST:
        return
    if _lies_at(values, -_OFFSET):
        raise InputError(_shifted(name, -_OFFSET))
    raise InputError(
        f"{name}: its values go from {values.min():g} to {values.max():g}, and hardly any lies where soft tissue "
        f"({_TISSUE[0]} to {_TISSUE[1]} HU) or where lungs and air are (below {_GAS[1]}); give a chest CT in HU, not a "
        "mask or another part of the body"
    )


def _lies_at(values: np.ndarray, offset: int) -> bool:
    """Whether soft tissue and gas lie that much above their HU."""
    tissue, gas = (_share(values, (low + offset, high + offset)) for low, high in (_TISSUE, _GAS))
    return tissue >= _CERTAIN and gas >= _LEAST


def _shifted(name: str, offset: int) -> str:
    left, cure = ("left in", "subtract 1024") if offset > 0 else ("taken off twice", "add 1024")
    found = f"its soft tissue lies at {offset:+d} HU instead of 0, so the offset of 1024 was {left}"
    return f"{name}: {found}; {cure} and save it again"


def _share(values: np.ndarray, between: tuple[int, int]) -> float:
    return float(np.count_nonzero((values >= between[0]) & (values <= between[1])) / values.size)
