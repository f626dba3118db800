"""The small segmenter from scratch on COVID-19-CT100: 42 real slices to train, 10 held out (of a list of 52).

    jcs prepare covid19_ct100 --source COPY --data_dir data
    jcs train --config=experiments/configs/ct100_segmentation.py --workdir=runs/ct100 --config.data.data_dir=data

Expect a Dice of 0.66 on fold2 after 20 to 28 minutes on two CPU cores, in 2.6 GB.
"""

import ml_collections

from jcs_jax.training.config import default_config


def get_config() -> ml_collections.ConfigDict:
    config = default_config()
    config.steps = 900
    config.batch_size = 8
    config.model.name = "segmenter_small"
    config.model.input_size = 192
    config.data.dataset = "covid19_ct100/clean"
    config.data.train_split = "fold0+fold1+fold3+fold4"
    config.data.eval_split = "fold2"
    config.optimizer.learning_rate = 2e-3
    config.optimizer.ema_decay = 0.99
    return config
