"""Stage (d): the joint network from a trained classifier (b) and segmenter (c), fine-tuned together.

    jcs train --config=experiments/configs/joint.py --workdir=runs/joint \
        --config.init_from=runs/aligned,runs/segmentation

Res2Net and the class head come from the classifier; VGG, context module, decoder and side heads from the segmenter;
the fusion of both encoders starts at random and learns ten times as fast as the rest. The class head, which the
release's joint network lacks, is an auxiliary task on the shared trunk: --config.model.options="{'classes': 0}" leaves
it out. Freeze a part with --config.optimizer.learning_rate_factors.res2net=0.0. `:reference` takes the release's
recipe. Figures: docs/training.md.
"""

import ml_collections

from jcs_jax.training.config import default_config, use_recipe

SLICES = 3_600


def get_config(recipe: str = "modern") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.name = "joint_small"
    config.model.input_size = 192
    config.data.dataset = "covid19_ct100/clean"
    config.data.train_split = "fold0+fold1+fold3+fold4"
    config.data.also_train_on = "ucsd_covid_ct:train"
    config.data.eval_split = "fold2"
    use_recipe(config, recipe)
    config.steps = SLICES // config.batch_size
    if recipe == "reference":  # its Dice over the whole batch needs a mask for every slice
        config.data.also_train_on = ""
        return config
    for part in ("vgg", "res2net", "enhanced", "decoder", "heads"):
        config.optimizer.learning_rate_factors[part] = 0.1
    return config
