"""From a config to the parts of a run: preset, network, optimiser, objective, batches, first state."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from jcs_jax.data.examples import Source
from jcs_jax.data.inputs import network_example, stack
from jcs_jax.data.mixing import Mixing
from jcs_jax.data.pipeline import HostShard, TrainingBatches
from jcs_jax.data.shares import Share, shares_of
from jcs_jax.data.transforms import AUGMENTATIONS
from jcs_jax.errors import InputError
from jcs_jax.models.compilation import convolutions_for
from jcs_jax.models.inputs import network_arguments
from jcs_jax.models.presets import Preset, build, get_preset
from jcs_jax.training import optimizers
from jcs_jax.training.initial_weights import model_folders, start_from
from jcs_jax.training.objective import Objective
from jcs_jax.training.restoration import Restoration
from jcs_jax.training.self_training import SelfTraining
from jcs_jax.training.state import TrainState, create_state, initial_variables
from jcs_jax.training.steps import Teacher


def preset_of(config: ml_collections.ConfigDict) -> Preset:
    """The preset that a config trains, with its options and input size.

    Raises:
      InputError: no such network or option.
    """
    if "members" in config.model.options:
        raise InputError("config.model.options.members: networks learn one by one; join them with `jcs ensemble`")
    try:
        preset = get_preset(config.model.name)
        options = {**preset.options, **dict(config.model.options)}
        size = config.model.input_size
        preprocessing = preset.preprocessing
        if size:
            preprocessing = dataclasses.replace(preprocessing, size=(size, size))
        if config.model.tissue_grey:
            preprocessing = dataclasses.replace(preprocessing, tissue_grey=config.model.tissue_grey)
        done = "restoring damaged slices of" if config.loss.segmentation == "restoration" else "trained on"
        source = f"{done} {config.data.dataset}, split {config.data.train_split}"
        preset = dataclasses.replace(preset, options=options, preprocessing=preprocessing, source=source)
        build(preset)
    except ValueError as error:
        raise InputError(f"config.model: {error}") from error
    return preset


def network_of(config: ml_collections.ConfigDict, preset: Preset) -> nn.Module:
    """The network as it is trained: in the config's precision and convolutions, with activations computed twice or not.

    What is saved is the preset, which knows nothing of these.
    """
    dtype = config.dtype
    if dtype == "auto":
        dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    options: dict[str, Any] = {} if dtype == "float32" else {"dtype": jnp.dtype(dtype)}
    convolutions = config.convolutions
    if convolutions == "auto":
        devices = jax.device_count() if config.mesh.data == -1 else config.mesh.data * config.mesh.fsdp
        one = devices == 1 and not config.fixed_parts  # which are to have the same bits on any number of devices
        convolutions = convolutions_for(jax.default_backend()) if one else "xla"
    return build(preset, **options, convolutions=convolutions, **({"remat": True} if config.remat else {}))


def create_schedule(config: ml_collections.ConfigDict, steps_per_epoch: int) -> optax.Schedule:
    """The learning rate of each step that the config asks for."""
    options = config.optimizer
    if options.name == "reference":
        return optimizers.reference_schedule(options.learning_rate, config.steps, steps_per_epoch)
    return optimizers.modern_schedule(options.learning_rate, config.steps, options.warmup_steps)


def create_optimizer(config: ml_collections.ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """The optimiser that the config asks for."""
    options = config.optimizer
    factors = _factors(config)
    if options.name == "reference":
        return optimizers.reference_optimizer(schedule, options.weight_decay, factors=factors)
    return optimizers.modern_optimizer(schedule, options.weight_decay, options.clip_norm, factors=factors)


def objective_of(config: ml_collections.ConfigDict, source: Source) -> Objective:
    """What the config asks to minimise; balanced class weights come from the labels of the training data.

    Raises:
      InputError: a loss that isn't there, or classes to be balanced of which one has no slice.
    """
    options = dict(config.loss)
    if options.pop("balance_classes"):
        counts = collections.Counter(record.label for record in source.records())
        known = counts[0] + counts[1]
        if not counts[0] or not counts[1]:
            raise InputError(
                f"config.loss.balance_classes: the training data have {counts[0]} uninfected and {counts[1]} infected "
                "slices; both classes are needed"
            )
        given = options["class_weights"]
        options["class_weights"] = tuple(given[label] * known / (2 * counts[label]) for label in (0, 1))
    try:
        return Objective(**options)
    except ValueError as error:
        raise InputError(f"config.loss: {error}") from error


def _self_training_of(config: ml_collections.ConfigDict, preset: Preset, source: Source) -> SelfTraining | None:
    """How slices without a mask are to be learnt from; None if they aren't.

    Raises:
      InputError: a network or a run that can't draw masks, or data of which every slice has one.
    """
    options = config.self_training
    if not options.weight:
        return None
    outlined = [record.lesion_area >= 0 for record in source.records()]
    faults = {
        f"{preset.name} draws no masks; choose a network that segments": preset.architecture == "classifier",
        "averaged weights draw the masks; set config.optimizer.ema_decay above 0": not config.optimizer.ema_decay,
        "pixels count by their certainty in single slices only; set config.loss.segmentation=per_image": (
            config.loss.segmentation != "per_image"
        ),
        "drawn masks don't teach the activation map; set config.loss.map_weight=0": config.loss.map_weight,
        "masks are not drawn in fixed parts; set config.fixed_parts=0": config.fixed_parts,
        "stored features can't be disturbed; choose data with pictures": source[0].image is None,
        "every slice has a mask; name data without in config.data.also_train_on, or set it to 0": all(outlined),
    }
    for fault, found in faults.items():
        if found:
            raise InputError(f"config.self_training.weight: {fault}")
    first_row = 0  # of those that may lack a mask
    for share in _shares(config, source):
        if not all(outlined[share.first : share.first + share.size]):
            break
        first_row += share.rows
    return SelfTraining(options.weight, options.warmup_steps, options.cut_mix, first_row, preset.preprocessing)


def teacher_of(config: ml_collections.ConfigDict, preset: Preset, source: Source) -> Teacher | None:
    """What slices without a mask are to teach; None for nothing.

    Raises:
      InputError: a run that can't be had with these data, this network or these options.
    """
    if config.loss.segmentation != "restoration":
        return _self_training_of(config, preset, source)
    faults = {
        f"{preset.name} draws nothing; choose a network that segments": preset.architecture == "classifier",
        "stored features can't be damaged; choose data with pictures": source[0].image is None,
        "there is nothing to validate or measure; leave config.validation.split and config.data.eval_split empty": (
            config.validation.split or config.data.eval_split
        ),
        "no mask is learnt; set config.self_training.weight=0 and config.loss.map_weight=0": (
            config.self_training.weight or config.loss.map_weight
        ),
        "slices are not damaged in fixed parts; set config.fixed_parts=0": config.fixed_parts,
    }
    for fault, found in faults.items():
        if found:
            raise InputError(f"config.loss.segmentation=restoration: {fault}")
    return Restoration(preset.preprocessing)


def _shares(config: ml_collections.ConfigDict, source: Source) -> tuple[Share, ...]:
    """The rows of every batch for each data set that is trained on."""
    return shares_of(getattr(source, "sizes", [len(source)]), tuple(config.data.rows), config.batch_size)


def training_batches(config: ml_collections.ConfigDict, preset: Preset, source: Source) -> TrainingBatches:
    """This process's part of the batches that the config asks for.

    Raises:
      InputError: no slices, or options that don't fit them.
    """
    return TrainingBatches(
        source,
        preset.preprocessing,
        augment=config.data.augment,
        batch_size=config.batch_size,
        seed=config.seed,
        steps=config.steps,
        mixing=Mixing(**config.data.mixing),
        paste=config.data.paste_opacities,
        stage_features=preset.stage_features,
        shares=_shares(config, source),
        host=HostShard(jax.process_index(), jax.process_count()),
        threads=config.data.threads,
    )


def initial_state(
    config: ml_collections.ConfigDict, preset: Preset, model: nn.Module, optimizer: optax.GradientTransformation
) -> tuple[TrainState, list[str]]:
    """The state before the first step, and the parts of the network that start at random.

    Raises:
      InputError: weights that are not this network's.
    """
    variables = initial_variables(model, seed=config.seed, input_size=preset.preprocessing.size)
    parts = sorted(variables["params"])
    folders = model_folders(config.init_from)
    if folders:
        variables, parts = start_from(variables, folders)
    return create_state(variables, optimizer, seed=config.seed, average=config.optimizer.ema_decay > 0), parts


def state_shapes(
    config: ml_collections.ConfigDict, preset: Preset, model: nn.Module, optimizer: optax.GradientTransformation
) -> TrainState:
    """Shapes and types of a run's state, computing nothing.

    Raises:
      InputError: an unknown part in `learning_rate_factors`, or a network that its options don't describe.
    """
    images = jnp.zeros((1, *preset.preprocessing.size, 3))
    try:
        variables = jax.eval_shape(lambda: model.init(jax.random.key(0), images))
    except ValueError as error:
        raise InputError(f"config.model: {error}") from error
    parts = sorted(variables["params"])
    unknown = sorted(set(_factors(config)) - set(parts))
    if unknown:
        raise InputError(
            f"config.optimizer.learning_rate_factors: {preset.name} has no part {', '.join(unknown)}; "
            f"it has {', '.join(parts)}"
        )
    average = config.optimizer.ema_decay > 0
    return jax.eval_shape(lambda: create_state(_zeros(variables), optimizer, seed=0, average=average))


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def frozen_parts(config: ml_collections.ConfigDict) -> list[str]:
    """The parts of the network that do not learn."""
    return [part for part, factor in _factors(config).items() if not factor]


def _factors(config: ml_collections.ConfigDict) -> dict[str, float]:
    """Factors of the learning rate other than 1, by part."""
    return {part: factor for part, factor in config.optimizer.learning_rate_factors.items() if factor != 1}


def check_learnable(config: ml_collections.ConfigDict, preset: Preset, source: Source) -> None:
    """Refuses data from which a network could learn nothing: its loss would be 0 from beginning to end.

    Raises:
      InputError: that says what is missing, also where the loss needs a mask for every slice.
    """
    if config.loss.segmentation == "restoration":  # every slice teaches
        return
    records = list(source.records())
    masks, labels = (any(known) for known in zip(*((r.lesion_area >= 0, r.label >= 0) for r in records), strict=True))
    segments = preset.architecture != "classifier"
    every_mask = all(record.lesion_area >= 0 for record in records)
    whole_batch = segments and config.loss.segmentation == "reference"
    if whole_batch and max(config.accumulate, config.fixed_parts) > 1:
        option = "accumulate=1" if config.accumulate > 1 else "fixed_parts=0"
        raise InputError(
            "config.loss.segmentation=reference takes Dice over the whole batch, which can't be computed in parts; "
            f"choose per_image or config.{option}"
        )
    if whole_batch and masks and not every_mask:
        raise InputError(
            "config.loss.segmentation=reference takes Dice over the whole batch, in which a slice without a mask would "
            "count as empty; choose per_image or data with masks only"
        )
    if segments and not masks:
        raise InputError(f"{preset.name}: no slice has a mask to learn from; choose data with masks or a classifier")
    if not segments and not labels:
        raise InputError(f"{preset.name}: no slice has a label to learn from; choose data with labels or a segmenter")


def check_accepted(preset: Preset, model: nn.Module, state: TrainState, source: Source) -> None:
    """Refuses stored features of another network before anything is compiled; pictures fit every network.

    Raises:
      InputError: that names what the data hold.
    """
    example = source[0]
    if example.image is not None:
        return
    unused = np.random.default_rng(0)
    arrays = network_example(example, preset.preprocessing, AUGMENTATIONS["none"], unused, preset.stage_features)
    features = network_arguments(stack([arrays]))
    try:
        jax.eval_shape(lambda variables: model.apply(variables, **features), state.inference_variables())
    except flax.errors.FlaxError as error:
        shapes = ", ".join(f"{name} of {array.shape[-1]} channels" for name, array in features.items())
        raise InputError(f"{preset.name}: was not made for {shapes}; take a network of the reference's size") from error
