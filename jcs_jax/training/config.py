"""Every option of a training run with its default; experiments change what they need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections

from jcs_jax.errors import InputError

RECIPES = ("reference", "modern")
# Top-level names of parameters; no network has all of them.
PARTS = ("vgg", "res2net", "unet", "enhanced", "fusion", "decoder", "heads", "class_head")


def default_config() -> ml_collections.ConfigDict:
    """Options of `jcs train`; the comments are their documentation."""
    config = ml_collections.ConfigDict()
    config.seed = 0  # of initialisation, order, augmentation and dropout
    config.steps = 1000
    config.batch_size = 8  # on all devices together
    config.accumulate = 1  # parts that a batch is computed in, one after the other
    config.fixed_parts = 0  # parts, a power of two, that a batch has on any devices, for the same bits on all; 0: none
    config.log_every = 20  # steps
    config.init_from = ""  # model folders or finished runs to start from, joined by commas; empty: random weights
    config.dtype = "auto"  # of activations: float32, bfloat16, or auto: bfloat16 on GPUs and TPUs
    config.convolutions = "auto"  # xla, cpu: forms that are fast on one CPU (rounding differs), or auto: these there
    config.remat = False  # compute activations again in the backward pass: less memory, more time
    config.tensorboard = True  # curves and pictures for TensorBoard beside metrics.jsonl
    config.pictures_every = 200  # steps between pictures for TensorBoard; 0 draws none

    config.mesh = _mesh_options()
    config.checkpoint = ml_collections.ConfigDict()
    config.checkpoint.every = 200  # steps that a crash can cost at most; saved in the background twice in that time
    config.checkpoint.keep = 2  # newest ones that are kept, beside the best

    config.model = ml_collections.ConfigDict()
    config.model.name = "joint_tiny"  # a preset's name
    config.model.options = ml_collections.ConfigDict(convert_dict=False)  # module arguments over the preset's
    config.model.input_size = 0  # side in pixels; 0 keeps the preset's
    config.model.tissue_grey = 0.0  # of every slice's soft tissue, in [0, 1]; 0 keeps the preset's

    config.data = ml_collections.ConfigDict()
    config.data.data_dir = "data"  # where `jcs prepare` wrote
    config.data.dataset = "chest_phantom"  # NAME or NAME/CONFIG
    config.data.train_split = "train"  # parts join with +
    config.data.also_train_on = ""  # more training data, as NAME/CONFIG:SPLIT, joined by commas
    config.data.empty_masks_of = ""  # those of them whose uninfected slices show no opacity, though nobody outlined
    config.data.rows = ()  # slices of every batch from train_split and each of also_train_on; empty: by their sizes
    config.data.eval_split = ""  # measured at the end, never chosen on; empty for none
    config.data.permute_labels = False  # shuffled between patients by the seed: nothing must be learned from them
    config.data.allow_leakage = False  # train although slices, patients or pictures are in two splits
    config.data.augment = "modern"  # none, reference or modern
    config.data.mixing = ml_collections.ConfigDict()
    config.data.mixing.alpha = 0.0  # of Beta(alpha, alpha), the weights of image mixing; 0 mixes nothing
    config.data.mixing.label_rule = "soft"  # labels mixed as the pictures are; or dominant: those of the larger part
    config.data.paste_opacities = 0.0  # probability that a slice gets those of another outlined one of its data set
    config.data.threads = 2  # that decode and augment ahead

    config.validation = _validation_options()
    config.loss = _loss_options()
    config.self_training = _self_training_options()
    config.optimizer = _optimizer_options()
    return config


def _mesh_options() -> ml_collections.ConfigDict:
    mesh = ml_collections.ConfigDict()
    mesh.data = -1  # devices that share a batch; -1: all that are left
    mesh.fsdp = 1  # devices that share parameters and optimiser state as well
    return mesh


def _validation_options() -> ml_collections.ConfigDict:
    validation = ml_collections.ConfigDict()
    validation.split = ""  # of the same data set, to choose the best checkpoint on; empty: the last one is it
    validation.every = 200  # steps
    validation.metric = "auto"  # dice, auc or loss; auto: dice if the network segments, else auc
    return validation


def _loss_options() -> ml_collections.ConfigDict:
    loss = ml_collections.ConfigDict()
    loss.segmentation = "per_image"  # reference: Dice over the whole batch; restoration: greys, to begin without masks
    loss.lesion_weight = 1.0  # what a missed opacified pixel costs against a clear one that is marked; per_image only
    loss.cross_entropy_weight = 1.0  # of cross-entropy beside Dice in a slice's segmentation; per_image only
    loss.segmentation_weight = 1.0
    loss.classification_weight = 1.0
    loss.class_weights = (1.0, 1.0)  # of uninfected and infected slices
    loss.balance_classes = False  # weigh classes by their inverse frequency in the training data as well
    loss.label_smoothing = 0.0
    loss.map_weight = 0.0  # of the activation map's agreement with the masks; 0 leaves the map alone
    loss.map_warmup_steps = 0  # over which that weight rises from 0
    loss.map_lesion_weight = 4.0  # of opacified positions against the others in that agreement
    loss.map_offset = 2.0  # log-odds from which a position of the map counts as more likely opacified than not
    return loss


def _self_training_options() -> ml_collections.ConfigDict:
    options = ml_collections.ConfigDict()
    options.weight = 0.0  # of slices without a mask, for which the weights' moving average draws one; 0: none is drawn
    options.warmup_steps = 0  # over which that weight rises from 0
    options.cut_mix = 0.5  # probability that a box of another such slice is pasted into one
    return options


def _optimizer_options() -> ml_collections.ConfigDict:
    optimizer = ml_collections.ConfigDict()
    optimizer.name = "modern"  # AdamW and cosine; or reference: Adam with coupled L2 and poly decay
    optimizer.learning_rate = 1e-3
    # Of the parts of a network, those that it has; 0 freezes a part.
    optimizer.learning_rate_factors = ml_collections.ConfigDict(dict.fromkeys(PARTS, 1.0))
    optimizer.weight_decay = 1e-4
    optimizer.warmup_steps = 50  # modern only
    optimizer.clip_norm = 1.0  # modern only; of the gradient; 0 clips nothing
    optimizer.ema_decay = 0.99  # of the parameters' moving average, which is what is kept; 0: the parameters
    return optimizer


def use_recipe(config: ml_collections.ConfigDict, name: str) -> None:
    """Sets how a network is trained, `reference` or `modern`, and leaves alone what is trained on what and how long.

    `reference` is the release's training of the segmentation branch to the letter: Adam 2.5e-5 with L2 coupled into
    the gradient, polynomial decay with a warm-up of 200 steps, batch 1, Dice over the whole batch, a crop and a
    vertical flip, no average of the weights, float32. Batch norms run in evaluation mode in the networks of the
    reference's size. For the classification branch nothing was released; it gets the same optimiser.

    `modern` is ours: AdamW, cosine, gradient clipping, an average of the weights, losses of each image by itself,
    stronger augmentation, bfloat16 activations on accelerators.

    Raises:
      InputError: no such recipe.
    """
    if name not in RECIPES:
        raise InputError(f"the recipe is {' or '.join(RECIPES)}, not {name!r}; write --config=FILE.py:{RECIPES[-1]}")
    optimizer = config.optimizer
    optimizer.name = name
    if name == "modern":
        config.batch_size, config.dtype = 8, "auto"
        config.data.augment, config.loss.segmentation = "modern", "per_image"
        optimizer.learning_rate, optimizer.weight_decay, optimizer.ema_decay = 2e-3, 1e-4, 0.99
        return
    config.batch_size, config.dtype = 1, "float32"
    config.data.augment, config.loss.segmentation = "reference", "reference"
    config.data.mixing.alpha, config.loss.label_smoothing = 0.0, 0.0
    optimizer.learning_rate, optimizer.weight_decay, optimizer.ema_decay = 2.5e-5, 1e-4, 0.0


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


_LEAST: dict[str, float] = {
    "steps": 1,
    "batch_size": 1,
    "accumulate": 1,
    "fixed_parts": 0,
    "log_every": 1,
    "pictures_every": 0,
    "seed": 0,
    "mesh.fsdp": 1,
    "checkpoint.every": 1,
    "checkpoint.keep": 1,
    "validation.every": 1,
    "data.threads": 1,
    "model.input_size": 0,
    "loss.cross_entropy_weight": 0,
    "loss.segmentation_weight": 0,
    "loss.classification_weight": 0,
    "loss.map_weight": 0,
    "loss.map_warmup_steps": 0,
    "loss.map_lesion_weight": 0,
    "self_training.weight": 0,
    "self_training.warmup_steps": 0,
    "optimizer.learning_rate": 0,
    "optimizer.warmup_steps": 0,
    "optimizer.clip_norm": 0,
}
_ONE_OF = {
    "convolutions": ("auto", "xla", "cpu"),
    "dtype": ("auto", "float32", "bfloat16"),
    "validation.metric": ("auto", "dice", "auc", "loss"),
    "optimizer.name": RECIPES,
}
_PROBABILITIES = ("self_training.cut_mix", "data.paste_opacities", "model.tissue_grey")
_SHARES = ("loss.label_smoothing", "optimizer.ema_decay")  # at least 0, below 1


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses numbers and words with which no run can start.

    Raises:
      InputError: that names the option.
    """
    values = dict(leaves(config))
    for key, minimum in _LEAST.items():
        if not minimum <= values[key] < float("inf"):
            raise InputError(f"config.{key} is {values[key]}; it must be at least {minimum}")
    for key, words in _ONE_OF.items():
        if values[key] not in words:
            raise InputError(f"config.{key} is {values[key]!r}; it is one of {', '.join(words)}")
    for key in _SHARES:
        if not 0 <= values[key] < 1:
            raise InputError(f"config.{key} is {values[key]}; it must be at least 0 and below 1")
    for key in _PROBABILITIES:
        if not 0 <= values[key] <= 1:
            raise InputError(f"config.{key} is {values[key]}; it must be between 0 and 1")
    if config.mesh.data != -1 and config.mesh.data < 1:
        raise InputError(f"config.mesh.data is {config.mesh.data}; it must be at least 1, or -1 for all devices")
    weights = config.loss.class_weights
    if len(weights) != 2 or min(weights) < 0 or not 0 < sum(weights) < float("inf"):
        raise InputError(f"config.loss.class_weights is {weights}; it must be two numbers, not negative, not both 0")
    for part, factor in config.optimizer.learning_rate_factors.items():
        if not isinstance(factor, int | float) or not 0 <= factor < float("inf"):
            raise InputError(f"config.optimizer.learning_rate_factors.{part} is {factor!r}; it must be 0 or positive")


def leaves(config: Mapping[str, Any] | ml_collections.ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every option by its dotted name; a section without options is one itself."""
    for key, value in config.items():
        if isinstance(value, dict | ml_collections.ConfigDict) and len(value):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
