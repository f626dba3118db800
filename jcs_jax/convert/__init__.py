"""Released PyTorch weights, read without PyTorch and without executing anything in them."""

from jcs_jax.convert.assign import from_torch

__all__ = ["from_torch"]
