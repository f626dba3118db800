"""Millimetres between the centres of neighbouring pixels: which numbers can be that, and which mean unknown."""

from __future__ import annotations

LEAST_SPACING, MOST_SPACING = 1e-3, 1e3  # mm; metres or micrometres by mistake fall outside for CT


def is_spacing(number: float) -> bool:
    """Whether a number can be a spacing in mm; nan, infinity, zero and negative numbers can't."""
    return LEAST_SPACING <= number <= MOST_SPACING


def pixel_spacing(row: float, column: float) -> tuple[float, float] | None:
    """The two spacings of a slice.

    Args:
      row: mm between the centres of neighbouring rows.
      column: mm between the centres of neighbouring columns.

    Returns:
      Both, as (row, column); None where one of them can't be a spacing, so that the pair is unknown.
    """
    return (float(row), float(column)) if is_spacing(row) and is_spacing(column) else None
