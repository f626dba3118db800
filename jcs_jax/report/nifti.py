"""Arrays of a result as NIfTI, on the voxels of the source."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
from jaxtyping import Float, Shaped

from jcs_jax.files import write_atomically
from jcs_jax.notice import RESEARCH_USE

_SUFFIX = ".nii.gz"
_RAS_FROM_LPS = np.array([[-1.0], [-1.0], [1.0], [1.0]])
_SCANNER, _UNKNOWN = 1, 0
_STORED = (np.uint8, np.uint16, np.int16, np.bool_)
_SQUARE = 1e-4  # cosine between axes up to which a quaternion tells how they lie


def write_nifti(path: Path, values: Shaped[np.ndarray, "a b c"], affine_lps: Float[np.ndarray, "4 4"]) -> Path:
    """Writes a compressed NIfTI file; the same input gives the same bytes.

    Args:
      path: the file, `.nii.gz`.
      values: (a, b, c) uint8, uint16, int16 or bool (written as 0 and 1), in the source's own order of axes.
      affine_lps: from the array's indices to LPS millimetres. It is written in RAS, as float32. A stack that leans (a
        tilted gantry) has an sform only: a quaternion can't tell of it.

    Returns:
      The path written.

    Raises:
      ValueError: another suffix, type or number of axes.
    """
    if not path.name.endswith(_SUFFIX):
        raise ValueError(f"{path}: must end with {_SUFFIX}")
    if values.ndim != 3 or values.dtype not in _STORED:
        raise ValueError(
            f"values are {values.dtype} with {values.ndim} axes; give uint8, uint16, int16 or bool with three"
        )
    stored = values.astype(np.uint8) if values.dtype == np.bool_ else values
    affine = _RAS_FROM_LPS * affine_lps
    image = nibabel.nifti1.Nifti1Image(stored, affine)
    image.set_sform(affine, _SCANNER)
    image.set_qform(affine, _SCANNER if _is_square(affine) else _UNKNOWN)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = RESEARCH_USE.encode("ascii")
    return write_atomically(path, gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))


def _is_square(affine: Float[np.ndarray, "4 4"]) -> bool:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=_SQUARE))
