"""Keeps the DICOM libraries' own words off the terminal."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

import pydicom


@contextlib.contextmanager
def quiet() -> Iterator[None]:
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
