"""Items come in their order, one of them before it is asked for."""

import threading

import pytest

from jcs_jax.diagnosis.reading_ahead import read_ahead


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_nothing_is_lost_or_exchanged(count):
    assert list(read_ahead(range(count))) == list(range(count))


def test_the_next_item_is_made_while_one_is_in_use():
    made = [threading.Event() for _ in range(4)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in read_ahead(items()):
        if number < 3:
            assert made[number + 1].wait(timeout=60)
        assert not any(event.is_set() for event in made[number + 2 :])


def test_an_error_comes_in_its_place():
    def items():
        yield 0
        raise ValueError("no second one")

    ahead = read_ahead(items())
    assert next(ahead) == 0
    with pytest.raises(ValueError, match="no second one"):
        next(ahead)
