"""A pickle reader that can only build tensors' descriptions and plain containers.

A name in the pickle never becomes a Python object: it stays a pair of strings (`Global`), so nothing callable is ever
on the reader's stack. The few calls PyTorch's format needs are looked up in a table and only describe a tensor.

Python's own `pickle._Unpickler` (the readable one, in Python) does the reading. The C one can't be made safe: a
memo index of 2**32 makes it fill gigabytes, and a tuple nested a million deep used as a dict key ends the
process, because an opcode can't be overridden there.
"""

from __future__ import annotations

import collections
import io
import os
import pickle
import pickletools
import struct
from collections.abc import Callable
from typing import NoReturn

from jcs_jax.convert.torch_objects import (
    CALLS,
    ELEMENTS,
    STORAGES,
    Global,
    StorageRef,
    checked_count,
    checked_key,
    storage_view,
)
from jcs_jax.errors import InputError

MAX_PICKLE_BYTES = 4 << 20
"""Bound on the bytes of a file's pickles, storages apart: 25,000 tensors; the reference joint network has 1,183.

A pickle of this size that only builds empty dicts takes 0.4 GB for two seconds.
"""


def load(stream: io.BytesIO, path: str | os.PathLike[str]) -> tuple[object, dict[str, StorageRef]]:
    """Reads one pickle and leaves the stream behind it.

    Args:
      stream: at most MAX_PICKLE_BYTES in memory, standing at the start of a pickle.
      path: the file, for messages.

    Returns:
      The object, in which tensors are TensorRef and PyTorch's other names are Global or None, and every
      storage that the pickle names, by its key.

    Raises:
      InputError: the pickle is damaged, or asks for anything but tensors and plain containers.
    """
    unpickler = _TensorUnpickler(stream, path)
    try:
        return unpickler.load(), unpickler.storages
    except InputError:
        raise
    except EOFError as error:
        raise InputError(
            f"{path}: its pickle ends early or is over {MAX_PICKLE_BYTES >> 20} MiB; get the file again"
        ) from error
    except (
        pickle.UnpicklingError,
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
        struct.error,
    ) as error:
        reason = shorten(str(error)) or type(error).__name__
        raise InputError(f"{path}: its pickle can't be read ({reason}); get the file again or save it anew") from error


def shorten(text: str) -> str:
    """Text from a file as one printable line of at most 100 characters."""
    line = text.encode("unicode_escape", "backslashreplace").decode("ascii")
    return line if len(line) <= 100 else f"{line[:97]}..."


class _TensorUnpickler(pickle._Unpickler):
    """Python's reader with names kept as text, calls looked up in a table, and unused opcodes refused."""

    stack: list[object]
    pop_mark: Callable[[], list[object]]

    def __init__(self, stream: io.BytesIO, path: str | os.PathLike[str]) -> None:
        super().__init__(stream, fix_imports=False, encoding="utf-8", errors="strict")
        self.storages: dict[str, StorageRef] = {}
        self._path = path

    def find_class(self, module: str, name: str) -> Global:
        """Returns the name as text when the format needs it."""
        found = Global(module, name)
        if found in CALLS or found in STORAGES or found in ELEMENTS:
            return found
        self._refuse(f"load {shorten(f'{module}.{name}')}")

    def persistent_load(self, pid: object) -> StorageRef:
        """Describes the storage of a persistent id: (storage, type, key, location, numel[, view])."""
        match pid:
            case ("storage", Global() as kind, str() as key, str(), numel, *view) if len(view) <= 1:
                pass
            case _:
                raise pickle.UnpicklingError("a persistent id that is not a storage")
        if kind not in STORAGES:
            raise pickle.UnpicklingError(f"{kind.name} is not a storage type")
        whole = StorageRef(key, STORAGES[kind], checked_count(numel), 0, checked_count(numel))
        if self.storages.setdefault(key, whole) != whole:
            raise pickle.UnpicklingError(f"storage {key!r} is described in two ways")
        return storage_view(whole, view[0]) if view and view[0] is not None else whole

    def assign(self, target: object, items: list[object]) -> None:
        """Adds key, value, key, value ... to a dict; a tuple as key could nest too deep to be hashed."""
        if not isinstance(target, dict):
            raise pickle.UnpicklingError("items are set on something that is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def call(self, name: object, arguments: object) -> object:
        """Does one of the calls of the format."""
        if not isinstance(name, Global) or name not in CALLS or not isinstance(arguments, tuple):
            self._refuse("make a call that is no part of PyTorch's tensor format")
        return CALLS[name](*arguments)

    def set_state(self, target: object) -> None:
        """Ignores an OrderedDict's attributes (a state dict's version notes) and refuses all others."""
        if not isinstance(target, collections.OrderedDict):
            self._refuse("set the attributes of an object")

    def refuse_opcode(self, code: int) -> NoReturn:
        """Ends the reading at an opcode that no tensor file needs."""
        if code not in _OPCODE_NAMES:
            raise pickle.UnpicklingError(f"byte {code} is no opcode")
        self._refuse(f"run the pickle instruction {_OPCODE_NAMES[code]}")

    def _refuse(self, action: str) -> NoReturn:
        raise InputError(
            f"{self._path}: refused to {action}: only tensors and plain containers are read, never a whole"
            " model or code; if you trust the file, open it with PyTorch and torch.save(model.state_dict(), ...)"
        )


def _opcode_table() -> dict[int, Callable[..., None]]:
    """What each opcode does: the data and memo opcodes are Python's own, four are ours, the rest refuse."""

    def refusal(code: int) -> Callable[..., None]:
        return lambda reader: reader.refuse_opcode(code)

    table: dict[int, Callable[..., None]] = {code: refusal(code) for code in range(256)}
    for opcode in _PLAIN_OPCODES:
        table[opcode[0]] = pickle._Unpickler.dispatch[opcode[0]]
    table[pickle.SETITEM[0]] = _load_set_item
    table[pickle.SETITEMS[0]] = _load_set_items
    table[pickle.REDUCE[0]] = _load_call
    table[pickle.BUILD[0]] = _load_state
    return table


_OPCODE_NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
_PLAIN_OPCODES = (
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.POP, pickle.POP_MARK),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BINFLOAT),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1),
    *(pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINSTRING, pickle.SHORT_BINSTRING),
    *(pickle.BINBYTES, pickle.SHORT_BINBYTES),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.BINPERSID),
)


def _load_set_item(reader: _TensorUnpickler) -> None:
    value = reader.stack.pop()
    key = reader.stack.pop()
    reader.assign(reader.stack[-1], [key, value])


def _load_set_items(reader: _TensorUnpickler) -> None:
    items = reader.pop_mark()
    reader.assign(reader.stack[-1], items)


def _load_call(reader: _TensorUnpickler) -> None:
    arguments = reader.stack.pop()
    reader.stack[-1] = reader.call(reader.stack[-1], arguments)


def _load_state(reader: _TensorUnpickler) -> None:
    reader.stack.pop()
    reader.set_state(reader.stack[-1])


_TensorUnpickler.dispatch = _opcode_table()
