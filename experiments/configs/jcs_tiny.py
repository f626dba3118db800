"""The weights that come with the package: from those of `covid_semiseg.py:all` on, masks and labels together.

    python experiments/jcs_tiny.py --source_dir COPIES --workdir runs/jcs_tiny

prepares the data, runs all stages, calibrates and packs the result. By itself a stage is

    jcs train --config=experiments/configs/jcs_tiny.py:fine --workdir=runs/fine --config.init_from=runs/coarse

Outlined slices are those of COVID-SemiSeg (turned and cropped to the lungs) and, the same upright and whole, of
COVID-19-CT100, the phantom's and, with empty masks, MosMedData's uninfected; all have a label. A sixth of UCSD
COVID-CT's training part is left out, other patients: thresholds are chosen on it. No step is chosen: the last is kept.
"""

import ml_collections

from jcs_jax.errors import InputError
from jcs_jax.training.config import default_config, use_recipe

# Side of a slice, steps, learning rate, weight of cross-entropy: at the end, answers are to be sure.
STAGES = {"coarse": (128, 2400, 1e-3, 1.0), "fine": (192, 800, 1e-3, 0.3)}
CLEAR = "mosmed_slices/ct0_ct2:train"  # where uninfected means that a radiologist saw no opacity
# The rest is for calibration, see experiments/jcs_tiny.py. Infected slices come first, up to 190, a patient's together.
UCSD_TRAINING = "train[:163]+train[191:196]+train[217:405]"
FOLDS = "+".join(f"fold{number}" for number in range(5))  # of sets that are for training as a whole
ROWS = {  # of every batch
    f"covid_semiseg:{FOLDS}": 2,
    f"covid19_ct100/clean:{FOLDS}": 3,
    "chest_phantom/small:train": 1,
    CLEAR: 3,
    f"ucsd_covid_ct:{UCSD_TRAINING}": 3,
}


def get_config(argument: str = "coarse") -> ml_collections.ConfigDict:
    if argument not in STAGES:
        raise InputError(f"the argument is {' or '.join(STAGES)}, not {argument!r}; write --config=FILE.py:coarse")
    side, steps, learning_rate, cross_entropy_weight = STAGES[argument]
    first, *others = ROWS
    config = default_config()
    config.model.name = "jcs_tiny"
    config.model.input_size = side
    config.model.tissue_grey = 0.75  # as where it starts from
    config.data.dataset, _, config.data.train_split = first.partition(":")
    config.data.also_train_on = ",".join(others)
    config.data.empty_masks_of = CLEAR
    config.data.rows = tuple(ROWS.values())
    use_recipe(config, "modern")
    config.data.paste_opacities = 0.5
    config.batch_size = sum(ROWS.values())
    config.steps = steps
    config.optimizer.learning_rate = learning_rate
    config.optimizer.ema_decay = 0.995
    config.loss.lesion_weight = 3.0
    config.loss.cross_entropy_weight = cross_entropy_weight
    config.loss.classification_weight = 2.0
    config.loss.map_weight = 0.5
    return config
