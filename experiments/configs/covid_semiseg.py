"""Segmentation on COVID-SemiSeg: 50 slices with masks in five folds, and 1,600 slices of volumes without; three stages.

    jcs prepare covid_semiseg --source COPY --folds 5 --data_dir data
    jcs train --config=experiments/configs/covid_semiseg.py:all,restoration --workdir=runs/restored
    jcs train --config=experiments/configs/covid_semiseg.py:2 --workdir=runs/coarse2 --config.init_from=runs/restored
    jcs train --config=experiments/configs/covid_semiseg.py:2,fine --workdir=runs/fine2 --config.init_from=runs/coarse2

The first one learns to give back damaged slices of the volumes; all folds start from it. The number after the file's
name is the fold that is held out and measured at the end; nothing is chosen on it, and no step is chosen at all: the
last one is kept. `:all` trains on the 50 slices together and measures nothing. Another stage, `:2,self_training`, takes
the volumes as well: half of every batch is of them, and the moving average of the weights draws their masks.
"""

import ml_collections

from jcs_jax.errors import InputError
from jcs_jax.training.config import default_config, use_recipe

FOLDS = [f"fold{number}" for number in range(5)]
# Side of a slice, steps, learning rate, weight of cross-entropy: most is seen at less than half of the cost, and at the
# end answers are to be sure.
STAGES = {
    "restoration": (128, 1800, 2e-3, 1.0),
    "coarse": (128, 1500, 2e-3, 1.0),
    "fine": (192, 250, 1e-3, 0.1),
    "self_training": (192, 500, 5e-4, 0.1),
}


def get_config(argument: str = "0") -> ml_collections.ConfigDict:
    fold, comma, stage = argument.partition(",")
    stage = stage if comma else "coarse"
    known = fold == "all" or (f"fold{fold}" in FOLDS and stage != "restoration")
    if not known or stage not in STAGES:
        raise InputError(
            f"the argument is a fold from 0 to {len(FOLDS) - 1} or all, and behind a comma {', '.join(STAGES)} "
            f"(restoration of all only); not {argument!r}; write --config=FILE.py:0,fine"
        )
    side, steps, learning_rate, cross_entropy_weight = STAGES[stage]
    config = default_config()
    config.model.name = "jcs_tiny"
    config.model.input_size = side
    config.model.tissue_grey = 0.75  # slices and volumes were made with different windows
    config.data.dataset = "covid_semiseg"
    config.data.train_split = "+".join(name for name in FOLDS if name != f"fold{fold}")
    config.data.eval_split = "" if fold == "all" else f"fold{fold}"
    use_recipe(config, "modern")
    config.steps = steps
    config.optimizer.learning_rate = learning_rate
    config.optimizer.ema_decay = 0.995
    config.loss.classification_weight = 0.0  # every slice is of a patient with COVID-19
    if stage == "restoration":
        config.data.train_split = "unlabelled"
        config.loss.segmentation = "restoration"
        return config
    config.data.paste_opacities = 0.5
    config.loss.lesion_weight = 3.0
    config.loss.cross_entropy_weight = cross_entropy_weight
    if stage == "self_training":
        config.data.also_train_on = "covid_semiseg:unlabelled"
        config.data.rows = (4, 4)
        config.self_training.weight = 1.0
        config.self_training.warmup_steps = steps // 3
    return config
