"""What `jcs diagnose` was asked to do with every case."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from jcs_jax.errors import InputError
from jcs_jax.report.dicom.pseudonyms import LEAST_KEY_BYTES
from jcs_jax.report.study_folder import FORMATS

KEY_BYTES = 32


@dataclasses.dataclass(frozen=True)
class Options:
    """Of one run.

    Attributes:
      output: folder of the cases' folders.
      checkpoint: model folder, or the name of a shipped model.
      classifier: the same of the network that screens slices; empty for the same network.
      engine: the program that runs the networks, "jax" or one of `engines.names.ENGINES`.
      precision: one of `engines.names.PRECISIONS`.
      batch_size: slices that go through a network at once.
      formats: of `report.study_folder.FORMATS`.
      overwrite: replace results of an earlier run.
      skip_done: leave alone cases that have a result.
      series_uid: the DICOM series to take; empty to choose.
      flip: average over mirrored slices.
      segment_all: segment slices that aren't positive, too.
      keep_identifiers: write who the patient is into DICOM results.
      pseudonym_key: secret that pseudonyms are made with.
      own_key: whether it is the user's, and will be the same in the next run.
      shard: (i, n): only the i-th of n parts of the cases, from 1.
      debug: let errors through.
    """

    output: Path
    checkpoint: str
    classifier: str = ""
    engine: str = "jax"
    precision: str = "float32"
    batch_size: int = 8
    formats: tuple[str, ...] = ("json", "html", "png")
    overwrite: bool = False
    skip_done: bool = False
    series_uid: str = ""
    flip: bool = False
    segment_all: bool = False
    keep_identifiers: bool = False
    pseudonym_key: bytes = b""
    own_key: bool = False
    shard: tuple[int, int] = (1, 1)
    debug: bool = False


def parse_formats(text: str) -> tuple[str, ...]:
    """Reads names joined by commas.

    Raises:
      InputError: a name that isn't one.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := sorted(set(names) - set(FORMATS)):
        raise InputError(f"--formats: no format is called {', '.join(unknown)}; choose from {','.join(FORMATS)}")
    return tuple(name for name in FORMATS if name in names)


def read_key(file: str) -> bytes:
    """The secret in a file.

    Raises:
      InputError: it can't be read, or is too short to be one.
    """
    try:
        key = Path(file).read_bytes().strip()
    except OSError as error:
        raise InputError(f"{file}: can't be read ({error.strerror}); name a file that holds a secret") from error
    if len(key) < LEAST_KEY_BYTES:
        raise InputError(f"{file}: holds {len(key)} bytes; a secret for pseudonyms needs at least {LEAST_KEY_BYTES}")
    return key


def read_case_list(file: str) -> list[str]:
    """Inputs from a text file, one a line; empty lines and those that begin with # are left out.

    Raises:
      InputError: it can't be read.
    """
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: can't be read as a list of cases ({error}); give a text file") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def parse_shard(text: str) -> tuple[int, int]:
    """Reads `I/N`, the I-th of N parts, from 1.

    Raises:
      InputError: it isn't that.
    """
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise InputError(f"--shard={text}: write I/N, the I-th of N parts, such as 2/4")
    return int(part), int(parts)
