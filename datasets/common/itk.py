"""SimpleITK, which reads DICOM and NIfTI: loaded when it is needed, and kept quiet."""

from __future__ import annotations

import contextlib
import importlib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jcs_datasets.common.errors import SourceError

Where = Callable[[Path], str]  # how an error names a file, with the list row that asked for it


class ItkVolume(NamedTuple):
    """What a reader gives.

    Attributes:
      image: a SimpleITK image in LPS millimetres.
      measured: the file tells the spacing of its pixels; where it doesn't, ITK says 1 mm without a word.
    """

    image: Any
    measured: bool


def load_itk() -> Any:
    """The SimpleITK module.

    Raises:
      SourceError: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # its bindings lack attributes that Python 3.12 wants
            itk = importlib.import_module("SimpleITK")
    except ImportError:
        raise SourceError("DICOM and NIfTI files need SimpleITK; pip install 'jcs-jax[volumes]'") from None
    itk.ProcessObject.SetGlobalWarningDisplay(False)
    return itk


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Silences the C libraries below SimpleITK, which write to the process's stderr what is raised as well."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(sink)
        os.close(kept)
