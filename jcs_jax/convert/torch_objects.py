"""What the names in PyTorch's tensor pickles stand for: storages, element types and the few calls that make a tensor.

Nothing here holds data or runs code of a file: a call gives a description (`TensorRef`) of where a tensor's
elements lie, which `tensor_views` checks and reads later.
"""

from __future__ import annotations

import collections
import dataclasses
import pickle
from collections.abc import Callable
from typing import NamedTuple

ELEMENT_CODES = {
    "float64": "f8",
    "float32": "f4",
    "float16": "f2",
    "bfloat16": "u2",
    "complex128": "c16",
    "complex64": "c8",
    "int64": "i8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint64": "u8",
    "uint32": "u4",
    "uint16": "u2",
    "uint8": "u1",
    "bool": "u1",
}
"""PyTorch's element types and the NumPy code of their bits; bfloat16 and bool are decoded from there."""

_STORAGE_NAMES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_SCALARS = (str, int, float, bool, type(None))


class Global(NamedTuple):
    """A name in a pickle, kept as text and never imported."""

    module: str
    name: str


STORAGES = (
    {Global("torch", name): element for name, element in _STORAGE_NAMES.items()}
    | {Global("torch.cuda", name): element for name, element in _STORAGE_NAMES.items()}
    | {Global("torch.storage", "UntypedStorage"): "bytes", Global("torch", "UntypedStorage"): "bytes"}
)
ELEMENTS = {Global("torch", name): name for name in ELEMENT_CODES}


@dataclasses.dataclass(frozen=True, slots=True)
class StorageRef:
    """A run of elements in the file, or a view of one (only the oldest legacy files have views).

    Attributes:
      key: the storage's name in the file.
      element: a key of ELEMENT_CODES, or "bytes" for a storage without a type.
      numel: the whole storage's number of elements.
      start: first element of the view, 0 for the whole storage.
      stop: one past the view's last element, `numel` for the whole storage.
    """

    key: str
    element: str
    numel: int
    start: int
    stop: int

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return itemsize(self.element)


@dataclasses.dataclass(frozen=True, slots=True)
class TensorRef:
    """Where a tensor's elements lie.

    Attributes:
      storage: the storage or storage view the tensor looks into.
      element: a key of ELEMENT_CODES.
      offset: the first element, counted from the storage's start.
      size: the shape.
      stride: elements between neighbours along each axis.
    """

    storage: StorageRef
    element: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def itemsize(element: str) -> int:
    """Bytes of one element of a type of ELEMENT_CODES, or of "bytes"."""
    return 1 if element == "bytes" else int(ELEMENT_CODES[element][1:])


def checked_count(value: object) -> int:
    """A size, stride or offset: a whole number from 0 to 2**63 - 1."""
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise pickle.UnpicklingError("a size, stride or offset is not a whole number from 0 to 2**63 - 1")
    return value


def _counts(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple | list):
        raise pickle.UnpicklingError("a size or stride is not a tuple")
    return tuple(checked_count(value) for value in values)


def checked_key(value: object) -> str | int | float | bool | None:
    """A dict key that takes no time to hash: text, a number, a truth value or None."""
    if not isinstance(value, _SCALARS):
        raise pickle.UnpicklingError(f"a dict key of type {type(value).__name__}")
    return value


def storage_view(whole: StorageRef, view: object) -> StorageRef:
    """The part of a storage that an old file's view metadata (key, offset, size) names."""
    if not isinstance(view, tuple) or len(view) != 3:
        raise pickle.UnpicklingError("a storage's view is not (key, offset, size)")
    start = checked_count(view[1])
    stop = start + checked_count(view[2])
    if stop > whole.numel:
        raise pickle.UnpicklingError(f"a view reaches past the end of storage {whole.key!r}")
    return dataclasses.replace(whole, start=start, stop=stop)


def _ordered_dict(items: object = ()) -> collections.OrderedDict[object, object]:
    """An empty OrderedDict, or, as Python 2 wrote it, one from [[key, value], ...]."""
    result: collections.OrderedDict[object, object] = collections.OrderedDict()
    if not isinstance(items, tuple | list):
        raise pickle.UnpicklingError("an OrderedDict of something that is not a list")
    for item in items:
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise pickle.UnpicklingError("an OrderedDict's item is not a pair")
        result[checked_key(item[0])] = item[1]
    return result


def _tensor(storage: object, offset: object, size: object, stride: object, *rest: object) -> TensorRef:
    """Describes a tensor; rest: requires_grad, hooks and, in new files, pending operations."""
    if not isinstance(storage, StorageRef):
        raise pickle.UnpicklingError("a tensor without a storage")
    if len(rest) > 2 and rest[2] is not None:
        raise pickle.UnpicklingError("a tensor with a pending conjugate or negation, resolve it before saving")
    element = "uint8" if storage.element == "bytes" else storage.element
    return TensorRef(storage, element, checked_count(offset), _counts(size), _counts(stride))


def _typed_tensor(*arguments: object) -> TensorRef:
    """Describes a tensor from the arguments of `_tensor` with the element type before the pending operations."""
    storage, offset, size, stride, grad, hooks, kind, *rest = arguments
    tensor = _tensor(storage, offset, size, stride, grad, hooks, *rest)
    if not isinstance(kind, Global) or kind not in ELEMENTS:
        raise pickle.UnpicklingError("a tensor of an unknown element type")
    element = ELEMENTS[kind]
    if tensor.storage.element not in ("bytes", element):
        raise pickle.UnpicklingError(f"a {element} tensor in a {tensor.storage.element} storage")
    return dataclasses.replace(tensor, element=element)


def _parameter(data: object, *_rest: object) -> TensorRef:
    """A parameter is its tensor."""
    if not isinstance(data, TensorRef):
        raise pickle.UnpicklingError("a parameter without a tensor")
    return data


def _nothing(*_arguments: object) -> None:
    """A device: where a tensor lay doesn't matter here."""


CALLS: dict[Global, Callable[..., object]] = {
    Global("collections", "OrderedDict"): _ordered_dict,
    Global("torch", "Size"): _counts,
    Global("torch", "device"): _nothing,
    Global("torch._utils", "_rebuild_tensor"): _tensor,
    Global("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Global("torch._utils", "_rebuild_tensor_v3"): _typed_tensor,
    Global("torch._utils", "_rebuild_parameter"): _parameter,
    Global("torch._utils", "_rebuild_parameter_with_state"): _parameter,
}
