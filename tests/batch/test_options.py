import pytest

from jcs_jax.batch.options import parse_formats, parse_shard, read_case_list, read_key
from jcs_jax.errors import InputError


@pytest.mark.parametrize(
    ("text", "formats"),
    [
        ("sr, json,seg", ("json", "seg", "sr")),
        ("png,png", ("png",)),
        ("", ()),
        ("sc,nifti,html", ("html", "nifti", "sc")),
    ],
)
def test_formats_are_sorted_and_taken_once(text, formats):
    assert parse_formats(text) == formats


def test_unknown_formats_are_named():
    with pytest.raises(InputError, match=r"--formats: no format is called dicom, pdf; choose from json,html,png"):
        parse_formats("json,pdf,dicom")


@pytest.mark.parametrize(("text", "shard"), [("1/1", (1, 1)), ("2/4", (2, 4)), ("007/010", (7, 10))])
def test_parts_are_counted_from_1(text, shard):
    assert parse_shard(text) == shard


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/", "/2", "a/b", "-1/2", "1/2/3", "²/3", "1.0/2"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(InputError, match="write I/N, the I-th of N parts, such as 2/4"):
        parse_shard(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_list_has_one_input_a_line_and_comments(encoding, tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("a/b c.nii\n\n  # left out\n#so is this\r\n  ümlaut.zip  \n", encoding=encoding)
    assert read_case_list(str(file)) == ["a/b c.nii", "ümlaut.zip"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00broken"])
def test_a_list_that_can_not_be_read_is_named(content, tmp_path):
    file = tmp_path / "list.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"list\.txt: can't be read as a list of cases .*; give a text file"):
        read_case_list(str(file))


def test_a_secret_is_read_without_the_line_end(tmp_path):
    (tmp_path / "key").write_bytes(b"0123456789abcdef\n")
    assert read_key(str(tmp_path / "key")) == b"0123456789abcdef"


@pytest.mark.parametrize(("content", "said"), [(b"short\n", "holds 5 bytes"), (None, "can't be read")])
def test_what_is_no_secret_is_refused(content, said, tmp_path):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_key(str(tmp_path / "key"))
