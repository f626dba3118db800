"""How an option names parts of data sets: NAME/CONFIG:SPLIT, joined by commas."""

from __future__ import annotations

from jcs_jax.errors import InputError


def part_names(text: str) -> list[str]:
    """The names that commas join, without the blanks around them; none in an empty text."""
    return [part.strip() for part in text.split(",") if part.strip()]


def dataset_and_split(part: str, option: str) -> tuple[str, str]:
    """What one name says.

    Args:
      part: NAME/CONFIG:SPLIT, or NAME:SPLIT.
      option: that it was given to, for the message.

    Returns:
      The data set, NAME or NAME/CONFIG, and the split.

    Raises:
      InputError: it names no split.
    """
    dataset, _, split = part.partition(":")
    if not split:
        raise InputError(f"{option}: {part} names no split; write NAME/CONFIG:SPLIT, joined by commas")
    return dataset, split
