"""The one exception that means: the user can cure this."""

from __future__ import annotations

from collections.abc import Iterator


class InputError(ValueError):
    """Bad input or bad usage.

    The message is one line that names the file or option, says what is wrong with it and what to do. The
    command line prints just that line and ends with exit code 2.
    """


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and those that led to it, the last one first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
