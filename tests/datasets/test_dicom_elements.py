import struct

import numpy as np
import pytest
from ct_files import noise, write_dicom

from jcs_datasets.common.dicom_elements import is_whole

pydicom = pytest.importorskip("pydicom")
UNDEFINED = b"\xff\xff\xff\xff"


def nested(depth):
    """A data set that holds a sequence of two items, and those again, so many levels deep."""
    dataset = pydicom.Dataset()
    dataset.CodeMeaning = "innermost"
    for _ in range(depth):
        outer = pydicom.Dataset()
        outer.ReferencedSeriesSequence = [dataset, dataset]
        dataset = outer
    return dataset


def write_nested(path, *, implicit=False, undefined=False, depth=3):
    write_dicom(path, noise(0), ReferencedStudySequence=[nested(depth)])
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = (
        pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
    )
    for element in dataset.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = undefined
            for item in element.value:
                item.is_undefined_length_sequence_item = undefined
    pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=True)
    return path


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("undefined", [False, True])
def test_sequences_are_followed_in_every_form(tmp_path, implicit, undefined):
    path = write_nested(tmp_path / "a.dcm", implicit=implicit, undefined=undefined)
    assert (UNDEFINED in path.read_bytes()) == undefined
    assert is_whole(path)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("undefined", [False, True])
def test_a_length_that_leaves_what_holds_it_is_found_at_any_depth(tmp_path, implicit, undefined):
    path = write_nested(tmp_path / "a.dcm", implicit=implicit, undefined=undefined)
    data = path.read_bytes()
    place = data.rindex(b"innermost ")
    wrong = struct.pack("<I", 1 << 31) if implicit else struct.pack("<H", 60000)
    path.write_bytes(data[: place - len(wrong)] + wrong + data[place:])
    assert not is_whole(path)


@pytest.mark.parametrize("undefined", [False, True])
def test_a_file_cut_within_a_sequence_or_the_pixels_is_not_whole(tmp_path, undefined):
    path = write_nested(tmp_path / "a.dcm", undefined=undefined)
    data = path.read_bytes()
    sequence, after = data.index(b"\x08\0\x10\x11SQ"), data.index(b"\x10\0\x10\0PN")
    pixels = data.index(b"\xe0\x7f\x10\0OW")
    for end in [*range(132), *range(sequence + 8, after, 7), *range(pixels + 8, len(data), 97)]:
        path.write_bytes(data[:end])
        assert not is_whole(path)


def test_compressed_pixels_are_followed_by_their_fragments(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", noise(0))
    dataset = pydicom.dcmread(path)
    dataset.compress(pydicom.uid.RLELossless)
    dataset.save_as(path)
    data = path.read_bytes()
    assert is_whole(path)
    path.write_bytes(data[:-8])  # without the end of the sequence
    assert not is_whole(path)
    start = data.index(b"\xe0\x7f\x10\x00OB") + 12
    path.write_bytes(data[: start + 2] + b"\xb6\xe0" + data[start + 4 :])  # an item of no such kind
    assert not is_whole(path)


def test_big_endian_is_followed(tmp_path):
    path = write_nested(tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=False)
    assert is_whole(path)
    path.write_bytes(path.read_bytes()[:-2000])
    assert not is_whole(path)


def test_what_is_no_dicom_file_is_not_whole(tmp_path):
    for number, data in enumerate((b"", b"DICM", bytes(132), bytes(128) + b"DICMhello, this is text")):
        (tmp_path / str(number)).write_bytes(data)
        assert not is_whole(tmp_path / str(number))
