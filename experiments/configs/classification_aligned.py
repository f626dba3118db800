"""Stage (b): the classification branch whose activation map is taught where the opacities are.

    jcs prepare ucsd_covid_ct --source COPY --data_dir data
    jcs prepare covid19_ct100 --source COPY --data_dir data
    jcs train --config=experiments/configs/classification_aligned.py --workdir=runs/aligned \
        --config.init_from=runs/classification

Goes on from stage (a). Labels come from UCSD COVID-CT, masks from folds of COVID-19-CT100 that join the training data;
slices without a mask teach the label only. The form of the map's loss is this project's choice
(`jcs_jax.losses.activation_map_loss`). `:reference` takes the release's optimiser. Figures: docs/training.md.
"""

import ml_collections

from jcs_jax.training.config import default_config, use_recipe

SLICES = 12_000


def get_config(recipe: str = "modern") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.name = "classifier_small"
    config.data.dataset = "ucsd_covid_ct"
    config.data.train_split = "train"
    config.data.also_train_on = "covid19_ct100/clean:fold0+fold1+fold3+fold4"
    config.data.eval_split = "validation"
    config.loss.label_smoothing = 0.05
    config.loss.balance_classes = True
    config.loss.map_weight = 1.0
    use_recipe(config, recipe)
    config.steps = SLICES // config.batch_size
    config.loss.map_warmup_steps = config.steps // 10
    return config
