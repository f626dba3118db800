"""How numbers are rounded for output."""

from __future__ import annotations


def rounded(value: float | None, digits: int = 6) -> float | None:
    """The value with so many decimals; None stays None."""
    return None if value is None else round(float(value), digits)
