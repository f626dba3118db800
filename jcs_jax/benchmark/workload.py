"""One unit of work to be timed: a network's inference or training step, with random weights and images."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jcs_jax.engines.names import ENGINES, PRECISIONS
from jcs_jax.models.compilation import convolutions_for, halves_pay, run_together
from jcs_jax.models.folding import fold_norms
from jcs_jax.models.output import ModelOutput, infection_probability, lesion_probability
from jcs_jax.models.presets import Preset, build, get_preset, with_transformed_kernels
from jcs_jax.training.objective import Objective
from jcs_jax.training.optimizers import reference_optimizer, reference_schedule
from jcs_jax.training.state import NEVER, TrainState, create_state
from jcs_jax.training.steps import make_train_step

Task = Literal["inference", "training"]
TASKS = ("inference", "training")
CONVOLUTIONS = ("auto", "xla", "cpu")


@dataclasses.dataclass(frozen=True)
class Workload:
    """What is computed.

    Attributes:
      name: of a preset.
      task: `inference`, as a diagnosis computes it: probability of infection and of opacity, norms folded; or
        `training`, a step of the released recipe: forward, backward, Adam with coupled L2.
      size: side of the square images; 0 stands for the preset's.
      batch: images at once.
      dtype: of the activations; parameters are float32.
      remat: compute activations again in the backward pass.
      engine: the program that computes; another one than JAX only in inference.
      convolutions: of JAX: `xla`, `cpu`, or `auto` for those that a diagnosis and training take here.
    """

    name: str
    task: Task = "inference"
    size: int = 0
    batch: int = 1
    dtype: str = "float32"
    remat: bool = False
    engine: str = "jax"
    convolutions: str = "auto"

    @property
    def side(self) -> int:
        """Of the square images, in pixels."""
        return self.size or get_preset(self.name).preprocessing.size[0]

    def __post_init__(self) -> None:
        """Refuses work that isn't there.

        Raises:
          ValueError: an unknown task, dtype, engine or form of convolutions, or a size or batch that can't be.
        """
        for value, known in (
            (self.task, TASKS),
            (self.dtype, PRECISIONS),
            (self.engine, ("jax", *ENGINES)),
            (self.convolutions, CONVOLUTIONS),
        ):
            if value not in known:
                raise ValueError(f"{value!r} is not known; choose {' or '.join(known)}")
        if self.engine != "jax" and self.task != "inference":
            raise ValueError(f"{self.engine} computes inference only; training is JAX's")
        if self.size < 0 or self.batch < 1:
            raise ValueError(f"there is no batch of {self.batch} images of side {self.size}")


@dataclasses.dataclass(frozen=True)
class Compiled:
    """Work that is ready to run.

    Attributes:
      run: does it once and waits for the end.
      flops: of one run, by XLA's count of the program as written.
      least_bytes: parameters, state and images in, answers out: what must be moved at least.
    """

    run: Callable[[], None]
    flops: float
    least_bytes: int


def compile_workload(work: Workload) -> Compiled:
    """Compiles for this process's default device.

    Raises:
      ValueError: the network isn't there, or images of that size are too small for it.
    """
    return _inference(work) if work.task == "inference" else _training(work)


def random_batch(batch: int, size: int) -> dict[str, np.ndarray]:
    """Images of normal noise with masks; everything is valid and labelled."""
    rng = np.random.default_rng(0)
    known = {key: np.ones(batch, np.float32) for key in ("valid", "mask_valid", "label_valid", "label")}
    image = rng.standard_normal((batch, size, size, 3), np.float32)
    return {"image": image, "mask": (image[..., 0] > 1).astype(np.float32), **known}


def random_variables(shapes: Any) -> Any:
    """Variables of these shapes: kernels by He's rule, scales and variances 1, the rest 0.

    They are made with NumPy, since each of JAX's own initialisers would be compiled.
    """
    rng = np.random.default_rng(0)

    def fill(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.Array:
        value = np.full(leaf.shape, path[-1].key in ("scale", "var"), leaf.dtype)
        if path[-1].key == "kernel":
            value = rng.standard_normal(leaf.shape, np.float32) * np.float32(math.sqrt(2 / math.prod(leaf.shape[:-1])))
        return jax.device_put(value, may_alias=False)

    return jax.tree_util.tree_map_with_path(fill, shapes)


def random_state(shapes: TrainState) -> TrainState:
    """A state to start from: `random_variables`, and moments of zero."""

    def zeros(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        return jax.device_put(np.zeros(leaf.shape, leaf.dtype), may_alias=False)

    variables = random_variables({"params": shapes.params, "batch_stats": shapes.batch_stats})
    rest = jax.tree.map(zeros, dataclasses.replace(shapes, params={}, batch_stats={}))
    return dataclasses.replace(rest, **variables, failed_step=jax.device_put(np.int32(NEVER), may_alias=False))


def training_step(work: Workload) -> tuple[Any, TrainState]:
    """The jitted step of the released recipe, and the shapes of its state."""
    options = {"remat": work.remat, "dtype": jnp.dtype(work.dtype), "convolutions": _convolutions(work)}
    model = build(get_preset(work.name), **options)
    optimizer = reference_optimizer(reference_schedule(2.5e-5, total_steps=100, steps_per_epoch=10))
    shapes = _variable_shapes(model, work.side)
    state = jax.eval_shape(lambda variables: create_state(variables, optimizer, seed=0, average=False), shapes)
    return make_train_step(model, optimizer, Objective(segmentation="reference"), ema_decay=0.0), state


def random_network(work: Workload) -> tuple[nn.Module, Any, Preset]:
    """A network with random weights, norms folded, in the precision of the work; its variables, its preset."""
    preset = get_preset(work.name)
    folded, variables = fold_norms(preset, random_variables(_variable_shapes(build(preset), work.side)))
    own = {} if work.engine != "jax" else {"dtype": jnp.dtype(work.dtype), "convolutions": _convolutions(work)}
    return build(folded, **own), jax.device_put(variables), folded


def _inference(work: Workload) -> Compiled:
    model, variables, _ = random_network(work)
    variables = jax.device_put(with_transformed_kernels(model, variables))
    images = random_batch(work.batch, work.side)["image"]
    plain, _, _ = random_network(_counted(work))
    flops = _flops(jax.jit(functools.partial(_answers, plain)).lower(variables, images))
    halved = halves_pay(images.shape, jax.default_backend())  # as a diagnosis does it
    parts = [jax.device_put(part) for part in np.split(images, 1 + halved)]
    compiled = jax.jit(functools.partial(_answers, model)).lower(variables, parts[0]).compile()

    def run() -> None:
        if halved:
            run_together(lambda half: compiled(variables, parts[half]))
        else:
            jax.block_until_ready(compiled(variables, parts[0]))

    return Compiled(run, flops, _least_bytes(compiled) + sum(part.nbytes for part in parts[1:]))


def _training(work: Workload) -> Compiled:
    step, shapes = training_step(work)
    batch = jax.device_put(random_batch(work.batch, work.side))
    compiled = step.lower(shapes, batch).compile()
    held = [random_state(shapes)]

    def run() -> None:
        held[0], _ = compiled(held[0], batch)
        jax.block_until_ready(held[0])

    return Compiled(run, _flops(training_step(_counted(work))[0].lower(shapes, batch)), _least_bytes(compiled))


def _convolutions(work: Workload) -> str:
    return convolutions_for(jax.default_backend()) if work.convolutions == "auto" else work.convolutions


def _counted(work: Workload) -> Workload:
    """The work as its operations are counted: whoever does with fewer of them is faster, not idler."""
    return dataclasses.replace(work, convolutions="xla")


def _answers(model: nn.Module, variables: Mapping[str, Any], images: jax.Array) -> list[jax.Array]:
    """What a diagnosis reads of the output; the compiler leaves the rest out."""
    output: ModelOutput = model.apply(variables, images, train=False)  # type: ignore[assignment]
    return [value for value in (infection_probability(output), lesion_probability(output)) if value is not None]


def _variable_shapes(model: nn.Module, side: int) -> Any:
    return jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, side, side, 3))))


def _flops(lowered: jax.stages.Lowered) -> float:
    return float((lowered.cost_analysis() or {})["flops"])


def _least_bytes(compiled: jax.stages.Compiled) -> int:
    plan: Any = compiled.memory_analysis()
    return int(plan.argument_size_in_bytes + plan.output_size_in_bytes)
