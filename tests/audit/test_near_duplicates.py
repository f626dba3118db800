from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fake_slices import CHANGES, cropped, encoded, fake_slice, resized, windowed

from jcs_jax.audit.candidates import Groups
from jcs_jax.audit.local_features import extract
from jcs_jax.audit.near_duplicates import COPY, find_near_duplicates


def find(pictures, parts, patients=None):
    digests = [picture.tobytes() + repr(picture.shape).encode() for picture in pictures]
    groups = Groups(
        part=np.array(parts),
        patient=np.full(len(parts), -1) if patients is None else np.array(patients),
        digest=np.array([digests.index(digest) for digest in digests]),
    )
    features = [extract(picture.astype(np.float32) / 255) for picture in pictures]
    with ThreadPoolExecutor(2) as executor:
        return find_near_duplicates(features, groups, executor)


def copies(*arguments):
    return {(pair.first, pair.second) for pair in find(*arguments) if pair.is_copy}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))])
def test_all_of_twenty_planted_copies_among_two_hundred_slices_are_found_and_nothing_else(seed):
    rng = np.random.default_rng(seed)
    pictures = [fake_slice((seed, number), side=96) for number in range(180)]
    parts, planted, exact = rng.integers(0, 3, 180).tolist(), set(), set()
    for number, original in enumerate(rng.permutation(180)[:20].tolist()):
        change = list(CHANGES)[number % len(CHANGES)]
        (exact if change == "exact" else planted).add((original, len(pictures)))
        pictures.append(CHANGES[change](pictures[original]))
        parts.append((parts[original] + 1 + number % 2) % 3)
    assert copies(pictures, parts) == planted  # an exact copy has the same digest, which says all
    assert len(exact) == 4


@pytest.mark.parametrize(
    "change",
    [
        np.flipud,
        np.rot90,
        np.transpose,
        lambda picture: np.rot90(picture, 2),
        lambda picture: np.rot90(picture, 3),
        lambda picture: cropped(picture, 0.2),
        lambda picture: encoded(resized(cropped(picture.T), 0.8)),
        lambda picture: windowed(np.fliplr(picture)),
        lambda picture: (255 * (picture / 255) ** 0.6).astype(np.uint8),
        lambda picture: resized(picture, 0.5),
        lambda picture: resized(picture, 2.0),
    ],
)
def test_a_turned_cropped_or_recoloured_copy_is_found(change):
    pictures = [fake_slice(number) for number in range(8)]
    pictures.append(change(pictures[3]))
    assert copies(pictures, [0] * 8 + [1]) == {(3, 8)}


def test_two_slices_alone_are_compared():
    picture = fake_slice(0)
    assert copies([picture, np.fliplr(picture)], [0, 1]) == {(0, 1)}


def test_a_slice_that_is_nearly_the_same_is_alike_but_no_copy():
    picture = fake_slice(0).astype(np.float32)
    noise = fake_slice(1).astype(np.float32) - fake_slice(2).astype(np.float32)
    neighbour = np.clip(picture + 0.2 * noise, 0, 255).astype(np.uint8)
    (pair,) = find([picture.astype(np.uint8), neighbour], [0, 1])
    assert 0.85 <= pair.similarity < COPY
    assert not pair.is_copy


def test_copies_within_a_part_are_found_unless_they_are_known_to_be_of_one_patient():
    pictures = [fake_slice(0), np.fliplr(fake_slice(0)), fake_slice(1)]
    assert copies(pictures, [0, 0, 0]) == {(0, 1)}
    assert copies(pictures, [0, 0, 0], [7, 8, 9]) == {(0, 1)}
    assert copies(pictures, [0, 0, 0], [7, 7, 8]) == set()
    assert copies(pictures, [0, 1, 0], [7, 7, 8]) == {(0, 1)}


def test_slices_with_nothing_on_them_match_nothing():
    plain = [np.zeros((96, 96), np.uint8), np.full((96, 80), 200, np.uint8)]
    assert find([*plain, fake_slice(0)], [0, 1, 2]) == []
    assert find(plain, [0, 1]) == []
    assert find([], []) == []


def test_equal_input_gives_equal_output():
    pictures = [fake_slice(number) for number in range(6)] + [encoded(fake_slice(2))]
    first, second = (find(pictures, [0, 1] * 3 + [1]) for _ in range(2))
    assert [(pair.first, pair.second, pair.similarity) for pair in first] == [
        (pair.first, pair.second, pair.similarity) for pair in second
    ]
