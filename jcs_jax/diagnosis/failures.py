"""One bad case must not stop the others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from jcs_jax.errors import InputError


class Failures:
    """Collects the cases that failed while others go on.

    Args:
      debug: let every error through, with its traceback, instead.

    Attributes:
      reasons: one line per failed case, by the case's name.
    """

    def __init__(self, *, debug: bool = False):
        self._debug = debug
        self.reasons: dict[str, str] = {}

    @contextlib.contextmanager
    def isolate(self, case: str, source: Path) -> Iterator[None]:
        """Turns an error inside the block into a line that names the source.

        Args:
          case: name of the case.
          source: its input, to be named where the error doesn't do so itself.
        """
        try:
            yield
        except Exception as error:  # whatever it was, the next case has a right to be tried
            if self._debug:
                raise
            unexpected = f"{source}: unexpected {type(error).__name__}: {error} (--debug shows where)"
            reason = str(error) if isinstance(error, InputError) else unexpected
            self.reasons[case] = " ".join(reason.split())[:500]
