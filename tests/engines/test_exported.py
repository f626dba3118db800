"""Folders that `jcs export` wrote are read, or refused in one line."""

import json
from pathlib import Path

import pytest
import tiny

from jcs_jax.described_folder import write_folder
from jcs_jax.engines.exported import EXPORT_DESCRIPTION, EXPORT_FORMAT, read_export
from jcs_jax.errors import InputError

PRESET = tiny.preset("joint")


@pytest.fixture
def folder(tmp_path) -> Path:
    def write(target: Path) -> None:
        (target / "screen.onnx").write_bytes(b"screen")
        (target / "segment.onnx").write_bytes(b"segment")

    return write_folder(
        tmp_path / "exported",
        write,
        description=EXPORT_DESCRIPTION,
        form=EXPORT_FORMAT,
        preset=PRESET.to_json(),
        provenance={},
        model={"checkpoint": "mine", "weights_sha256": "0" * 64},
        programs=["screen", "segment"],
        trunk=["stage0"],
    )


def _change(folder: Path, **values: object) -> None:
    file = folder / EXPORT_DESCRIPTION
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_what_was_written_is_read(folder):
    found = read_export(folder)
    assert found.preset == PRESET
    assert (found.checkpoint, found.weights_sha256) == ("mine", "0" * 64)
    assert (found.programs, found.trunk) == (("screen", "segment"), ("stage0",))
    assert found.file("screen", "onnx").read_bytes() == b"screen"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"format": "jcs-export/0"}, "format 'jcs-export/0', expected 'jcs-export/1'; export it again"),
        ({"programs": []}, "names no programs of this version; export it again"),
        ({"programs": ["../screen"]}, "names no programs of this version; export it again"),
        ({"preset": {}}, r"not a description of an export \(KeyError.*copy it again"),
        ({"files": 3}, r"not a description of an export \(TypeError.*copy it again"),
    ],
)
def test_a_description_that_is_none_is_refused(folder, values, reason):
    _change(folder, **values)
    with pytest.raises(InputError, match=f"{EXPORT_DESCRIPTION}: {reason}"):
        read_export(folder)


def test_a_file_that_is_damaged_or_missing_is_named(folder):
    (folder / "segment.onnx").write_bytes(b"Segment")
    with pytest.raises(InputError, match=r"segment.onnx: is damaged; copy the whole folder again"):
        read_export(folder)
    (folder / "segment.onnx").unlink()
    with pytest.raises(InputError, match=r"segment.onnx: is missing; copy the whole folder again"):
        read_export(folder)


def test_a_program_without_a_digest_is_refused(folder):
    _change(folder, files={})
    with pytest.raises(InputError, match=r"nothing of screen.onnx, segment.onnx; export it again with --formats=onnx"):
        read_export(folder)


def test_a_folder_that_is_no_export_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match=r"no exported model here .*make it of a model folder with `jcs export"):
        read_export(tmp_path)
