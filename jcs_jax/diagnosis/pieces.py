"""The pieces of a mask, found a few slices at a time: memory doesn't grow with the study."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int
from scipy import ndimage, sparse

from jcs_jax.memory import let_go
from jcs_jax.study.lung_grid import bounding_box

_PART, _LABELLED_PART = 2**20, 2**22  # voxels
_NEIGHBOURS = np.ones((3, 3, 3))
Box = tuple[slice, ...]


def parts(shape: tuple[int, ...], voxels: int = _PART) -> list[slice]:
    """Slices by the megavoxel: what is looked at together, so that no list of voxels grows with the study."""
    step = max(1, voxels // math.prod(shape[1:]))
    return [slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step)]


class Pieces:
    """The 26-connected pieces of a mask, numbered from 1 in the order of their first voxels.

    Args:
      mask: (S, H, W), opacities; it is read again when the pieces are asked for.

    Attributes:
      count: how many there are.
    """

    def __init__(self, mask: Bool[np.ndarray, "s h w"]) -> None:
        self._mask = mask
        self._boxes: list[Box] = []
        counts: list[int] = []
        same, end, total = [np.zeros((2, 0), np.int64)], np.zeros(mask.shape[1:], np.int64), 0
        for part in parts(mask.shape, _LABELLED_PART):
            begin, before, end = np.zeros_like(end), end, np.zeros_like(end)
            box, found, count = self._labelled(part)
            if not count:
                continue
            if box[0].start == part.start:
                begin[box[1:]] = found[0] + total * (found[0] > 0)
            if box[0].stop == part.stop:
                end[box[1:]] = found[-1] + total * (found[-1] > 0)
            same.append(_touching(before, begin))
            self._boxes.append(box)
            counts.append(count)
            total += count
        numbers = _joined(total, np.concatenate(same, axis=1))
        self.count = int(numbers.max())
        # Of every part, what the numbers of its own pieces become; 0 stays 0.
        ends = np.cumsum(counts, dtype=np.int64)
        self._numbers = [
            np.append(0, numbers[end - count + 1 : end + 1]) for count, end in zip(counts, ends, strict=True)
        ]

    def __iter__(self) -> Iterator[tuple[Box, Int[np.ndarray, "z h w"]]]:
        """Boxes that hold all pieces, from the first slice on, and the number of the piece at each of their voxels."""
        for box, numbers in zip(self._boxes, self._numbers, strict=True):
            found, _ = ndimage.label(self._mask[box], _NEIGHBOURS)
            yield box, numbers[found]
            let_go(self._mask)

    def _labelled(self, part: slice) -> tuple[Box, Int[np.ndarray, "z h w"], int]:
        """The box of a part's pieces, their numbers in it and how many they are; an empty box without any."""
        mask = self._mask[part]
        if not mask.any():
            let_go(mask)
            return (), np.zeros((0, 0, 0), np.int32), 0
        first, *plane = bounding_box(mask)
        found, count = ndimage.label(mask[first, *plane], _NEIGHBOURS)
        let_go(mask)
        return (slice(part.start + first.start, part.start + first.stop), *plane), found, count


def _joined(count: int, same: Int[np.ndarray, "2 n"]) -> Int[np.ndarray, " m"]:
    """New numbers by old ones, from 0, which stays, to `count`; the same for pairs of pieces that are one."""
    graph = sparse.coo_array((np.ones(same.shape[1], bool), (same[0], same[1])), shape=(count + 1, count + 1))
    numbers: np.ndarray = sparse.csgraph.connected_components(graph, directed=False)[1]
    return numbers


def _touching(end: Int[np.ndarray, "h w"], begin: Int[np.ndarray, "h w"]) -> Int[np.ndarray, "2 n"]:
    """Pairs of pieces of two slices, one upon the other, that touch."""
    if not (end.any() and begin.any()):
        return np.zeros((2, 0), np.int64)
    rows, columns = np.nonzero(begin)
    around, numbers, base = np.pad(end, 1), begin[rows, columns], int(begin.max()) + 1
    touched = [
        np.unique(around[rows + down, columns + right] * base + numbers) for down in range(3) for right in range(3)
    ]
    pairs = np.stack(np.divmod(np.unique(np.concatenate(touched)), base))
    return pairs[:, pairs[0] > 0]
