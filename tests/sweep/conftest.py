"""Config files and grids to plan with; none of them can be trained."""

import pytest

from jcs_jax.sweep.grid import read_grid

CONFIG = """
import ml_collections

def get_config(recipe="modern"):
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.steps = 10
    config.remat = False
    config.data = ml_collections.ConfigDict()
    config.data.train_split = "train"
    config.data.eval_split = ""
    config.data.weights = (1.0, 1.0)
    config.validation = ml_collections.ConfigDict()
    config.validation.split = ""
    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.name = recipe
    config.optimizer.learning_rate = 1e-3
    config.optimizer.factors = ml_collections.ConfigDict()
    return config
"""


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "small.py"
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def grid(tmp_path):
    """Reads a grid from its text."""

    def read(text):
        path = tmp_path / "grid.toml"
        path.write_text(text)
        return read_grid(path)

    return read
