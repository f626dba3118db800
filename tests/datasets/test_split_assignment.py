import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jcs_datasets.common.splits import HELD_OUT, SplitRow, assign_splits, fold_blocks

SPLITS = {"train", "validation", "test"}
strata = st.sampled_from(["-1", "0", "1"])
seeds = st.integers(0, 5)
block_kinds = st.sampled_from([HELD_OUT, fold_blocks(2), fold_blocks(5)])


def patients(*strata):
    """One row a patient."""
    return [SplitRow(frozenset({f"p{number}"}), stratum) for number, stratum in enumerate(strata)]


@st.composite
def manifests(draw, splits=()):
    """Rows of patients that come back and of pictures that are shared, in any order, some with a split."""
    count = draw(st.integers(5, 40))
    keys = st.frozensets(st.sampled_from([f"k{number}" for number in range(60)]), max_size=2)
    rows = [SplitRow(draw(keys), draw(strata), draw(st.sampled_from(["", *splits]))) for _ in range(count)]
    return patients("0", "0", "1", "1", "0") + rows


def joined(rows):
    """Groups by repeated passes over all pairs: another way than the code's."""
    groups = [set(row.keys) | {f"row{number}"} for number, row in enumerate(rows)]
    for _ in rows:
        for first, second in itertools.combinations(range(len(rows)), 2):
            if groups[first] & groups[second]:
                groups[first] = groups[second] = groups[first] | groups[second]
    return [frozenset(group) for group in groups]


@settings(max_examples=60, deadline=None)
@given(manifests(), block_kinds, seeds)
def test_no_group_is_ever_divided(rows, blocks, seed):
    found = {}
    for group, split in zip(joined(rows), assign_splits(rows, blocks, seed=seed), strict=True):
        found.setdefault(group, set()).add(split)
    assert all(len(splits) == 1 for splits in found.values())


@settings(max_examples=60, deadline=None)
@given(manifests(), st.lists(strata, max_size=30), block_kinds, seeds)
def test_patients_appended_at_the_end_never_move_earlier_rows(rows, more, blocks, seed):
    appended = [SplitRow(frozenset({f"new{number}"}), stratum) for number, stratum in enumerate(more)]
    before = assign_splits(rows, blocks, seed=seed)
    assert assign_splits(rows + appended, blocks, seed=seed)[: len(rows)] == before


@settings(max_examples=60, deadline=None)
@given(manifests(splits=("train", "test", "unlabelled", "fold1")), block_kinds, seeds)
def test_given_splits_are_kept_and_the_other_rows_of_a_group_follow_the_first(rows, blocks, seed):
    assigned = assign_splits(rows, blocks, seed=seed)
    first = {}
    for group, row in zip(joined(rows), rows, strict=True):
        if row.split:
            first.setdefault(group, row.split)
    for group, row, split in zip(joined(rows), rows, assigned, strict=True):
        assert split == (row.split or first.get(group, split))


@settings(max_examples=60, deadline=None)
@given(manifests(splits=("train", "test")), block_kinds, seeds)
def test_a_manifest_written_with_its_splits_keeps_them(rows, blocks, seed):
    assigned = assign_splits(rows, blocks, seed=seed)
    written = [row._replace(split=split) for row, split in zip(rows, assigned, strict=True)]
    assert assign_splits(written[::-1], blocks, seed=seed + 1)[::-1] == assigned


@settings(max_examples=40, deadline=None)
@given(st.lists(strata, min_size=3, max_size=150), seeds)
def test_every_split_has_its_share_of_every_stratum(kinds, seed):
    assigned = assign_splits(patients(*kinds), HELD_OUT, seed=seed)
    assert set(assigned) == SPLITS
    for stratum in set(kinds):
        sizes = Counter(split for split, kind in zip(assigned, kinds, strict=True) if kind == stratum)
        count = sizes.total()
        for split, share in (("train", 14), ("validation", 3), ("test", 3)):
            low, high = count // 20 * share, (count // 20 + (count % 20 > 0)) * share
            assert low <= sizes[split] <= high


@pytest.mark.parametrize("seed", range(20))
def test_twenty_patients_of_a_stratum_give_14_3_and_3(seed):
    sizes = Counter(assign_splits(patients(*"0" * 20), HELD_OUT, seed=seed))
    assert sizes == {"train": 14, "validation": 3, "test": 3}


@pytest.mark.parametrize("seed", range(20))
def test_seven_patients_of_each_stratum_leave_one_of_each_held_out(seed):
    kinds = "01" * 7
    assigned = assign_splits(patients(*kinds), HELD_OUT, seed=seed)
    for stratum in "01":
        sizes = Counter(split for split, kind in zip(assigned, kinds, strict=True) if kind == stratum)
        assert sizes["validation"] >= 1 and sizes["test"] >= 1


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kinds", ["000", "001", "010", "011"])
def test_three_patients_are_enough_for_three_splits(kinds, seed):
    assert set(assign_splits(patients(*kinds), HELD_OUT, seed=seed)) == SPLITS


@pytest.mark.parametrize("seed", range(5))
def test_folds_of_one_stratum_differ_by_one_at_most(seed):
    sizes = Counter(assign_splits(patients(*"1" * 52), fold_blocks(5), seed=seed))
    assert sorted(sizes.values()) == [10, 10, 10, 11, 11]


def test_too_few_groups_are_refused():
    with pytest.raises(ValueError, match="3 splits need at least 3 groups, not 2"):
        assign_splits(patients("0", "1"), HELD_OUT, seed=0)
    with pytest.raises(ValueError, match="5 splits need at least 5 groups, not 4"):
        assign_splits(patients(*"0000"), fold_blocks(5), seed=0)
    two_rows_one_patient = [SplitRow(frozenset({"p"}), "0")] * 3
    with pytest.raises(ValueError, match="not 1"):
        assign_splits(two_rows_one_patient, HELD_OUT, seed=0)


def test_kept_groups_count_towards_the_shares():
    rows = [row._replace(split="test") for row in patients(*"0" * 3)]
    rows += [SplitRow(frozenset({f"q{number}"}), "0") for number in range(17)]
    assert Counter(assign_splits(rows, HELD_OUT, seed=3)) == {"train": 14, "validation": 3, "test": 3}


def test_a_group_has_the_stratum_of_its_greatest_label():
    rows = []
    for number in range(20):
        rows += [SplitRow(frozenset({f"p{number}"}), "0"), SplitRow(frozenset({f"p{number}"}), str(number % 2))]
    assigned = assign_splits(rows, HELD_OUT, seed=0)[::2]
    infected = Counter(split for number, split in enumerate(assigned) if number % 2)
    assert infected["validation"] >= 1 and infected["test"] >= 1


def test_the_seed_draws_another_assignment_and_the_same_seed_the_same():
    rows = patients(*"01" * 30)
    first = assign_splits(rows, HELD_OUT, seed=0)
    assert assign_splits(rows, HELD_OUT, seed=0) == first
    assert len({tuple(assign_splits(rows, HELD_OUT, seed=seed)) for seed in range(10)}) == 10


def test_the_assignment_is_the_same_on_every_machine():
    expected = ["test", "train", "validation", "test", "train", "train"]
    assert assign_splits(patients(*"010101"), HELD_OUT, seed=0) == expected


def test_a_hundred_thousand_rows_take_seconds():
    rows = [SplitRow(frozenset({f"p{number // 10}", f"d{number}"}), str(number % 2)) for number in range(100_000)]
    sizes = Counter(assign_splits(rows, HELD_OUT, seed=0)[::10])
    assert sizes == {"train": 7000, "validation": 1500, "test": 1500}
