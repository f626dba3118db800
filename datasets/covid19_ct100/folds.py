"""Disjoint folds that depend on nothing but the names, the pictures and a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping


def assign_folds(
    digests: Mapping[str, str], *, folds: int, seed: int, copies: Collection[tuple[str, str]] = ()
) -> dict[str, int]:
    """Spreads slices over folds.

    Slices with the same picture form one group. Groups are taken largest first, those of one size in the
    order of a hash of (seed, name), and each goes to the smallest fold so far, the first of equals. Without
    repeated pictures the sizes therefore differ by one at most: 52 slices over five folds give 11, 11, 10,
    10, 10. A fold belongs to the list it was made from: other slices in the list, other folds.

    Copies whose pixels differ are brought together afterwards: the second goes to the first one's fold, and the
    last slice there that has no copy takes its place. The other folds stay as they were.

    Args:
      digests: name of each slice -> digest of its pixels.
      folds: how many.
      seed: another seed gives other folds.
      copies: pairs of names that show the same picture; those that aren't in `digests` don't count.

    Returns:
      Name -> fold, 0 to folds - 1, in the order of `digests`.

    Raises:
      ValueError: fewer distinct pictures than folds.
    """
    groups: dict[str, list[str]] = {}
    for name, digest in digests.items():
        groups.setdefault(digest, []).append(name)
    if len(groups) < folds:
        raise ValueError(f"{folds} folds need at least {folds} different pictures, not {len(groups)}")
    ranked = sorted(groups.values(), key=lambda names: (-len(names), min(_rank(name, seed) for name in names)))
    sizes = [0] * folds
    chosen: dict[str, int] = {}
    for names in ranked:
        fold = sizes.index(min(sizes))
        sizes[fold] += len(names)
        chosen.update(dict.fromkeys(names, fold))
    for first, second in copies:
        if first in chosen and second in chosen and chosen[first] != chosen[second]:
            single = [names[0] for names in ranked if len(names) == 1 and chosen[names[0]] == chosen[first]]
            others = [name for name in single if not any(name in pair for pair in copies)]
            if others:
                chosen[others[-1]] = chosen[second]
            chosen[second] = chosen[first]
    return {name: chosen[name] for name in digests}


def _rank(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()
