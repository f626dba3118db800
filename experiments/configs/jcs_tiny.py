"""The weights that come with the package: from those of `covid_semiseg.py:all` on, masks and labels together.

    python experiments/jcs_tiny.py --source_dir COPIES --workdir runs/jcs_tiny

prepares the data, runs all stages, calibrates and packs the result. By itself a stage is

    jcs train --config=experiments/configs/jcs_tiny.py:fine --workdir=runs/fine --config.init_from=runs/coarse

Outlined slices are those of COVID-SemiSeg (turned and cropped to the lungs) and, the same upright and whole, of
COVID-19-CT100, the phantom's and, with empty masks, MosMedData's uninfected; all have a label. Nothing is chosen on
validation or test parts, and no step is chosen: the last is kept.
"""

import ml_collections

from jcs_jax.errors import InputError
from jcs_jax.training.config import default_config, use_recipe

STAGES = {"coarse": (128, 1200, 1e-3), "fine": (192, 500, 1e-3)}  # side of a slice, steps, learning rate
CLEAR = "mosmed_slices/ct0_ct2:train"  # where uninfected means that a radiologist saw no opacity
FOLDS = "+".join(f"fold{number}" for number in range(5))  # of sets that are for training as a whole
ROWS = {  # of every batch
    f"covid_semiseg:{FOLDS}": 3,
    f"covid19_ct100/clean:{FOLDS}": 3,
    "chest_phantom/small:train": 1,
    CLEAR: 2,
    "ucsd_covid_ct:train": 3,
}


def get_config(argument: str = "coarse") -> ml_collections.ConfigDict:
    if argument not in STAGES:
        raise InputError(f"the argument is {' or '.join(STAGES)}, not {argument!r}; write --config=FILE.py:coarse")
    side, steps, learning_rate = STAGES[argument]
    first, *others = ROWS
    config = default_config()
    config.model.name = "jcs_tiny"
    config.model.input_size = side
    config.data.dataset, _, config.data.train_split = first.partition(":")
    config.data.also_train_on = ",".join(others)
    config.data.empty_masks_of = CLEAR
    config.data.rows = tuple(ROWS.values())
    use_recipe(config, "modern")
    config.batch_size = sum(ROWS.values())
    config.steps = steps
    config.optimizer.learning_rate = learning_rate
    config.optimizer.ema_decay = 0.995
    config.loss.lesion_weight = 3.0
    config.loss.classification_weight = 2.0
    config.loss.class_weights = (2.0, 1.0)  # two thirds of a batch are infected
    config.loss.map_weight = 0.5
    return config
