"""What every DICOM result says of itself, and how it is written."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from jcs_jax.errors import InputError
from jcs_jax.files import write_atomically
from jcs_jax.notice import RESEARCH_USE
from jcs_jax.report.dicom.source import SourceSeries

MAKER, PRIVATE_SCHEME = "JCS-JAX", "99JCS"
_NUMBERS = {"opacities": 9101, "report": 9102, "pictures": 9103}  # of series; beyond what scanners count to


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """What made the result.

    Attributes:
      name: such as the model folder's name; at most 64 characters.
      version: at most 64 characters.
    """

    name: str
    version: str

    def __post_init__(self) -> None:
        for text in (self.name, self.version):
            if not 0 < len(text) <= 64 or not text.isascii() or not text.isprintable() or "\\" in text:
                raise ValueError(f"{text!r}: must be 1 to 64 printable ASCII characters without backslash")


def load_highdicom() -> Any:
    """The library that writes DICOM results; it takes a while to import, and not everyone installs it.

    Raises:
      InputError: that says how to install it.
    """
    try:
        return importlib.import_module("highdicom")
    except ImportError as error:
        raise InputError("highdicom: DICOM results need this package; pip install 'jcs-jax[dicom]'") from error


def content_digest(*parts: object) -> str:
    """SHA-256 over arrays and plain values: what tells two results of one series apart."""
    digest = hashlib.sha256()
    for part in parts:
        data = np.ascontiguousarray(part).data if isinstance(part, np.ndarray) else repr(part).encode()
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def series_arguments(source: SourceSeries, algorithm: Algorithm, kind: str, digest: str) -> dict[str, Any]:
    """Arguments that all of highdicom's classes take.

    Args:
      source: what the result is of.
      algorithm: what made it.
      kind: `opacities`, `report` or `pictures`.
      digest: of the content; the same content of the same source gets the same UIDs.
    """
    return {
        "series_instance_uid": source.new_uid("series", kind, repr(algorithm), digest),
        "sop_instance_uid": source.new_uid("instance", kind, repr(algorithm), digest),
        "series_number": _NUMBERS[kind],
        "instance_number": 1,
        "manufacturer": MAKER,
        "manufacturer_model_name": algorithm.name,
        "software_versions": algorithm.version,
        "device_serial_number": algorithm.version,
        "series_description": f"{MAKER} {kind}. {RESEARCH_USE}",
        "content_qualification": "RESEARCH",
    }


def private_scheme(highdicom: Any) -> list[Any]:
    """Says whose codes those of 99JCS are."""
    return [
        highdicom.coding_schemes.CodingSchemeIdentificationItem(
            designator=PRIVATE_SCHEME, name="Codes of JCS-JAX", responsible_organization=MAKER
        )
    ]


def private_code(value: str, meaning: str) -> Code:
    """A code for what no public scheme has a word for."""
    return Code(value, PRIVATE_SCHEME, meaning)


def save(dataset: Dataset, path: Path) -> Path:
    """Writes a file under a temporary name and renames it into place."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return write_atomically(path, buffer.getvalue())
