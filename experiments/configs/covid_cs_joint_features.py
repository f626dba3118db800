"""The joint network from the published first-stage features of COVID-CS, of which no picture is needed.

    jcs prepare covid_cs --config segmentation_features_half --source COVID-CS --data_dir data
    jcs train --config=experiments/configs/covid_cs_joint_features.py --workdir=runs/covid_cs

The release's recipe: reference sizes and loss, Adam with coupled L2, poly decay, batch 1. Name a converted network
with --config.init_from: the frozen norms of the reference do nothing for random weights. The data set is not at
hand here, so neither score nor time has been measured; by the authors' account their weights have a Dice of 78.5 %.
"""

import ml_collections

from jcs_jax.training.config import default_config


def get_config() -> ml_collections.ConfigDict:
    config = default_config()
    config.steps = 2794 * 60
    config.batch_size = 1
    config.model.name = "joint"
    config.model.input_size = 256  # the features of segmentation_features_half; 512 for segmentation_features
    config.data.dataset = "covid_cs/segmentation_features_half"
    config.data.train_split = "train"
    config.data.eval_split = "test"
    config.data.augment = "reference"
    config.loss.segmentation = "reference"
    config.optimizer.name = "reference"
    config.optimizer.learning_rate = 2.5e-5
    return config
