"""The one exception that means: the user can cure this."""


class InputError(ValueError):
    """Bad input or bad usage.

    The message is one line that names the file or option, says what is wrong with it and what to do. The
    command line prints just that line and ends with exit code 2.
    """
