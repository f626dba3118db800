"""Names of parts of data sets, as options give them."""

import pytest

from jcs_jax.data.part_names import dataset_and_split, part_names
from jcs_jax.errors import InputError


@pytest.mark.parametrize(
    ("text", "names"),
    [("", []), (" , ", []), ("a:x", ["a:x"]), (" a/b:x+y ,c:z[:4],", ["a/b:x+y", "c:z[:4]"])],
)
def test_commas_join_them_and_blanks_do_not_count(text, names):
    assert part_names(text) == names


@pytest.mark.parametrize(("part", "said"), [("a:x", ("a", "x")), ("a/b:x[1:4]", ("a/b", "x[1:4]"))])
def test_a_name_is_a_data_set_and_a_split(part, said):
    assert dataset_and_split(part, "--also_on") == said


@pytest.mark.parametrize("part", ["a", "a/b:"])
def test_without_a_split_the_option_is_named(part):
    with pytest.raises(InputError, match=f"^--also_on: {part} names no split; write NAME/CONFIG:SPLIT"):
        dataset_and_split(part, "--also_on")
