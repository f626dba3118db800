import csv
import os
import random
from pathlib import Path

import numpy as np
import pytest
from ct_files import lps_affine, noise, write_dicom, write_nifti, write_picture, write_series, write_table
from PIL import Image
from prepared import prepare, refusal

from jcs_jax.data.sources import open_source, split_sizes

pytest.importorskip("SimpleITK")
pydicom = pytest.importorskip("pydicom")

DATA = Path(os.environ.get("JCS_DATA", Path(__file__).parents[3] / "shared/data"))
HOUNSFIELD = "ct_manifest/hounsfield"
HU = noise(0, 7, 40, 48)  # slices from the apex down
LESIONS = (HU > 700).astype(np.uint8)


def build(source, data_dir, *arguments):
    assert prepare(HOUNSFIELD, source, data_dir, *arguments) == 0
    return {split: open_source(data_dir, HOUNSFIELD, split) for split in split_sizes(data_dir, HOUNSFIELD)}


def volume(array):
    """(slices from the apex, rows, columns) as a NIfTI file stores it with `lps_affine`."""
    return array[::-1].transpose(2, 1, 0)


@pytest.fixture
def folder(tmp_path):
    """One patient's volume as NIfTI, series and single slice, with masks."""
    own = tmp_path / "own"
    write_nifti(own / "a/ct.nii.gz", volume(HU), lps_affine())
    write_nifti(own / "a/lesions.nii", volume(LESIONS), lps_affine())
    write_series(own / "b/series", noise(1, 3, 40, 48))
    write_dicom(own / "c/slice", noise(2))
    Image.fromarray(LESIONS[0] * 255).save(own / "c/mask.png")
    return own


def test_volumes_series_and_slices_are_stored_in_hu_from_the_apex_down(folder, tmp_path):
    table = """
    image,mask,label,patient,split
    a/ct.nii.gz,a/lesions.nii,1,,train
    b/series,,0,bert,train
    c/slice,c/mask.png,1,,train
    """
    source = build(write_table(folder / "list.csv", table), tmp_path / "data")["train"]
    records = list(source.records())
    assert [record.name for record in records] == [
        *(f"a/ct.nii.gz#{index:03d}" for index in range(7)),
        *(f"b/series#{index:03d}" for index in range(3)),
        "c/slice",
    ]
    assert [record.patient for record in records] == ["a/ct"] * 7 + ["bert"] * 3 + [""]
    assert [record.label for record in records] == [1] * 7 + [0] * 3 + [1]
    assert [record.file_type for record in records] == ["nifti"] * 7 + ["dicom"] * 4
    assert [record.slice_index for record in records] == [*range(7), *range(3), -1]
    for index, (hounsfield, mask) in enumerate(zip(HU, LESIONS, strict=True)):
        assert (source[index].image == hounsfield).all() and (source[index].mask == mask).all()
    for index, hounsfield in enumerate(noise(1, 3, 40, 48)):
        assert (source[7 + index].image == hounsfield).all() and source[7 + index].mask is None
    assert (source[10].image == noise(2)).all() and (source[10].mask == LESIONS[0]).all()
    assert source[0].encoding == "hounsfield"


def test_values_below_air_are_clipped_as_the_contract_says(tmp_path):
    padded = noise(0, 2, 40, 48)
    padded[:, :3] = -2000
    write_nifti(tmp_path / "own/ct.nii", volume(padded), lps_affine())
    table = write_table(tmp_path / "own/list.csv", "image,split\nct.nii,train")
    assert (build(table, tmp_path / "data")["train"][0].image == np.maximum(padded[0], -1024)).all()


def test_slices_of_a_volume_are_one_group_and_copies_of_it_join_it(tmp_path):
    rows = []
    for number in range(8):
        write_nifti(tmp_path / f"own/{number}/ct.nii", volume(noise(number, 3, 40, 48)), lps_affine())
        rows.append(f"{number}/ct.nii")
    write_series(tmp_path / "own/copy", noise(4, 3, 40, 48))
    rows.append("copy")
    splits = build(write_table(tmp_path / "own/list.csv", "\n".join(["image", *rows])), tmp_path / "data")
    patients = {split: {record.patient for record in source.records()} for split, source in splits.items()}
    assert {frozenset(name for name in patients[split] if name in ("4/ct", "copy")) for split in splits} == {
        frozenset(), frozenset({"4/ct", "copy"})
    }  # fmt: skip
    assert sorted(patient for group in patients.values() for patient in group) == [
        *(f"{number}/ct" for number in range(8)), "copy"
    ]  # fmt: skip
    assert "the patient of every slice is told" in splits["train"].info["split_note"]


def test_class_folders_hold_volumes_and_series_too(tmp_path):
    write_nifti(tmp_path / "own/train/covid/a.nii.gz", volume(HU), lps_affine())
    write_series(tmp_path / "own/train/normal/b", noise(1, 3, 40, 48))
    source = build(tmp_path / "own", tmp_path / "data")["train"]
    assert [(record.patient, record.label) for record in source.records()] == (
        [("train/covid/a", 1)] * 7 + [("train/normal/b", 0)] * 3
    )


def test_nothing_of_a_dicom_header_is_stored_or_said(folder, tmp_path, capfd):
    table = write_table(folder / "list.csv", "image,split\nb/series,train\nc/slice,test")
    build(table, tmp_path / "data", f"--manifest={folder / 'new.csv'}")
    said = capfd.readouterr()
    files = [path.read_bytes() for path in [*(tmp_path / "data").rglob("*"), folder / "new.csv"] if path.is_file()]
    for secret in (b"Jane", b"Doe", b"4711", b"1.2.3"):
        assert not any(secret in data for data in files)
        assert secret.decode() not in said.out + said.err


