"""Stage (a): the classification branch on slices, infected or not, with image mixing.

    jcs prepare ucsd_covid_ct --source COPY --data_dir data
    jcs train --config=experiments/configs/classification.py --workdir=runs/classification

Trains `classifier_small` on the training part of UCSD COVID-CT and measures it on the validation part, whose patients
are others; nothing is chosen there. The authors never published how they train this branch: mixing weight and label
rule are this project's choices. `:reference` after the file's name takes the release's optimiser and augmentation
instead, batch 1, as many slices seen. Figures and minutes: docs/training.md.
"""

import ml_collections

from jcs_jax.training.config import default_config, use_recipe

SLICES = 24_000  # seen in all, whatever the batch


def get_config(recipe: str = "modern") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.name = "classifier_small"
    config.data.dataset = "ucsd_covid_ct"
    config.data.train_split = "train"
    config.data.eval_split = "validation"
    config.data.mixing.alpha = 0.4
    config.loss.label_smoothing = 0.05
    config.loss.balance_classes = True
    use_recipe(config, recipe)
    config.steps = SLICES // config.batch_size
    return config
