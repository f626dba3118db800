"""What every reader and writer of DICOM headers needs: quiet libraries, and the elements of a frame."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import pydicom


@contextlib.contextmanager
def quiet_dicom() -> Iterator[None]:
    """Values of a source that break a rule of the standard are taken as they are, without a warning."""
    settings = pydicom.config.settings
    modes = settings.reading_validation_mode, settings.writing_validation_mode
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    settings.reading_validation_mode = settings.writing_validation_mode = pydicom.config.IGNORE
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        settings.reading_validation_mode, settings.writing_validation_mode = modes
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def frame_groups(dataset: Any, frame: int) -> list[Any]:
    """The items that hold a frame's elements: its own functional groups, those that all frames share, the header."""
    found = []
    for sequence, number in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        items = dataset.get(sequence) or []
        if number < len(items):
            found += [element.value[0] for element in items[number] if element.VR == "SQ" and element.value]
    return [*found, dataset]


def first_value(groups: Iterable[Any], keyword: str) -> Any:
    """The value of an element in the first item that has one; None where none has."""
    return next((group[keyword].value for group in groups if group.get(keyword) not in (None, "")), None)
