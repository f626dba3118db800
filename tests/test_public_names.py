"""What `import jcs_jax` offers, and that it costs nothing until it is used."""

import importlib.metadata
import subprocess
import sys

import pytest

import jcs_jax


@pytest.mark.parametrize("name", jcs_jax.__all__)
def test_public_name_is_there_and_documented(name):
    assert getattr(jcs_jax, name).__doc__


def test_the_fixed_names_are_public():
    assert {"create_model", "load_model", "read_study", "Predictor", "Diagnosis"} <= set(jcs_jax.__all__)


def test_the_converter_is_reached_through_the_package():
    assert callable(jcs_jax.convert.from_torch)
    assert callable(jcs_jax.convert.read_pth)


def test_an_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="create_modle"):
        jcs_jax.create_modle  # noqa: B018


def test_the_version_is_the_installed_one():
    assert jcs_jax.__version__ == importlib.metadata.version("jcs-jax")


def test_importing_the_package_or_the_command_line_brings_no_heavy_library():
    code = "import sys, jcs_jax, jcs_jax.cli; print([m for m in ('jax', 'flax', 'orbax', 'grain') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
