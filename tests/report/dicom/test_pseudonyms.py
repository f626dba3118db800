import re

import pytest
from pydicom.uid import UID

from jcs_jax.report.dicom.pseudonyms import Pseudonyms

KEY = bytes(range(32))


def test_the_same_key_gives_the_same_pseudonyms():
    assert Pseudonyms(KEY).uid("1.2.3") == Pseudonyms(KEY).uid("1.2.3")
    assert Pseudonyms(KEY).patient("4711") == Pseudonyms(KEY).patient("4711")


def test_another_key_or_another_original_gives_others():
    assert Pseudonyms(KEY).uid("1.2.3") != Pseudonyms(KEY[::-1]).uid("1.2.3")
    assert Pseudonyms(KEY).uid("1.2.3") != Pseudonyms(KEY).uid("1.2.4")
    assert Pseudonyms(KEY).patient("4711") != Pseudonyms(KEY).patient("4712")


def test_uids_are_valid_and_no_two_of_a_thousand_are_alike():
    uids = {Pseudonyms(KEY).uid(f"1.2.{number}") for number in range(1000)}
    assert len(uids) == 1000
    assert all(UID(uid).is_valid and len(uid) <= 64 and uid.startswith("2.25.") for uid in uids)


def test_a_patient_becomes_eight_letters_or_digits():
    assert re.fullmatch(r"JCS-[A-Z2-7]{8}", Pseudonyms(KEY).patient("Müller"))


def test_originals_are_kept_only_when_asked_and_new_uids_stay_new():
    kept = Pseudonyms(KEY, keep=True)
    assert (kept.uid("1.2.3"), kept.patient("4711")) == ("1.2.3", "4711")
    assert kept.new_uid("a", "b") == Pseudonyms(KEY).new_uid("a", "b")


def test_parts_are_not_run_together():
    assert Pseudonyms(KEY).new_uid("ab", "c") != Pseudonyms(KEY).new_uid("a", "bc")


def test_the_key_is_not_shown():
    assert "key" not in repr(Pseudonyms(KEY))


def test_a_short_key_is_refused():
    with pytest.raises(ValueError, match="give at least 16"):
        Pseudonyms(b"short")
