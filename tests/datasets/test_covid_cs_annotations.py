import pytest
from covid_cs_files import slice_name, write_table
from covid_cs_layouts import PICTURES, SECOND, SEGMENTATION, records, refused, write


@pytest.fixture
def copy(tmp_path):
    return write(tmp_path / "COVID-CS")


@pytest.fixture
def pictures(tmp_path):
    return write(tmp_path / "pictures", "images", train=3)


def test_a_patients_label_is_that_of_all_its_slices(pictures):
    first, second = slice_name(0).partition("_")[0], slice_name(2).partition("_")[0]
    write_table(pictures / "patients.csv", [{"patient": first, "label": 1}, {"patient": second, "label": 0}])
    assert [record.label for record in records(pictures, PICTURES).values()] == [1, 1, 0, -1]
    write_table(pictures / "annotations.csv", [{"name": SECOND, "label": 0}])
    assert [record.label for record in records(pictures, PICTURES).values()] == [1, 0, 0, -1]


def test_the_table_of_annotations_has_the_last_word(copy):
    columns = {"patient": "p7", "label": 0, "slice_index": 3, "lesion_count": 2, "lesion_area": 41.5}
    rows = [{"name": SECOND, **columns, "lesion_location": "left lower lobe"}]
    write_table(copy / "annotations.csv", [*rows, {**dict.fromkeys(rows[0], ""), "name": slice_name(0)}])
    told = records(copy, SEGMENTATION)
    record = told[SECOND]
    assert (record.patient, record.label, record.slice_index) == ("p7", 0, 3)
    assert (record.lesion_count, record.lesion_area, record.lesion_location) == (2, 41.5, "left lower lobe")
    assert (told[slice_name(0)].label, told[slice_name(0)].slice_index, told[slice_name(0)].lesion_count) == (
        1,
        140,
        -1,
    )


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("label\n1\n", 1, "has no column name"),
        ("name,colour\nx,red\n", 1, "column 'colour' is not known or there twice"),
        ("name,label,label\nx,1,1\n", 1, "column 'label' is not known or there twice"),
        (f"name,label\n{SECOND},1\n{SECOND},1\n", 3, "this slice is there twice"),
        ("name,label\n,1\n", 2, "has no name"),
        (f"name,label\n{SECOND},3\n", 2, "label '3' is outside the classes"),
        (f"name,slice_index\n{SECOND},-4\n", 2, "slice_index '-4' is not a whole number from 0"),
        (f"name,lesion_count\n{SECOND},{'9' * 40}\n", 2, "lesion_count '9999"),
        (f"name,lesion_area\n{SECOND},nan\n", 2, "lesion_area 'nan' is not a number from 0"),
        (f"name,lesion_area\n{SECOND},wide\n", 2, "lesion_area 'wide' is not a number from 0"),
        (f"name,label\n{SECOND},1,2\n", 2, "has 3 values for 2 columns"),
        ("name,label\nanother,1\n", 2, "this slice is in none of the lists"),
        ("", 1, "has no column names"),
    ],
)
def test_a_wrong_row_of_annotations_is_named(copy, text, line, expected):
    (copy / "annotations.csv").write_text(text)
    assert expected in refused(copy, SEGMENTATION, f"annotations.csv, row {line}: ")


@pytest.mark.parametrize("data", [b"name\n\xff\n", b'name\n"x', b"name\nx\0y\n" + b'"' + b"a" * 200_000 + b'"\n'])
def test_a_table_that_is_no_csv_is_refused(copy, data):
    (copy / "annotations.csv").write_bytes(data)
    assert "CSV in UTF-8" in refused(copy, SEGMENTATION, "annotations.csv: ")


@pytest.mark.parametrize(
    ("rows", "line", "expected"),
    [
        ("nobody,1", 2, "this patient has no slice in the lists"),
        ("{first},1\n{first},1", 3, "a patient is there twice"),
        ("{first},", 2, "a field is empty"),
        ("{first},yes", 2, "label 'yes' is outside the classes"),
    ],
)
def test_a_wrong_row_of_patients_is_named_but_no_patient_is(pictures, rows, line, expected):
    first = slice_name(0).partition("_")[0]
    (pictures / "patients.csv").write_text("patient,label\n" + rows.format(first=first))
    message = refused(pictures, PICTURES, f"patients.csv, row {line}: ")
    assert expected in message
    assert first not in message
    assert "nobody" not in message


def test_tables_with_a_byte_order_mark_windows_ends_and_blank_lines_are_read(copy):
    text = f'name,lesion_location\r\n\r\n{SECOND},"left, lower"\r\n,\r\n'
    (copy / "annotations.csv").write_bytes(text.encode("utf-8-sig"))
    assert records(copy, SEGMENTATION)[SECOND].lesion_location == "left, lower"
