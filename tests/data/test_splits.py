import pytest

from jcs_jax.data.examples import SliceRecord
from jcs_jax.data.splits import check_disjoint, find_overlap
from jcs_jax.errors import InputError


def _slice(name: str, patient: str = "", digest: str = "") -> SliceRecord:
    return SliceRecord(name, patient, 1, "", "png", digest or name, 8, 8)


TRAIN = [_slice("a", "p1"), _slice("b", "p1"), _slice("c")]


def test_disjoint_splits_share_nothing():
    overlap = find_overlap(TRAIN, [_slice("d", "p2"), _slice("e")])
    assert (overlap.names, overlap.patients, overlap.pictures, overlap.unknown_patients) == ((), (), (), 2)
    assert not any(overlap.counts().values())


def test_shared_slices_patients_and_pictures_are_found():
    overlap = find_overlap(TRAIN, [_slice("b", "p1"), _slice("x", "p1"), _slice("c"), _slice("y", digest="a")])
    assert (overlap.names, overlap.patients, overlap.pictures) == (("b", "c"), ("p1",), ("b", "c", "y"))
    assert overlap.counts() == {"names": 2, "patients": 1, "pictures": 3}


def test_blank_slices_are_not_one_picture():
    blank = [SliceRecord(name, "", 1, "", "png", "", 8, 8) for name in "ab"]
    assert check_disjoint(blank[:1], blank[1:]).pictures == ()


def test_unknown_patients_are_not_one_patient():
    assert check_disjoint([_slice("a")], [_slice("b")]).unknown_patients == 2


@pytest.mark.parametrize(
    ("held_out", "said"),
    [
        (_slice("b", "p9", "other"), r"share 1 slices \(b\); choose disjoint splits"),
        (_slice("z", "p1"), r"share 1 patients \(p1\)"),
        (_slice("z", "p9", "a"), r"share 1 pictures \(z\)"),
    ],
)
def test_what_is_shared_is_refused_by_name(held_out, said):
    with pytest.raises(InputError, match=said):
        check_disjoint(iter(TRAIN), iter([held_out]))


def test_allowed_leakage_is_said_aloud(caplog):
    overlap = check_disjoint(TRAIN, [_slice("b", "p9", "other")], allow_leakage=True)
    assert overlap.names == ("b",)
    assert "share 1 slices (b): the score on the held-out split is a training score" in caplog.text
