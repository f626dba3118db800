import math

from audit_parts import known, unseen

from jcs_jax.audit.findings import Place, shared_names, shared_patients, shared_pictures, summarise
from jcs_jax.audit.looks import Look


def test_a_patient_in_two_parts_is_told_with_the_slices_in_each():
    slices = [
        known("a", "set:train", patient="7"),
        known("b", "set:train", patient="7"),
        known("c", "set:test", patient="7"),
        known("d", "set:test", patient="8"),
    ]
    (found,) = shared_patients(slices)
    assert found.patient == "7"
    assert found.slices == {"set:train": 2, "set:test": 1}


def test_unknown_patients_and_equal_numbers_in_two_data_sets_are_nobody_in_common():
    assert shared_patients([known("a", "set:train"), known("b", "set:test")]) == ()
    assert shared_patients([known("a", "set:train", patient="7"), known("b", "other:train", patient="7")]) == ()


def test_the_same_picture_in_two_parts_is_told_with_every_name():
    slices = [
        known("a", "set:train", digest="1"),
        known("b", "set:test", digest="1"),
        known("c", "other:train", digest="1"),
        known("d", "set:train", digest="2"),
        known("e", "set:train", digest="2"),
    ]
    (found,) = shared_pictures(slices, unseen(slices))
    assert found.places == (Place("set:train", "a"), Place("set:test", "b"), Place("other:train", "c"))
    assert found.thumbnail is None


def test_a_name_for_two_pictures_in_two_parts_of_one_data_set_is_told():
    slices = [
        known("a", "set:train", digest="1"),
        known("a", "set:test", digest="2"),
        known("b", "set:train", digest="3"),
        known("b", "set:test", digest="3"),  # the same slice: told as a picture
        known("a", "other:train", digest="4"),
    ]
    (found,) = shared_names(slices)
    assert found.places == (Place("set:train", "a"), Place("set:test", "a"))


def test_a_part_is_counted():
    slices = [
        known("a", label=1, patient="7"),
        known("b", label=1, patient="7"),
        known("c", label=0, patient="8"),
        known("d"),
        known("e", "set:test", label=1),
    ]
    shares = (0.0, 1.0, 0.25, math.nan, 0.0)
    part = summarise("set:train", slices, [Look(0.5, share) for share in shares])
    assert (part.slices, part.patients, part.unknown_patients) == (4, 2, 1)
    assert (part.infected, part.uninfected, part.unlabelled) == (2, 1, 1)
    assert (part.masks, part.empty_masks, part.full_masks) == (3, ("a",), ("b",))


def test_masks_that_are_not_decoded_are_counted_by_their_area_in_the_index():
    slices = [known("a", lesion_area=0.0), known("b", lesion_area=10_000.0), known("c", lesion_area=5.0), known("d")]
    part = summarise("set:train", slices, unseen(slices))
    assert (part.masks, part.empty_masks, part.full_masks) == (3, ("a",), ("b",))
