import numpy as np
import pydicom
import pytest
from dicom_sources import enhanced_header, instance_uid, read_headers, write_source
from PIL import Image

from jcs_jax.report.dicom.capture import write_captures
from jcs_jax.report.dicom.instances import Algorithm
from jcs_jax.report.dicom.pseudonyms import Pseudonyms
from jcs_jax.report.dicom.source import source_series

ALGORITHM = Algorithm("jcs-joint", "0.1.0")
KEPT = Pseudonyms(bytes(16), keep=True)


def _picture(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape or (31, 45, 3), np.uint8)


def _series(folder, **geometry):
    return source_series(read_headers(write_source(folder / "source", **geometry)), KEPT)


def test_pictures_come_back_pixel_by_pixel_in_one_series(tmp_path):
    given = [(2, _picture(0)), (0, _picture(1, 64, 40, 3))]
    paths = write_captures(tmp_path / "sc", given, _series(tmp_path), algorithm=ALGORITHM)
    assert [path.name for path in paths] == ["0001.dcm", "0002.dcm"]
    read = [pydicom.dcmread(path) for path in paths]
    for dataset, (index, picture) in zip(read, given, strict=True):
        np.testing.assert_array_equal(dataset.pixel_array, picture)
        assert dataset.SourceImageSequence[0].ReferencedSOPInstanceUID == instance_uid(index)
        assert dataset.BurnedInAnnotation == "NO"
        assert "esearch use only" in dataset.SeriesDescription
        assert "esearch use only" in dataset.DerivationDescription
    assert len({dataset.SeriesInstanceUID for dataset in read}) == 1
    assert [dataset.InstanceNumber for dataset in read] == [1, 2]


@pytest.mark.parametrize(
    ("cosines", "letters"),
    [
        ((1, 0, 0, 0, 1, 0), ["L", "P"]),
        ((-1, 0, 0, 0, -1, 0), ["R", "A"]),
        ((1, 0, 0, 0, 0.96, 0.28), ["L", "PH"]),
        ((0.6, -0.8, 0, 0.8, 0.6, 0), ["AL", "LP"]),
    ],
)
def test_it_says_where_rows_and_columns_point(cosines, letters, tmp_path):
    (path,) = write_captures(
        tmp_path / "sc", [(0, _picture(0))], _series(tmp_path, cosines=cosines), algorithm=ALGORITHM
    )
    assert list(pydicom.dcmread(path).PatientOrientation) == letters


def test_a_frame_of_an_enhanced_source_is_named_by_its_number(tmp_path):
    headers = read_headers(write_source(tmp_path / "source"))
    series = source_series([enhanced_header(headers, order=[2, 0, 3, 1])], KEPT, frames=[1, 3, 0, 2])
    (path,) = write_captures(tmp_path / "sc", [(1, _picture(0))], series, algorithm=ALGORITHM)
    (item,) = pydicom.dcmread(path).SourceImageSequence
    assert (item.ReferencedSOPInstanceUID, item.ReferencedFrameNumber) == (instance_uid(0), 4)


def test_the_same_pictures_have_the_same_uids(tmp_path):
    series, given = _series(tmp_path), [(0, _picture(0)), (1, _picture(0))]
    uids = []
    for name in ("a", "b"):
        paths = write_captures(tmp_path / name, given, series, algorithm=ALGORITHM)
        uids.append([pydicom.dcmread(path).SOPInstanceUID for path in paths])
    assert uids[0] == uids[1]
    assert len(set(uids[0])) == 2
    other = write_captures(tmp_path / "c", given, series, algorithm=ALGORITHM, digest="another")
    assert pydicom.dcmread(other[0]).SOPInstanceUID not in uids[0]


def test_a_picture_of_pillow_is_taken_as_it_is(tmp_path):
    picture = np.asarray(Image.fromarray(_picture(0)))
    (path,) = write_captures(tmp_path / "sc", [(0, picture)], _series(tmp_path), algorithm=ALGORITHM)
    np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, picture)


@pytest.mark.parametrize(
    ("index", "picture", "said"), [(4, _picture(0), "of slice 4; there are 4"), (0, _picture(0, 31, 45), "give uint8")]
)
def test_what_does_not_fit_is_refused_and_nothing_is_left(index, picture, said, tmp_path):
    series = _series(tmp_path)
    with pytest.raises(ValueError, match=said):
        write_captures(tmp_path / "sc", [(0, _picture(1)), (index, picture)], series, algorithm=ALGORITHM)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
