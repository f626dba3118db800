"""Stage (c): the segmentation branch from scratch on COVID-19-CT100: 42 slices to train, 10 held out (of 52).

    jcs prepare covid19_ct100 --source COPY --data_dir data
    jcs train --config=experiments/configs/segmentation.py --workdir=runs/segmentation

Trains `segmenter_small` at 192 pixels; expect a Dice of 0.66 on fold2 after 20 to 28 minutes on two CPU cores, in
2.6 GB. `:reference` after the file's name takes the release's recipe, batch 1, as many slices seen; with
--config.model.name=segmenter --config.model.input_size=512 and --config.init_from naming converted ImageNet weights it
is the release's run.
"""

import ml_collections

from jcs_jax.training.config import default_config, use_recipe

SLICES = 7_200


def get_config(recipe: str = "modern") -> ml_collections.ConfigDict:
    config = default_config()
    config.model.name = "segmenter_small"
    config.model.input_size = 192
    config.data.dataset = "covid19_ct100/clean"
    config.data.train_split = "fold0+fold1+fold3+fold4"
    config.data.eval_split = "fold2"
    use_recipe(config, recipe)
    config.steps = SLICES // config.batch_size
    return config
