"""A grid file: what can stand there, and the line that refuses what can't."""

import re
import tomllib
from pathlib import Path

import pytest

from jcs_jax.errors import InputError
from jcs_jax.sweep.grid import Variant, read_grid

SWEEPS = sorted((Path(__file__).parents[2] / "experiments/sweeps").glob("*.toml"))


def test_the_three_sections_are_read(grid):
    read = grid("""
        [axes]
        seed = [0, 1]
        "optimizer.learning_rate" = [1e-3, 3e-3]
        [variants.plain]
        [variants.other]
        config = "other.py:modern"
        data.mixing.alpha = 0.4
        [folds.first]
        train = "fold1+fold2"
        eval = "fold0"
        [folds.second]
        train = "fold0+fold2"
        validation = "fold2"
        eval = "fold1"
    """)
    assert read.axes == {"seed": [0, 1], "optimizer.learning_rate": [0.001, 0.003]}
    assert read.variants == {
        "plain": Variant(None, {}),
        "other": Variant("other.py:modern", {"data": {"mixing": {"alpha": 0.4}}}),
    }
    assert read.folds == {
        "first": {"data.train_split": "fold1+fold2", "data.eval_split": "fold0"},
        "second": {"data.train_split": "fold0+fold2", "validation.split": "fold2", "data.eval_split": "fold1"},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no runs"),
        ("[axes]\n[variants]", "names no runs"),
        ("seed = [0", "not TOML"),
        ("[axes]\nseed = [0]\nseed = [1]", "not TOML"),
        ("[axis]\nseed = [0]", "unknown section 'axis'; did you mean [axes]?"),
        ("seed = [0, 1]", "unknown section 'seed'; a grid has [axes], [variants.NAME] and [folds.NAME]"),
        ("axes = [1]", "'axes' must be a section"),
        ("[variants]\nmodern = 1", "variant 'modern' must be a section, written [variants.modern]"),
        ("[variants.modern]\nconfig = 3", "[variants.modern] config must be a file"),
        ("[variants.'a b']", "[variants] 'a b' is no good name"),
        ("[variants.'../up']", "'../up' is no good name"),
        ("[variants.'']", "'' is no good name"),
        ("[variants.soft]\n[variants.Soft]", "'soft' and 'Soft' differ in case only"),
        ("[folds.0]\ntrain = 'a'", "[folds.0] must name the splits train and eval"),
        ("[folds.0]\ntrain = 'a'\neval = 'b'\ntest = 'c'", "[folds.0] must name the splits train and eval"),
        ("[folds.0]\ntrain = 'a'\neval = 1", "[folds.0] eval must be a split in quotes, not 1"),
    ],
)
def test_what_is_no_grid_is_refused_in_one_line_that_names_the_file(grid, text, message):
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        grid(text)
    assert "grid.toml: " in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    for name, message in (("absent.toml", "no grid can be read there"), (".", "no grid"), ("latin.toml", "not TOML")):
        with pytest.raises(InputError, match=message):
            read_grid(tmp_path / name)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_grid_of_the_repository_is_read_and_says_what_it_is(path):
    assert path.read_text().startswith("# ")
    assert read_grid(path).text == path.read_text()
    assert tomllib.loads(path.read_text())


def test_there_are_grids():
    assert SWEEPS
