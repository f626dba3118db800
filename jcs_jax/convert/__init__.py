"""Released PyTorch weights, read without PyTorch and without executing anything in them."""

from jcs_jax.convert.assign import from_torch
from jcs_jax.convert.files import model_from_file
from jcs_jax.convert.pth import read_pth
from jcs_jax.convert.tensor_files import read_weights

__all__ = ["from_torch", "model_from_file", "read_pth", "read_weights"]
