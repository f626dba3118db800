"""Names of cases that may stand in results."""

from __future__ import annotations

import contextlib
import dataclasses
import hmac
from collections.abc import Sequence

from jcs_jax.errors import InputError
from jcs_jax.study.cases import Case

KEYED_LETTERS = 12  # of a hidden name: 48 bits, so that among thousands none is met twice


def own_cases(
    cases: Sequence[Case], *, part: tuple[int, int] = (1, 1), keep_identifiers: bool = False, key: bytes = b""
) -> list[Case]:
    """A part of the cases, each under a name that no other has and that doesn't tell who the patient is.

    Args:
      cases: all that were found together.
      part: (i, n): the i-th of n parts, from 1.
      keep_identifiers: leave names as they are.
      key: secret by which hidden names are made of sources; empty to make them of places among the cases.
    """
    own = [case for case in cases if case.number % part[1] == part[0] % part[1]]
    taken = {case.name.lower() for case in cases}
    return [case if keep_identifiers or not _tells(case) else _hidden(case, taken, key) for case in own]


def _tells(case: Case) -> bool:
    with contextlib.suppress(InputError, OSError):  # told when the case is read
        if case.kind() == "dicom":
            from jcs_jax.study.dicom.identifiers import names_patient  # noqa: PLC0415  brings pydicom

            return names_patient(case.name, case.source)
    return False


def _hidden(case: Case, taken: set[str], key: bytes) -> Case:
    source = str(case.source.resolve()).encode("utf-8", "surrogateescape")
    made = hmac.new(key, source, "sha256").hexdigest()[:KEYED_LETTERS] if key else f"{case.number:04d}"
    name = f"case-{made}"
    while name in taken:  # by an input of that very name
        name += "x"
    return dataclasses.replace(case, name=name, numbered=not key)
