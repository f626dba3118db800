import pytest

from jcs_datasets.common.errors import SourceError
from jcs_datasets.covid19_ct100.lists import read_list


@pytest.fixture
def folder(tmp_path):
    copy = tmp_path / "copy"
    for name in ("im/a.png", "im/b.png", "mask/a.png", "mask/b.png", "my im/a b.png", "my mask/a b.png"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(b"x")
    (tmp_path / "outside.png").write_bytes(b"x")
    return copy


def entries(folder, text, encoding="utf-8"):
    (folder / "all.txt").write_bytes(text.encode(encoding))
    return [(entry.key, entry.mask.relative_to(folder.resolve()).as_posix()) for entry in read_list(folder, "all.txt")]


def refused(folder, text):
    with pytest.raises(SourceError) as caught:
        entries(folder, text)
    message = str(caught.value)
    assert message.startswith(str(folder / "all.txt"))
    assert "\n" not in message
    return message


def test_two_columns_are_read_in_order(folder):
    expected = [("im/b.png", "mask/b.png"), ("im/a.png", "mask/a.png")]
    assert entries(folder, "im/b.png mask/b.png\nim/a.png mask/a.png\n") == expected


def test_blank_lines_windows_ends_a_byte_order_mark_and_tabs_do_not_matter(folder):
    text = "\r\nim/a.png\tmask/a.png\r\n\r\n  im/b.png   mask/b.png  "
    assert entries(folder, text, "utf-8-sig") == [("im/a.png", "mask/a.png"), ("im/b.png", "mask/b.png")]


def test_a_slice_listed_twice_appears_once(folder):
    assert entries(folder, "im/a.png mask/a.png\n./im/a.png mask/a.png\n") == [("im/a.png", "mask/a.png")]


def test_names_with_spaces_need_a_tab_between_the_columns(folder):
    assert entries(folder, "my im/a b.png\tmy mask/a b.png") == [("my im/a b.png", "my mask/a b.png")]
    message = refused(folder, "my im/a b.png my mask/a b.png")
    assert "line 1: has 6 columns" in message
    assert "with a tab between them" in message


def test_one_column_is_refused_with_its_line(folder):
    assert "line 2: has one column" in refused(folder, "im/a.png mask/a.png\nim/b.png\n")


@pytest.mark.parametrize("gap", [" ", "\t"])
def test_three_columns_are_refused_with_their_line(folder, gap):
    assert "line 1: has 3 columns" in refused(folder, gap.join(["im/a.png", "mask/a.png", "1"]))


def test_missing_files_are_named_and_counted(folder):
    text = "\n".join(f"im/a.png mask/{n}.png\nim/{n}.png mask/a.png" for n in (3,)) + "\nim/8.png mask/8.png\n"
    message = refused(folder, text.replace("im/a.png mask/3", "im/b.png mask/3"))
    assert "4 listed files are missing: mask/3.png (line 1), im/3.png (line 2), im/8.png (line 3), ...;" in message


def test_a_missing_list_is_refused(folder):
    with pytest.raises(SourceError, match=r"train\.txt: the list is missing; "):
        read_list(folder, "train.txt")


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_list_is_refused(folder, text):
    assert "lists no slice" in refused(folder, text)


def test_a_list_that_is_no_text_is_refused(folder):
    (folder / "all.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match=r"all\.txt: is not UTF-8 text"):
        read_list(folder, "all.txt")
    assert "line 1: is not text" in refused(folder, "im/a\0.png mask/a.png")


@pytest.mark.parametrize("column", ["../outside.png", "im/../../outside.png", "/etc/hostname", "."])
def test_a_path_that_leaves_the_folder_is_refused(folder, column):
    assert "line 1: " in refused(folder, f"{column} mask/a.png")
    assert "outside" in refused(folder, f"im/a.png {column}")


def test_a_link_that_leaves_the_folder_is_refused(folder):
    (folder / "im/link.png").symlink_to(folder.parent / "outside.png")
    assert "outside the data set's folder" in refused(folder, "im/link.png mask/a.png")


def test_a_link_within_the_folder_is_the_file_it_leads_to(folder):
    (folder / "im/link.png").symlink_to(folder / "im/a.png")
    assert entries(folder, "im/link.png mask/a.png\nim/a.png mask/a.png") == [("im/a.png", "mask/a.png")]


def test_a_circle_of_links_is_refused(folder):
    (folder / "im/loop.png").symlink_to(folder / "im/loop.png")
    refused(folder, "im/loop.png mask/a.png")


def test_an_absurdly_long_name_is_refused(folder):
    assert "cannot be followed" in refused(folder, f"im/{'a' * 5000}.png mask/a.png")


def test_a_slice_with_two_masks_is_refused_with_both_lines(folder):
    message = refused(folder, "im/a.png mask/a.png\nim/a.png mask/b.png")
    assert "line 2: im/a.png has another mask in" in message
    assert "line 1'" in message


def test_a_copy_that_is_itself_a_link_works(folder, tmp_path):
    (tmp_path / "alias").symlink_to(folder)
    (folder / "all.txt").write_text("im/a.png mask/a.png\n")
    assert [entry.key for entry in read_list(tmp_path / "alias", "all.txt")] == ["im/a.png"]
