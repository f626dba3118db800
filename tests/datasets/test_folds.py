from collections import Counter

import pytest

from jcs_datasets.covid19_ct100.folds import assign_folds


def unlike(count):
    return {f"slice-{index:03d}": f"digest-{index}" for index in range(count)}


def sizes(folds):
    counts = Counter(folds.values())
    return [counts[fold] for fold in range(max(counts) + 1)]


@pytest.mark.parametrize(
    ("count", "expected"), [(52, [11, 11, 10, 10, 10]), (100, [20] * 5), (5, [1] * 5), (7, [2, 2, 1, 1, 1])]
)
def test_sizes_differ_by_one_at_most(count, expected):
    assert sizes(assign_folds(unlike(count), folds=5, seed=0)) == expected


def test_every_slice_is_in_exactly_one_fold():
    names = unlike(52)
    assert list(assign_folds(names, folds=5, seed=0)) == list(names)


def test_the_order_of_the_list_does_not_matter():
    names = unlike(52)
    backwards = dict(reversed(names.items()))
    assert assign_folds(names, folds=5, seed=0) == assign_folds(backwards, folds=5, seed=0)


def test_another_seed_gives_other_folds():
    assert assign_folds(unlike(52), folds=5, seed=0) != assign_folds(unlike(52), folds=5, seed=1)


def test_folds_are_the_same_on_every_machine():
    # sha256 of "0/a", "0/b", "0/c" begin with d3, 7d, 28: c is first, then b, then a.
    assert assign_folds({"a": "1", "b": "2", "c": "3"}, folds=3, seed=0) == {"a": 2, "b": 1, "c": 0}


def test_the_same_picture_under_several_names_stays_in_one_fold():
    names = {**unlike(30), "copy-1": "digest-3", "copy-2": "digest-3", "copy-3": "digest-9"}
    folds = assign_folds(names, folds=5, seed=0)
    assert folds["slice-003"] == folds["copy-1"] == folds["copy-2"]
    assert folds["slice-009"] == folds["copy-3"]
    assert max(sizes(folds)) - min(sizes(folds)) <= 1


def test_fewer_pictures_than_folds_are_refused():
    with pytest.raises(ValueError, match="5 folds need at least 5 different pictures, not 4"):
        assign_folds({**unlike(4), "copy": "digest-0"}, folds=5, seed=0)


@pytest.mark.parametrize("seed", range(12))
def test_copies_with_other_pixels_share_a_fold_and_the_sizes_and_other_folds_stay(seed):
    digests = {f"s{number}": str(number) for number in range(52)}
    before = assign_folds(digests, folds=5, seed=seed)
    after = assign_folds(digests, folds=5, seed=seed, copies=[("s10", "s43"), ("s1", "absent")])
    assert after["s10"] == after["s43"] == before["s10"]
    assert Counter(after.values()) == Counter(before.values())
    moved = {name for name in digests if after[name] != before[name]}
    assert moved == set() if before["s10"] == before["s43"] else len(moved) == 2 and "s43" in moved
