"""The runs of a grid."""

import re
from pathlib import Path

import pytest

from jcs_jax.errors import InputError
from jcs_jax.sweep.grid import read_grid
from jcs_jax.sweep.plan import make_plan
from jcs_jax.training.config import check

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


def test_the_runs_are_the_product_of_variants_folds_and_axes(config_file, grid):
    plan = make_plan(
        config_file,
        {"steps": 5},
        grid(f"""
            [axes]
            optimizer.learning_rate = [1, 3e-3]
            seed = [0, 1]
            [variants.reference]
            config = "{config_file}:reference"
            [variants.modern]
            optimizer.factors = {{res2net = 0.1}}
            remat = true
            [folds.a]
            train = "fold0"
            eval = "fold1"
            [folds.b]
            train = "fold1"
            eval = "fold0"
        """),
    )
    assert plan.axes == ("optimizer.learning_rate", "seed")
    assert [run.name for run in plan.runs[:3]] == [
        "reference-fold=a-learning_rate=1.0-seed=0",
        "reference-fold=a-learning_rate=1.0-seed=1",
        "reference-fold=a-learning_rate=0.003-seed=0",
    ]
    assert len(plan.runs) == len({run.name for run in plan.runs}) == 16
    last = plan.runs[-1]
    assert (last.variant, last.fold, last.config) == ("modern", "b", config_file)
    assert last.flags == (
        "--config.steps=5",
        "--config.optimizer.factors={'res2net': 0.1}",
        "--config.remat=True",
        "--config.data.train_split=fold1",
        "--config.data.eval_split=fold0",
        "--config.optimizer.learning_rate=0.003",
        "--config.seed=1",
    )
    assert last.options["steps"] == 5
    assert last.options["remat"] is True
    assert last.options["optimizer"] == {"name": "modern", "learning_rate": 0.003, "factors": {"res2net": 0.1}}
    assert last.options["data"]["eval_split"] == "fold0"
    first = plan.runs[0]
    assert first.config == f"{config_file}:reference"
    assert (first.options["steps"], first.options["optimizer"]["name"]) == (5, "reference")


def test_quoted_and_plain_options_are_the_same(config_file, grid):
    plain = make_plan(config_file, {}, grid("[axes]\noptimizer.learning_rate = [1e-3, 2e-3]"))
    assert make_plan(config_file, {}, grid("[axes]\n'optimizer.learning_rate' = [1e-3, 2e-3]")) == plain


def test_an_axis_of_lists_and_one_of_tables(config_file, grid):
    plan = make_plan(
        config_file, {}, grid("[axes]\ndata.weights = [[1, 1], [1.0, 3.0]]\noptimizer.factors = [{}, {vgg = 0}]")
    )
    assert [run.options["data"]["weights"] for run in plan.runs] == [[1, 1], [1, 1], [1.0, 3.0], [1.0, 3.0]]
    assert [run.options["optimizer"]["factors"] for run in plan.runs[:2]] == [{}, {"vgg": 0}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[axes]\nstepz = [1]", "[axes] stepz: no such option; the nearest is steps in"),
        ("[axes]\nsteps = [1, 1.5]", "[axes] steps: takes a whole number"),
        ("[axes]\nsteps = 3", "[axes] steps must be a list of values, such as [1, 2], not 3"),
        ("[axes]\nsteps = []", "[axes] steps must be a list of values"),
        ("[axes]\nseed = [0, 1, 0]", "[axes] seed has 0 twice"),
        ("[axes]\noptimizer.learning_rate = [1, 1.0]", "[axes] optimizer.learning_rate has 1.0 twice"),
        ("[axes]\noptimizer = [{name = 'a'}]", "[axes] optimizer: is a section"),
        ("[variants.a]\noptimizer.learnin_rate = 1.0", "[variants.a] optimizer.learnin_rate: no such option"),
        ("[variants.a]\nsteps = [1]", "[variants.a] steps: takes a whole number"),
        ("[variants.a]\nconfig = 'absent.py'", "absent.py: no config can be read there"),
        ("[axes]\nseed = [1]\n[variants.a]\nseed = 1", "seed is set by a variant and by [axes]; keep one of them"),
        ("[axes]\nremat = [true]", "remat is set by the command line and by [axes]"),
        (
            "[axes]\ndata.eval_split = ['a']\n[folds.a]\ntrain = 'b'\neval = 'a'",
            "data.eval_split is set by [folds] and by [axes]",
        ),
    ],
)
def test_what_does_not_fit_the_config_is_refused_in_one_line(config_file, grid, text, message):
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        make_plan(config_file, {"remat": True}, grid(text))
    assert "\n" not in str(refused.value)


def test_a_config_that_no_run_can_have_is_refused_with_the_runs_name(config_file, grid):
    def check(config):
        if config.steps < 1:
            raise InputError("config.steps is 0; it must be at least 1")

    with pytest.raises(InputError, match=r"grid\.toml: run steps=0: config\.steps is 0"):
        make_plan(config_file, {}, grid("[axes]\nsteps = [5, 0]"), check)


@pytest.mark.parametrize("path", sorted((ROOT / "experiments/sweeps").glob("*.toml")), ids=lambda path: path.stem)
def test_every_grid_of_the_repository_fits_the_config_that_it_names(path, monkeypatch):
    (config,) = set(re.findall(r"--config=(\S+)", path.read_text()))
    monkeypatch.chdir(ROOT)
    if not Path(config.partition(":")[0]).is_file():
        pytest.skip(f"{config} is not there yet")
    plan = make_plan(config, {}, read_grid(path), check)
    assert len({str(run.options) for run in plan.runs}) == len(plan.runs) > 1
