"""Names of cases that may stand in results."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence

from jcs_jax.errors import InputError
from jcs_jax.study.cases import Case


def own_cases(cases: Sequence[Case], *, part: tuple[int, int] = (1, 1), keep_identifiers: bool = False) -> list[Case]:
    """A part of the cases, each under a name that no other has and that doesn't tell who the patient is.

    Args:
      cases: all that were found together.
      part: (i, n): the i-th of n parts, from 1.
      keep_identifiers: leave names as they are.
    """
    own = [case for case in cases if case.number % part[1] == part[0] % part[1]]
    taken = {case.name.lower() for case in cases}
    return [case if keep_identifiers or not _tells(case) else _numbered(case, taken) for case in own]


def _tells(case: Case) -> bool:
    with contextlib.suppress(InputError, OSError):  # told when the case is read
        if case.kind() == "dicom":
            from jcs_jax.study.dicom.identifiers import names_patient  # noqa: PLC0415  brings pydicom

            return names_patient(case.name, case.source)
    return False


def _numbered(case: Case, taken: set[str]) -> Case:
    name = f"case-{case.number:04d}"
    while name in taken:  # by an input of that very name
        name += "x"
    return dataclasses.replace(case, name=name)
