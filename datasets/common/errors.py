"""The error that means: the source folder is at fault, and here is how to put it right."""


class SourceError(ValueError):
    """A data set's source cannot be used.

    The message is one line that names the file (and the line of the list), says what is wrong and what to do.
    It is raised before anything is written.
    """
