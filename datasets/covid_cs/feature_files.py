"""Stored first-stage features: one .mat file a slice, values times 20 in 8 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.mat_files import Variable, describe, list_variables, read_uint8, require_uint8
from jcs_datasets.covid_cs.forms import Form

CHANNELS = 64
SATURATED = 240  # of 255: 12.0; from 12.8 on the published encoding wraps to 0


def find_features(path: Path, form: Form, where: str) -> dict[str, Variable]:
    """Which variables of a file hold the features, checked without reading their values.

    Files with both networks' features name them `vgg_feats` and `res2net_feats`. How the variable of the
    classification archive is called is not published: there it is the only one of its shape.

    Args:
      path: the .mat file.
      form: says the shapes: 1 x 64 x rows x columns, for classification also 64 x rows x columns.
      where: how an error names the file, with the list line that asked for it.

    Returns:
      Name of the stored feature -> its variable.

    Raises:
      SourceError: not a whole v5 file, or its variables are not these.
    """
    variables = list_variables(path, where)
    if form.vgg_side is not None:
        sides = {"vgg": form.vgg_side, "res2net": form.res2net_side}
        return {
            f"{network}_features": require_uint8(variables, f"{network}_feats", (1, CHANNELS, side, side), where)
            for network, side in sides.items()
        }
    shape = (CHANNELS, form.res2net_side, form.res2net_side)
    fitting = [
        variable
        for variable in variables
        if variable.kind == "uint8" and variable.shape in (shape, (1, *shape)) and not variable.name.startswith("__")
    ]
    if len(fitting) != 1:
        wanted = "x".join(map(str, shape))
        raise SourceError(
            f"{where}: must hold exactly one uint8 variable of {wanted} or 1x{wanted}, but {describe(variables)}; "
            "use the release's own files"
        )
    return {"res2net_features": fitting[0]}


def read_features(path: Path, form: Form, where: str) -> dict[str, np.ndarray]:
    """The features of a slice.

    Args:
      path: the .mat file.
      form: says the shapes.
      where: how an error names the file, with the list line that asked for it.

    Returns:
      Name of the stored feature -> (rows, columns, 64) uint8.

    Raises:
      SourceError: as `find_features`; or damaged values.
    """
    found = find_features(path, form, where)
    arrays = {name: read_uint8(path, variable, where) for name, variable in found.items()}
    return {
        name: np.ascontiguousarray(array.reshape(array.shape[-3:], order="F").transpose(1, 2, 0))
        for name, array in arrays.items()
    }


def count_suspicious_zeros(features: np.ndarray) -> int:
    """How many zeros have a neighbour of 240 or more, above, below, left or right in their own channel.

    The published encoding wraps instead of clipping: 12.7 is stored as 254, but 12.8 as 0. No reader can tell such
    a zero from a real one; one beside a nearly saturated value may well have been a maximum.

    Args:
      features: (rows, columns, channels) uint8.
    """
    saturated = features >= SATURATED
    if not saturated.any():
        return 0
    beside = np.zeros_like(saturated)
    beside[1:] |= saturated[:-1]
    beside[:-1] |= saturated[1:]
    beside[:, 1:] |= saturated[:, :-1]
    beside[:, :-1] |= saturated[:, 1:]
    return int(np.count_nonzero(beside & (features == 0)))
