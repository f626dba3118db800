"""Several data sets as one: one index, one order, and nobody taken for another data set's patient."""

import numpy as np
import pytest

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.data.joined import JoinedSource
from jcs_jax.data.pipeline import source_fingerprint

RNG = np.random.default_rng(0)


def _source(*names: str) -> ArraySource:
    """Slices of patients with the same names."""
    return ArraySource([Example(RNG.random((4, 4), np.float32), name=name, patient=name) for name in names])


class TestJoinedSource:
    SIZES = (3, 0, 2, 1)

    @pytest.fixture
    def joined(self) -> JoinedSource:
        names = iter("abcdef")
        sources = {f"own/{number}:x": _source(*(next(names) for _ in range(n))) for number, n in enumerate(self.SIZES)}
        return JoinedSource(sources)

    def test_every_slice_has_one_index(self, joined):
        assert len(joined) == 6
        assert "".join(joined[index].name for index in range(6)) == "abcdef"
        assert "".join(joined[index].name for index in range(-6, 0)) == "abcdef"

    def test_it_knows_how_many_slices_each_data_set_has(self, joined):
        assert tuple(joined.sizes) == self.SIZES

    @pytest.mark.parametrize("index", [6, -7])
    def test_an_index_outside_is_refused(self, joined, index):
        with pytest.raises(IndexError, match=f"index {index} is outside the 6 slices"):
            joined[index]

    def test_records_come_in_the_order_of_the_slices(self, joined):
        assert [record.name for record in joined.records()] == [joined[index].name for index in range(6)]

    def test_the_fingerprint_tells_the_order(self):
        one, two = _source("a", "b", "c"), _source("d")
        prints = [source_fingerprint(JoinedSource({"own": a, "more": b})) for a, b in ((one, two), (two, one))]
        assert prints[0] != prints[1]

    def test_names_and_patients_of_another_data_set_are_told_with_its_name(self):
        joined = JoinedSource({"own/a:train": _source("1"), "own/b:x": _source("2"), "other/c:y": _source("1", "")})
        assert [(record.name, record.patient) for record in joined.records()] == [
            ("1", "1"),
            ("2", "2"),
            ("other/1", "other/1"),
            ("other/", ""),  # an unknown patient stays unknown
        ]
