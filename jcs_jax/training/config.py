"""Every option of a training run with its default; experiments change what they need."""

from __future__ import annotations

import ml_collections
import optax

from jcs_jax.errors import InputError
from jcs_jax.training import optimizers


def default_config() -> ml_collections.ConfigDict:
    """Options of `jcs train`; the comments are their documentation."""
    config = ml_collections.ConfigDict()
    config.seed = 0  # of initialisation, order and augmentation
    config.steps = 1000
    config.batch_size = 8
    config.log_every = 20  # steps

    config.model = ml_collections.ConfigDict()
    config.model.name = "joint_tiny"  # a preset's name
    config.model.options = ml_collections.ConfigDict(convert_dict=False)  # module arguments over the preset's
    config.model.input_size = 0  # side in pixels; 0 keeps the preset's
    config.model.init_from = ""  # model folder of the same network, from `jcs convert` or `jcs train`; empty: random

    config.data = ml_collections.ConfigDict()
    config.data.data_dir = "data"  # where `jcs prepare` wrote
    config.data.dataset = "chest_phantom"  # NAME or NAME/CONFIG
    config.data.train_split = "train"  # parts join with +
    config.data.eval_split = ""  # measured at the end, never chosen on; empty for none
    config.data.allow_leakage = False  # train although slices, patients or pictures are in both splits
    config.data.augment = "modern"  # none, reference or modern
    config.data.mixing = ml_collections.ConfigDict()
    config.data.mixing.alpha = 0.0  # of Beta(alpha, alpha), the weights of image mixing; 0 mixes nothing
    config.data.mixing.label_rule = "soft"  # labels mixed as the pictures are; or dominant: those of the larger part
    config.data.threads = 2  # that decode and augment ahead

    config.loss = ml_collections.ConfigDict()
    config.loss.segmentation = "per_image"  # or reference: Dice over the whole batch, for data with masks only
    config.loss.segmentation_weight = 1.0
    config.loss.classification_weight = 1.0
    config.loss.label_smoothing = 0.0

    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.name = "modern"  # AdamW and cosine; or reference: Adam with coupled L2 and poly decay
    config.optimizer.learning_rate = 1e-3
    config.optimizer.weight_decay = 1e-4
    config.optimizer.warmup_steps = 50  # modern only
    config.optimizer.clip_norm = 1.0  # modern only
    config.optimizer.ema_decay = 0.99
    return config


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses numbers with which no run can start.

    Raises:
      InputError: that names the option.
    """
    least = {"steps": 1, "batch_size": 1, "log_every": 1, "seed": 0, "data.threads": 1, "model.input_size": 0}
    for key, minimum in least.items():
        if config[key] < minimum:
            raise InputError(f"config.{key} is {config[key]}; it must be at least {minimum}")


def create_schedule(config: ml_collections.ConfigDict, steps_per_epoch: int) -> optax.Schedule:
    """The learning rate of each step that the config asks for."""
    options = config.optimizer
    if options.name == "reference":
        return optimizers.reference_schedule(options.learning_rate, config.steps, steps_per_epoch)
    if options.name == "modern":
        return optimizers.modern_schedule(options.learning_rate, config.steps, options.warmup_steps)
    raise InputError(f"config.optimizer.name is modern or reference, not {options.name!r}")


def create_optimizer(config: ml_collections.ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """The optimiser that the config asks for."""
    options = config.optimizer
    if options.name == "reference":
        return optimizers.reference_optimizer(schedule, options.weight_decay)
    return optimizers.modern_optimizer(schedule, options.weight_decay, options.clip_norm)


def demo_config() -> ml_collections.ConfigDict:
    """The tiny joint network on the synthetic phantom; about a minute on two cores."""
    config = default_config()
    config.steps = 320
    config.model.name = "joint_tiny"
    config.data.dataset = "chest_phantom/small"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.ema_decay = 0.98
    config.loss.classification_weight = 2.0
    return config
