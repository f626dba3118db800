"""The wheel: what it holds, what it must not hold, and that it works from another folder."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from ship import write_packed

from jcs_jax import cli

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCES = {"jcs_jax": "jcs_jax", "jcs_datasets": "datasets"}
PROBE = "made_for_tests"  # a model among the sources that are built
EXTRAS = {"beam", "cuda", "dev", "dicom", "onnx", "onnxruntime", "openvino", "volumes"}
NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "*.egg-info")


def _python(code: str, folder: Path, **environment: str) -> str:
    given = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=given | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built without a network from a copy of the sources and one shipped model more."""
    copy = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in SOURCES.values():
        shutil.copytree(ROOT / name, copy / name, ignore=NOT_SHIPPED)
    packed = write_packed(tmp_path_factory.mktemp("models") / PROBE)
    shutil.copytree(packed, copy / "jcs_jax/weights" / PROBE)
    (copy / "tests").mkdir()
    (copy / "tests/__init__.py").touch()  # must not be picked up
    _python("from setuptools import build_meta; build_meta.build_wheel('dist')", copy)
    (built,) = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def contents(wheel) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheels_top_level_names_are_the_two_packages(contents):
    top = {name.partition("/")[0] for name in contents}
    assert {name for name in top if not name.endswith(".dist-info")} == {"jcs_jax", "jcs_datasets"}
    assert len(top) == 3


def test_what_jax_needs_to_write_programs_is_declared():
    declared = {re.split(r"[^\w-]", one)[0] for one in PROJECT["project"]["dependencies"]}
    assert "flatbuffers" in declared


@pytest.mark.parametrize("name", ["jcs_jax/py.typed", "jcs_jax/report/diagnosis.schema.json"])
def test_the_wheel_holds_the_librarys_data_files(contents, name):
    assert name in contents


@pytest.mark.parametrize(("package", "folder"), SOURCES.items())
def test_the_wheel_holds_every_file_of_the_sources(contents, package, folder):
    files = {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    probe = f"jcs_jax/weights/{PROBE}/"
    assert {name for name in contents if name.startswith(f"{package}/") and not name.startswith(probe)} == files


def test_the_wheel_holds_the_models_of_the_folder_weights(contents):
    files = {name for name in contents if name.startswith(f"jcs_jax/weights/{PROBE}/")}
    assert {name.rpartition("/")[2] for name in files} == {"model.json", "variables.safetensors"}


def test_a_shipped_model_of_the_unpacked_wheel_is_loaded_by_name_from_another_folder(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = f"import jcs_jax; print(jcs_jax.__file__, jcs_jax.load_model({PROBE!r})[2].architecture)"
    library, architecture = _python(code, tmp_path, PYTHONPATH=str(tmp_path / "site")).split()
    assert library.startswith(str(tmp_path))
    assert architecture == "classifier"


def test_in_a_wheel_that_is_not_unpacked_no_shipped_model_is_found(wheel, tmp_path):
    code = "import jcs_jax.shipped as s; print(s.__file__, s.shipped_models())"
    file, models = _python(code, tmp_path, PYTHONPATH=str(wheel)).split()
    assert file.startswith(str(wheel))
    assert models == "[]"


def test_the_wheel_says_its_licence_and_needs(wheel, contents):
    (name,) = (name for name in contents if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(name).decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert set(re.findall(r"Provides-Extra: (\w+)", metadata)) == EXTRAS
    assert not re.search(r"^Requires-Dist: (torch|tensorflow)\b(?!-)", metadata, re.MULTILINE)


def test_the_unpacked_wheel_works_from_another_folder(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import importlib, importlib.resources as r, jcs_jax, jcs_jax.cli;"
        "b = importlib.import_module('jcs_datasets.common.contract');"
        "print(jcs_jax.__file__, b.__file__, r.files('jcs_jax.report').joinpath('diagnosis.schema.json').is_file())"
    )
    library, builders, schema = _python(code, tmp_path, PYTHONPATH=str(tmp_path / "site")).split()
    assert library.startswith(str(tmp_path))
    assert builders.startswith(str(tmp_path))
    assert schema == "True"


def test_every_package_folder_is_listed_and_every_listed_package_is_there():
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    found = {
        ".".join([package, *path.parent.relative_to(ROOT / folder).parts])
        for package, folder in SOURCES.items()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert listed - {"jcs_datasets"} == found  # jcs_datasets itself has no __init__.py, see below


def test_every_python_file_lies_in_a_package():
    for folder in SOURCES.values():
        for path in (ROOT / folder).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), path


def test_standing_in_the_repository_does_not_hide_the_other_package_called_datasets(tmp_path):
    assert not (ROOT / "datasets/__init__.py").exists()
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/__init__.py").write_text("NAME = 'the other one'")
    code = f"import sys; sys.path.append({str(tmp_path)!r}); import datasets; print(datasets.NAME)"
    assert _python(code, ROOT) == "the other one"


def test_the_script_jcs_is_the_command_line():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="jcs")
    assert script.load() is cli.console_main


def test_every_verb_is_one_short_module_with_the_three_names():
    modules = {path.stem: path for path in (ROOT / "jcs_jax/commands").glob("*.py") if path.stem != "__init__"}
    assert modules.keys() == cli.VERBS.keys()
    for path in modules.values():
        source = path.read_text()
        assert "USAGE" in source
        assert "def define_flags(values: flags.FlagValues) -> None:" in source
        assert "def run(values: flags.FlagValues, arguments: list[str]) -> int:" in source


def test_the_constraints_pin_versions_and_name_no_index():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) > 20
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[^;\s]+( ?;.*)?", line)] == []
