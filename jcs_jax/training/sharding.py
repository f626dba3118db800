"""Which device holds what: a mesh of `data` x `fsdp` devices, on one machine or on many."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jcs_jax.errors import InputError

DATA, FSDP = "data", "fsdp"
SMALLEST_SHARDED = 64  # values; sending a smaller array around costs more than it saves


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a run is laid out over devices.

    Every device of the mesh computes its own rows of the batch. The devices along `fsdp` share parameters, their
    average and the optimiser's state too, which are gathered for the computation; those along `data` repeat them.

    Attributes:
      mesh: of the axes `data` and `fsdp`.
    """

    mesh: Mesh

    @property
    def devices(self) -> int:
        """How many devices share a batch."""
        return self.mesh.size

    @property
    def shards_state(self) -> bool:
        """Whether parameters and optimiser state are shared out."""
        return self.mesh.shape[FSDP] > 1

    @property
    def replicated(self) -> NamedSharding:
        """The same on every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def rows(self) -> NamedSharding:
        """The first axis shared out over all devices."""
        return NamedSharding(self.mesh, PartitionSpec((DATA, FSDP)))

    def state_shardings(self, state: Any) -> Any:
        """The sharding of every array of a state, by its shape alone.

        An array of at least 64 values is cut along its longest axis that the `fsdp` devices can share, the last of
        equal ones; others are repeated.

        Args:
          state: arrays, or their shapes.
        """
        return jax.tree.map(lambda leaf: NamedSharding(self.mesh, self._spec(leaf.shape)), state)

    def _spec(self, shape: Sequence[int]) -> PartitionSpec:
        shares = self.mesh.shape[FSDP]
        fitting = [axis for axis, size in enumerate(shape) if size % shares == 0]
        if shares == 1 or not fitting or math.prod(shape) < SMALLEST_SHARDED:
            return PartitionSpec()
        longest = max(fitting, key=lambda axis: (shape[axis], axis))
        return PartitionSpec(*(FSDP if axis == longest else None for axis in range(len(shape))))

    def constrain_state(self, tree: Any) -> Any:
        """Inside a jitted function: every array kept as `state_shardings` says."""
        return jax.lax.with_sharding_constraint(tree, self.state_shardings(tree))

    def constrain_batch(self, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Inside a jitted function: every array with its rows shared out as `place_batch` does."""
        return {key: jax.lax.with_sharding_constraint(value, self.rows) for key, value in batch.items()}

    def replicate(self, tree: Any) -> Any:
        """Inside a jitted function: every array whole on every device."""
        return jax.lax.with_sharding_constraint(tree, jax.tree.map(lambda _: self.replicated, tree))

    def described(self, shapes: Any) -> Any:
        """Shapes and types with the shardings they are to have, for reading a saved state."""
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            shapes,
            self.state_shardings(shapes),
        )

    def on_each_device(self, function: Callable[..., Any], state: Any, batch: Any, *others: Any) -> Any:
        """Inside a jitted function: what `function` makes of a whole state and of each device's rows of a batch.

        Args:
          function: of the state, the rows and the others; what it gives must be the same on every device.
          state: whole on every device.
          batch: arrays with a row per slice.
          others: whole on every device.
        """
        whole = PartitionSpec()
        specs = (whole, self.rows.spec, *(whole for _ in others))
        mapped = jax.shard_map(function, mesh=self.mesh, in_specs=specs, out_specs=whole, check_vma=False)
        return mapped(state, batch, *others)

    def device_index(self) -> jax.Array:
        """Inside `on_each_device`: the device's number, in the order of the rows."""
        return jax.lax.axis_index((DATA, FSDP))

    def tree_sum(self, tree: Any) -> Any:
        """Inside `on_each_device`: the sum over the first axis and all devices, the same bits on each.

        The order is that of a balanced binary tree over the rows of all devices. It does not depend on how many
        devices share them, as long as rows and devices are powers of two.
        """
        return jax.tree.map(self._tree_sum, tree)

    def _tree_sum(self, values: jax.Array) -> jax.Array:
        while len(values) > 1:
            values = values[0::2] + values[1::2]
        total = values[0]
        for axis in (FSDP, DATA):
            size = self.mesh.shape[axis]
            for distance in (1 << bit for bit in range(size.bit_length() - 1)):
                partners = [(device, device ^ distance) for device in range(size)]
                total = total + jax.lax.ppermute(total, axis, partners)
        return total

    def gather(self, tree: Any) -> Any:
        """NumPy arrays, whole, on every process."""
        return jax.device_get(jax.jit(self.replicate)(tree))

    def place_state(self, state: Any) -> Any:
        """Shares out a state that every process holds whole."""
        return jax.tree.map(_from_whole, state, self.state_shardings(state))

    def place_batch(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """Makes the global batch of the rows that this process has read."""
        return {key: jax.make_array_from_process_local_data(self.rows, value) for key, value in batch.items()}


def make_layout(data: int, fsdp: int) -> Layout:
    """Lays the devices of all processes out.

    Args:
      data: devices that share a batch and repeat the parameters; -1 takes all that `fsdp` leaves.
      fsdp: devices that share parameters and optimiser state.

    Returns:
      The layout; devices of one process are neighbours, so that it reads consecutive rows of a batch.

    Raises:
      InputError: the mesh does not have as many places as there are devices, or not every process has as many.
    """
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    held = collections.Counter(device.process_index for device in devices).values()
    if min(held) != max(held):
        raise InputError(f"one process has {min(held)} devices and another {max(held)}; give every process as many")
    if data == -1 and len(devices) % fsdp == 0:
        data = len(devices) // fsdp
    if data * fsdp != len(devices):
        wanted = f"config.mesh.fsdp={fsdp}" if data == -1 else f"config.mesh.data={data} x config.mesh.fsdp={fsdp}"
        raise InputError(f"{wanted} does not fit the {len(devices)} devices there are; make their product that number")
    grid = np.asarray(devices).reshape(data, fsdp)
    return Layout(Mesh(grid, (DATA, FSDP), axis_types=(jax.sharding.AxisType.Auto,) * 2))


def check_divisible(batch_size: int, accumulate: int, layout: Layout, *, fixed_parts: int = 0) -> None:
    """Refuses a batch that the devices can't share evenly, or whose fixed parts they can't.

    Raises:
      InputError: with a batch size that they can.
    """
    if fixed_parts:
        _check_fixed_parts(fixed_parts, accumulate, layout)
    unit = fixed_parts or accumulate * layout.devices
    if batch_size % unit:
        parts = f" in {fixed_parts or accumulate} parts" if max(fixed_parts, accumulate) > 1 else ""
        nearest = max(unit, round(batch_size / unit) * unit)
        raise InputError(
            f"config.batch_size={batch_size} can't be shared by {layout.devices} devices{parts}; "
            f"choose a multiple of {unit}, such as {nearest}"
        )


def _check_fixed_parts(parts: int, accumulate: int, layout: Layout) -> None:
    if parts & (parts - 1):
        raise InputError(f"config.fixed_parts={parts} has no balanced sum; choose a power of two, or 0 for none")
    if parts % layout.devices:
        raise InputError(
            f"config.fixed_parts={parts} can't be shared by {layout.devices} devices; their number must be a power of "
            "two and no larger; or set config.fixed_parts=0, and the run depends on the devices' rounding"
        )
    if accumulate > 1:
        raise InputError("config.fixed_parts computes a batch in parts already; set config.accumulate=1")


def _from_whole(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """An array of a sharding, each process taking its share of its own copy; never the buffer it was given."""
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: np.array(whole[index]))
