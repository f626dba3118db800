"""Finding the affine transform that lays one slice over another, from matching local features."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float

from jcs_jax.audit.local_features import MIRROR, LocalFeatures, products

FEWEST_MATCHES = 8  # on which one transform agrees; fewer come together by chance
_RATIO = 0.85  # how much nearer than the second-best a match must be
_TOLERANCE = 3.0  # pixels
_TRIES = 500
_SCALES = 0.2, 5.0  # a copy reduced further than this shows too little


@dataclasses.dataclass(frozen=True)
class Alignment:
    """How the first of two slices lies on the second.

    Attributes:
      matrix: (2, 3) float64 from x, y in the first's reduced picture to x, y in the second's.
      matches: local features that agree on it.
    """

    matrix: Float[np.ndarray, "2 3"]
    matches: int

    @property
    def scale(self) -> float:
        """Pixels of the second picture for one of the first."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    def inverse(self) -> Alignment:
        """How the second lies on the first."""
        return Alignment(cv2.invertAffineTransform(self.matrix), self.matches)


def align(first: LocalFeatures, second: LocalFeatures, *, mirrored: bool) -> Alignment | None:
    """Lays the first slice over the second.

    Args:
      first: of one slice.
      second: of the other.
      mirrored: look for a mirror image instead of a turned one.

    Returns:
      The transform, to about a pixel; None if too few features agree on one.
    """
    points, targets = _matching_points(first, second, mirrored=mirrored)
    if len(points) < FEWEST_MATCHES:
        return None
    flip = np.array([[-1.0, 0, first.picture.shape[1] - 1], [0, 1, 0]]) if mirrored else np.eye(2, 3)
    points = points @ flip[:, :2].T + flip[:, 2]
    matrix, agrees = cv2.estimateAffinePartial2D(
        points, targets, method=cv2.RANSAC, ransacReprojThreshold=_TOLERANCE, maxIters=_TRIES
    )
    if matrix is None or agrees.sum() < FEWEST_MATCHES:
        return None
    matrix, matches = _least_squares(points, targets, agrees.ravel() > 0, matrix)
    found = Alignment(matrix @ np.vstack([flip, [0, 0, 1]]), matches)
    return found if _SCALES[0] <= found.scale <= _SCALES[1] else None


def refine(alignment: Alignment, first: np.ndarray, second: np.ndarray) -> Alignment:
    """Adjusts a transform until the pictures correlate best, to a fraction of a pixel.

    Args:
      alignment: to about a pixel.
      first: (h, w) float32.
      second: (h, w) float32.

    Returns:
      The better transform, or the one given where the adjustment leads nowhere.
    """
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-5)
    backwards = alignment.inverse().matrix.astype(np.float32)
    try:
        _, found = cv2.findTransformECC(second, first, backwards, cv2.MOTION_AFFINE, stop)
    except cv2.error:  # OpenCV's word for: the pictures don't correlate
        return alignment
    return Alignment(cv2.invertAffineTransform(np.asarray(found, np.float64)), alignment.matches)


def _matching_points(
    first: LocalFeatures, second: LocalFeatures, *, mirrored: bool
) -> tuple[Float[np.ndarray, "k 2"], Float[np.ndarray, "k 2"]]:
    """Positions in both of the features that are each other's nearest, and much nearer than the next."""
    ours, theirs = first.directions(), second.directions()
    if min(len(ours), len(theirs)) < FEWEST_MATCHES:
        return np.zeros((0, 2)), np.zeros((0, 2))
    if mirrored:
        ours = np.ascontiguousarray(ours[:, MIRROR])
    likeness = products(ours, theirs)
    rows = np.arange(len(ours))
    nearest = likeness.argmax(axis=1)
    mutual = likeness.argmax(axis=0)[nearest] == rows
    best = likeness[rows, nearest]
    likeness[rows, nearest] = -1
    clear = 1 - best < _RATIO**2 * (1 - likeness.max(axis=1))  # of unit vectors: half the squared distance
    kept = mutual & clear
    return first.points[kept].astype(np.float64), second.points[nearest[kept]].astype(np.float64)


def _least_squares(
    points: np.ndarray, targets: np.ndarray, agrees: np.ndarray, matrix: np.ndarray
) -> tuple[Float[np.ndarray, "2 3"], int]:
    """The affine transform of all features that agree; pictures may be stretched, so it is found in two rounds."""
    extended = np.column_stack([points, np.ones(len(points))])
    for _ in range(2):
        if agrees.sum() < FEWEST_MATCHES:
            break
        solved, found = cv2.solve(extended[agrees], targets[agrees], flags=cv2.DECOMP_QR)
        if not solved:  # the features lie on one line
            break
        matrix = np.asarray(found).T
        agrees = np.linalg.norm(extended @ matrix.T - targets, axis=1) < _TOLERANCE
    return matrix, int(agrees.sum())
