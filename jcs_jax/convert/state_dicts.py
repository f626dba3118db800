"""Which part of a saved object is the state dict: the object itself, or one entry of a training checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from jcs_jax.convert.restricted_pickle import shorten
from jcs_jax.convert.torch_objects import TensorRef
from jcs_jax.errors import InputError

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
"""Names under which training scripts keep the weights in a checkpoint."""

PREFIX = "module."
"""What DataParallel puts before every name."""

T = TypeVar("T")


def select_state_dict(value: object, path: object) -> dict[str, TensorRef]:
    """Finds the one state dict in a saved object.

    Args:
      value: the object a PyTorch file holds.
      path: the file, for messages.

    Returns:
      Names without DataParallel's prefix, and tensors.

    Raises:
      InputError: there is none, there are several, or it holds something that is no tensor.
    """
    if not isinstance(value, dict):
        raise InputError(
            f"{path}: the saved object is {_kind(value)}, not a state dict;"
            " save one with torch.save(model.state_dict(), ...)"
        )
    candidates = [name for name in WRAPPERS if isinstance(value.get(name), dict) and value[name]]
    if len(candidates) > 1:
        raise InputError(
            f"{path}: could mean {' or '.join(candidates)}; save the right one alone:"
            f" torch.save(checkpoint[{candidates[0]!r}], ...)"
        )
    found = value[candidates[0]] if candidates else value
    where = f" of {candidates[0]}" if candidates else ""
    if not found:
        raise InputError(f"{path}: holds no tensors; save the weights with torch.save(model.state_dict(), ...)")
    for name, entry in found.items():
        if not isinstance(name, str):
            raise InputError(f"{path}: an entry{where} has a name {_kind(name)}, not a text; save a state dict")
        if not isinstance(entry, TensorRef):
            raise InputError(
                f"{path}: entry {shorten(name)}{where} is {_kind(entry)}, not a tensor;"
                " save only the weights: torch.save(model.state_dict(), ...)"
            )
    return strip_prefix(found)


def strip_prefix(tensors: Mapping[str, T]) -> dict[str, T]:
    """Takes DataParallel's `module.` off, when every name has it."""
    if all(name.startswith(PREFIX) for name in tensors):
        return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def _kind(value: object) -> str:
    return "a tensor" if isinstance(value, TensorRef) else f"of type {type(value).__name__}"
