"""Segmentation on COVID-SemiSeg: 50 slices with masks in five folds, and 1,600 slices without, for self-training.

    jcs prepare covid_semiseg --source COPY --folds 5 --data_dir data
    jcs train --config=experiments/configs/covid_semiseg.py:2 --workdir=runs/semiseg2

The number after the file's name is the fold that is held out and measured at the end; nothing is chosen on it, and no
step is chosen at all: the last one is kept. Half of every batch has a doctor's masks, the other half is of the volumes,
for which the moving average of the weights draws them. `:2,supervised` leaves the volumes out.
"""

import ml_collections

from jcs_jax.errors import InputError
from jcs_jax.training.config import default_config, use_recipe

FOLDS = 5
STEPS = 1800


def get_config(argument: str = "0") -> ml_collections.ConfigDict:
    fold, comma, how = argument.partition(",")
    if fold not in map(str, range(FOLDS)) or how != ("supervised" if comma else ""):
        raise InputError(
            f"the argument is a fold from 0 to {FOLDS - 1}, with ,supervised behind it for no self-training, "
            f"not {argument!r}; write --config=FILE.py:0"
        )
    config = default_config()
    config.model.name = "jcs_tiny"
    config.data.dataset = "covid_semiseg"
    config.data.train_split = "+".join(f"fold{number}" for number in range(FOLDS) if str(number) != fold)
    config.data.eval_split = f"fold{fold}"
    use_recipe(config, "modern")
    config.steps = STEPS
    config.optimizer.ema_decay = 0.995
    if not how:
        config.data.also_train_on = "covid_semiseg:unlabelled"
        config.data.rows = (4, 4)
        config.self_training.weight = 1.0
        config.self_training.warmup_steps = STEPS // 3
    config.loss.classification_weight = 0.0  # every slice is of a patient with COVID-19
    return config
