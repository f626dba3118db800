import pytest

from jcs_jax.data.splits import check_disjoint, find_overlap
from jcs_jax.errors import InputError

TRAIN = [("a", "p1"), ("b", "p1"), ("c", "")]


def test_disjoint_splits_share_nothing():
    overlap = find_overlap(TRAIN, [("d", "p2"), ("e", "")])
    assert (overlap.names, overlap.patients, overlap.unknown_patients) == ((), (), 2)


def test_shared_slices_and_patients_are_found():
    overlap = find_overlap(TRAIN, [("b", "p1"), ("x", "p1"), ("c", "")])
    assert (overlap.names, overlap.patients) == (("b", "c"), ("p1",))


def test_unknown_patients_are_not_one_patient():
    assert check_disjoint([("a", "")], [("b", "")]).unknown_patients == 2


def test_a_shared_slice_is_refused_by_name():
    with pytest.raises(InputError, match=r"share 1 slices \(b\); choose disjoint splits"):
        check_disjoint(TRAIN, [("b", "p9")])


def test_allowed_leakage_is_said_aloud(caplog):
    overlap = check_disjoint(TRAIN, [("b", "p9")], allow_leakage=True)
    assert overlap.names == ("b",)
    assert "share 1 slices (b): the score on the held-out split is a training score" in caplog.text


def test_a_shared_patient_is_refused_by_name():
    with pytest.raises(InputError, match=r"share 1 patients \(p1\)"):
        check_disjoint(iter(TRAIN), iter([("z", "p1")]))