def test_a_written_manifest_of_volumes_gives_the_same_splits(tmp_path):
    for number in range(5):
        write_nifti(tmp_path / f"own/{number}.nii", volume(noise(number, 2, 40, 48)), lps_affine())
    table = write_table(tmp_path / "own/list.csv", "image\n" + "\n".join(f"{number}.nii" for number in range(5)))
    written = tmp_path / "own/new.csv"
    before = build(table, tmp_path / "a", f"--manifest={written}")
    assert all(row["patient"] == "" for row in csv.DictReader(written.read_text().splitlines()))
    after = build(written, tmp_path / "b")
    for split in before:
        assert [record.name for record in after[split].records()] == [record.name for record in before[split].records()]


def wrong_size(folder):
    write_nifti(folder / "a/lesions.nii", volume(LESIONS[1:]), lps_affine())
    return "a/ct.nii.gz,a/lesions.nii", "a/lesions.nii", "is 48x40x6 voxels in LPS order, but its volume is 48x40x7"


def moved_mask(folder):
    write_nifti(folder / "a/lesions.nii", volume(LESIONS), lps_affine(spacing=(0.8, 0.8, 4.0)))
    return "a/ct.nii.gz,a/lesions.nii", "a/lesions.nii", "lies 6 mm away from its volume"


def picture_mask(folder):
    return "a/ct.nii.gz,c/mask.png", "c/mask.png", "the mask of such an image is a NIfTI file; convert it"


def dicom_mask(folder):
    return "c/slice,b/series/000.dcm", "b/series/000.dcm", "the mask of such an image is a picture or a NIfTI file"


def small_mask(folder):
    write_picture(folder / "c/mask.png")
    Image.new("L", (40, 48)).save(folder / "c/mask.png")
    return "c/slice,c/mask.png", "c/mask.png", "is 40x48 pixels, but its slice c/slice is 48x40"


def cut_short(folder):
    path = folder / "a/ct.nii.gz"
    path.write_bytes(path.read_bytes()[:5000])
    return "a/ct.nii.gz,", "a/ct.nii.gz", "is damaged or cut short"


def bad_slice(folder):
    path = folder / "b/series/001.dcm"
    path.write_bytes(path.read_bytes()[:500])
    return "b/series,", "b/series/001.dcm", "is no DICOM picture: cut short"


def second_series(folder):
    write_dicom(folder / "b/series/other", noise(3), height=99, SeriesInstanceUID="9.9")
    return "b/series,", "b/series", "holds 2 series (of 3, 1 slices)"


def no_hounsfield(folder):
    write_nifti(folder / "a/ct.nii.gz", volume(HU + np.int16(1024)), lps_affine())
    return "a/ct.nii.gz,", "a/ct.nii.gz", "HU of air is -1000; subtract 1024"


@pytest.mark.parametrize(
    "damage",
    [
        wrong_size,
        moved_mask,
        picture_mask,
        dicom_mask,
        small_mask,
        cut_short,
        bad_slice,
        second_series,
        no_hounsfield,
    ],
)
def test_a_bad_volume_is_refused_with_its_file_and_row_and_leaves_nothing(folder, tmp_path, capfd, damage):
    row, named, message = damage(folder)
    table = write_table(folder / "list.csv", f"image,mask,split\nc/slice,,train\n{row},test")
    if named.startswith("c/") or row.startswith("c/"):
        table = write_table(folder / "list.csv", f"image,mask,split\nb/series,,train\n{row},test")
    assert prepare(HOUNSFIELD, table, tmp_path / "data") == 2
    refusal(capfd, f"jcs prepare: {folder / named} ({table}, row 3): ", message)
    assert not (tmp_path / "data").exists()


def test_damage_that_appears_while_writing_leaves_nothing(folder, tmp_path, monkeypatch, capfd):
    table = write_table(folder / "list.csv", "image,split\na/ct.nii.gz,train\nb/series,train")
    from jcs_datasets.ct_manifest import manifest_builder

    check = manifest_builder.check_row

    def check_then_damage(row, encoding):
        checked = check(row, encoding)
        if row.name == "b/series":
            (folder / "b/series/000.dcm").write_bytes(b"")
        return checked

    monkeypatch.setattr(manifest_builder, "check_row", check_then_damage)
    assert prepare(HOUNSFIELD, table, tmp_path / "data") == 2
    refusal(capfd, "is no DICOM picture")
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(not (DATA / "lung_pet_ct_dx").is_dir(), reason="needs the real series beside the project")
def test_a_real_series_is_built_with_its_highest_slice_first(tmp_path):
    files = random.Random(0).sample(sorted((DATA / "lung_pet_ct_dx").rglob("*.dcm")), 12)
    (tmp_path / "own/series").mkdir(parents=True)
    for path in files:
        (tmp_path / "own/series" / path.name).write_bytes(path.read_bytes())
    table = write_table(tmp_path / "own/list.csv", "image,label,split\nseries,0,test")
    source = build(table, tmp_path / "data")["test"]
    slices = sorted(map(pydicom.dcmread, files), key=lambda item: -item.ImagePositionPatient[2])
    for index, item in enumerate(slices):
        hounsfield = item.pixel_array * item.RescaleSlope + item.RescaleIntercept
        assert (source[index].image == np.maximum(hounsfield, -1024)).all()
