import numpy as np
import pytest
from audit_parts import part
from fake_slices import cropped, encoded, fake_slice

from jcs_jax.audit import auditor
from jcs_jax.audit.auditor import audit
from jcs_jax.audit.findings import Place
from jcs_jax.audit.parts import Part
from jcs_jax.data.examples import ArraySource, Example

SIX = [fake_slice(number) for number in range(6)]


def test_disjoint_parts_leak_nothing():
    found = audit([part("train", SIX[:4], patient=list("1234")), part("test", SIX[4:], patient=list("56"))])
    assert found.leaks == {"patients": 0, "pictures": 0, "names": 0, "copies": 0}
    assert found.notes == ()
    assert [(item.name, item.slices, item.patients) for item in found.parts] == [
        ("set:train", 4, 4),
        ("set:test", 2, 2),
    ]


def test_every_kind_of_leak_is_told_with_its_slices():
    train = part("train", SIX[:4], patient=list("1234"), name=["a", "b", "c", "same"])
    test = part(
        "test", [SIX[0], np.fliplr(cropped(SIX[1])), *SIX[4:]], patient=list("5678"), name=["d", "e", "f", "same"]
    )
    found = audit([train, test])
    assert found.leaks == {"patients": 0, "pictures": 1, "names": 1, "copies": 1}
    assert found.pictures[0].places == (Place("set:train", "a"), Place("set:test", "d"))
    assert found.pictures[0].thumbnail.shape == (128, 128)
    assert [place.part for place in found.names[0].places] == ["set:train", "set:test"]
    (copy,) = found.copies
    assert (copy.first, copy.second) == (Place("set:train", "b"), Place("set:test", "e"))
    assert copy.change == "mirrored left to right, cropped to 82% of the first"
    assert copy.similarity > 0.99


def test_the_thumbnail_of_the_second_lies_in_the_frame_of_the_first():
    found = audit([part("train", SIX[:2]), part("test", [cropped(SIX[1].T, 0.1)])])
    first, second = found.copies[0].thumbnails
    assert first.shape == second.shape == (128, 128)
    assert second[:10].max() == second[:, -10:].max() == 0
    inner = np.s_[16:112, 16:112]
    assert np.corrcoef(first[inner].ravel(), second[inner].ravel())[0, 1] > 0.99


def test_only_the_first_copies_have_thumbnails(monkeypatch):
    monkeypatch.setattr(auditor, "_SHOWN_PAIRS", 1)
    found = audit([part("train", SIX[:2]), part("test", [encoded(SIX[0]), encoded(SIX[1])])])
    assert [copy.thumbnails is None for copy in found.copies] == [False, True]


def test_a_patient_in_two_parts_leaks_though_no_picture_does():
    found = audit([part("train", SIX[:2], patient=["1", "2"]), part("test", SIX[2:4], patient=["2", "3"])])
    assert found.leaks == {"patients": 1, "pictures": 0, "names": 0, "copies": 0}


def test_repetitions_within_a_part_are_a_note():
    pictures = [SIX[0], SIX[0], SIX[1], encoded(SIX[1])]
    found = audit(
        [part("train", pictures, label=[1, 0, 1, 0], patient=list("1234")), part("test", SIX[2:3], patient=["5"])]
    )
    assert not any(found.leaks.values())
    assert found.notes == (
        "set:train: 1 exact repetition of a slice within the part",
        "set:train: 1 changed copy within the part: train-2 and train-3",
        "2 pictures labelled infected in one place and uninfected in another",
    )


def test_slices_as_alike_as_neighbours_are_a_note_unless_they_are_known_to_be_of_one_patient():
    noise = fake_slice(8).astype(np.float32) - fake_slice(9)
    neighbour = np.clip(SIX[0] + 0.2 * noise, 0, 255).astype(np.uint8)
    found = audit([part("train", SIX[:1]), part("test", [neighbour])])
    assert not any(found.leaks.values())
    assert any(
        note.startswith("1 pair in two parts as alike as neighbouring slices of one scan")
        and note.endswith("train-0 and test-0")
        for note in found.notes
    )
    same = audit([part("train", SIX[:1], patient=["1"]), part("test", [neighbour], patient=["1"])])
    assert same.notes == ()


def test_what_could_not_be_looked_at_is_noted():
    features = [Example(None, name="f", res2net_features=np.zeros((8, 8, 64), np.uint8), patient="1")]
    stored = Part("cs", "train", "cs", ArraySource(features, {"image_encoding": "features"}))
    tiny = part("test", [fake_slice(0, 32), np.zeros((64, 64), np.uint8)], patient=["", "2"])
    assert audit([stored, tiny]).notes == (
        "cs:train: stored features without pictures; only equal features were looked for",
        "1 slice under 64 pixels not compared with others",
        "1 slice without any structure to be recognised by",
        "1 slice of unknown patients: whether parts share those can't be told",
    )


def test_equal_stored_features_in_two_parts_leak():
    features = np.random.default_rng(0).integers(0, 9, (8, 8, 64), np.uint8)
    parts = [
        Part("cs", split, "cs", ArraySource([Example(None, name=split, res2net_features=features)]))
        for split in ("train", "test")
    ]
    assert audit(parts).leaks["pictures"] == 1


def test_a_set_too_large_for_comparison_is_still_searched_for_exact_pictures(monkeypatch):
    monkeypatch.setattr(auditor, "LARGEST_SET", 3)
    found = audit(
        [part("train", SIX[:2], patient=["1", "2"]), part("test", [SIX[0], encoded(SIX[1])], patient=["3", "4"])]
    )
    assert found.leaks == {"patients": 0, "pictures": 1, "names": 0, "copies": 0}
    assert found.notes == ("4 slices are too many to compare: changed copies are looked for among up to 3",)


@pytest.mark.parametrize("parts", [[], [part("train", [])]])
def test_nothing_to_audit_is_no_error(parts):
    assert not any(audit(parts).leaks.values())
