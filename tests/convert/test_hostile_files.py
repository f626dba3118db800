"""Files made to run code or to eat the machine: read_pth executes nothing and ends in a one-line InputError."""

import copyreg
import pickle
import random
import struct
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pth_writer as pth
import pytest
from pth_writer import Call, Name, Opcodes, Persistent, State

from jcs_jax.convert import pth_archives
from jcs_jax.convert.pth import read_pth
from jcs_jax.errors import InputError

GOLDENS = Path(__file__).parents[1] / "goldens" / "pth"
EXTENSION = 0xC0


def _text(value):
    return pth.encode(value)


def _python(marker):
    return f"open({str(marker)!r}, 'w').close()"


def _shell(marker):
    return f"touch {marker}"


def _getattr(module, *names):
    node = Call(Name("builtins", "__import__"), (module,))
    for name in names:
        node = Call(Name("builtins", "getattr"), (node, name))
    return node


# Payloads that create the marker under Python's own pickle.loads: the tests prove that first.
LIVE = {
    "os.system": lambda m: Call(Name("os", "system"), (_shell(m),)),
    "posix.system": lambda m: Call(Name("posix", "system"), (_shell(m),)),
    "subprocess": lambda m: Call(Name("subprocess", "check_call"), (["touch", str(m)],)),
    "builtins.eval": lambda m: Call(Name("builtins", "eval"), (_python(m),)),
    "builtins.exec": lambda m: Call(Name("builtins", "exec"), (_python(m),)),
    "python 2 eval": lambda m: Call(Name("__builtin__", "eval"), (_python(m),)),
    "import and getattr": lambda m: Call(_getattr("os", "system"), (_shell(m),)),
    "functools.partial": lambda m: Call(Call(Name("functools", "partial"), (Name("os", "system"),)), (_shell(m),)),
    "operator.methodcaller": lambda m: Call(
        Call(Name("operator", "methodcaller"), ("system", _shell(m))), (Call(Name("builtins", "__import__"), ("os",)),)
    ),
    "operator.attrgetter": lambda m: Call(
        Call(Call(Name("operator", "attrgetter"), ("system",)), (Call(Name("builtins", "__import__"), ("os",)),)),
        (_shell(m),),
    ),
    "pathlib": lambda m: Call(
        Call(Name("builtins", "getattr"), (Call(Name("pathlib", "Path"), (str(m),)), "touch")), ()
    ),
    "runpy": lambda m: Call(Name("runpy", "_run_code"), (_python(m), {"__name__": "x"})),
    "timeit": lambda m: Call(Name("timeit", "timeit"), (_python(m), "pass", Name("time", "perf_counter"), 1)),
    "code hidden in a list": lambda m: [1, [Call(Name("os", "system"), (_shell(m),))]],
    "code in a discarded value": lambda m: Opcodes(_text(Call(Name("os", "system"), (_shell(m),))) + b"0" + b"}"),
    "dotted name": lambda m: Opcodes(
        b"\x80\x04" + _text("shutil") + _text("os.system") + b"\x93" + _text((_shell(m),)) + b"R"
    ),
    "dotted name of an allowed module": lambda m: Opcodes(
        b"\x80\x04" + _text("collections") + _text("_sys.modules") + b"\x93"
        b"0" + _text(Call(Name("os", "system"), (_shell(m),)))
    ),
    "INST": lambda m: Opcodes(b"(" + _text(_shell(m)) + b"ios\nsystem\n"),
    "OBJ": lambda m: Opcodes(b"(" + _text(Name("os", "system")) + _text(_shell(m)) + b"o"),
    "NEWOBJ": lambda m: Opcodes(
        _text(Name("builtins", "map"))
        + _text((Name("os", "system"), [_shell(m)]))
        + b"\x81"
        + b"0"
        + _text(Call(Name("os", "system"), (_shell(m),)))
    ),
    "NEWOBJ_EX": lambda m: Opcodes(
        b"\x80\x04"
        + _text(Name("pathlib", "Path"))
        + _text((str(m),))
        + b"}\x92"
        + b"0"
        + _text(Call(Name("os", "system"), (_shell(m),)))
    ),
    "EXT1": lambda m: Opcodes(b"\x82" + bytes([EXTENSION]) + _text((_shell(m),)) + b"R"),
    "EXT2": lambda m: Opcodes(b"\x83" + struct.pack("<H", EXTENSION) + _text((_shell(m),)) + b"R"),
    "EXT4": lambda m: Opcodes(b"\x84" + struct.pack("<i", EXTENSION) + _text((_shell(m),)) + b"R"),
    "BUILD": lambda m: State(Call(Name("os", "system"), (_shell(m),)), None),
    "class state": lambda m: State(
        Opcodes(_text(Name("argparse", "Namespace")) + b")\x81"), {"x": Call(Name("os", "system"), (_shell(m),))}
    ),
    "code as a key": lambda m: {Call(Name("os", "system"), (_shell(m),)): 1},
}
# Pickles that need PyTorch or NumPy to do harm, or that aim at the reader itself.
AIMED = {
    "torch module": Call(Name("torch.nn.modules.container", "Sequential"), ()),
    "nested torch.load": Call(Name("torch.storage", "_load_from_bytes"), ("x",)),
    "torch.hub": Call(Name("torch.hub", "load"), ("x", "y")),
    "private import": Call(Name("torch._utils", "_import_dotted_name"), ("os.system",)),
    "globals of an allowed function": Name("torch._utils", "_rebuild_tensor_v2.__globals__"),
    "class of an allowed function": Name("collections", "OrderedDict.__class__"),
    "numpy reconstruct": Call(Name("numpy.core.multiarray", "_reconstruct"), (Name("numpy", "ndarray"), (0,), "b")),
    "numpy scalar": Call(Name("numpy._core.multiarray", "scalar"), ("O", "x")),
    "codecs": Call(Name("_codecs", "encode"), ("x", "latin1")),
    "codecs decode": Call(Name("codecs", "decode"), ("x", "rot13")),
    "set": Call(Name("__builtin__", "set"), ([1],)),
    "type": Call(Name("builtins", "type"), ("X", (), {})),
    "object": Opcodes(_text(Name("builtins", "object")) + b")\x81"),
    "copyreg": Call(Name("copyreg", "_reconstructor"), (Name("builtins", "object"), None, None)),
    "empty name": Name("", ""),
    "name of our own reader": Name("jcs_jax.convert.pth", "read_pth"),
    "call of a text": Call("os.system", ("x",)),
    "call of a tensor type": Call(Name("torch", "FloatStorage"), ()),
    "call of an element type": Call(Name("torch", "float32"), ()),
    "call without a tuple": Call(Name("collections", "OrderedDict"), []),
    "call with a wrong number of arguments": Call(Name("torch._utils", "_rebuild_tensor"), (1,)),
    "state of a name": State(Name("collections", "OrderedDict"), {"__setitem__": 1}),
    "state of a text": State("x", {"__class__": 1}),
    "state of a plain dict": State(Opcodes(b"}"), {"__class__": 1}),
    "state of a list": State([], (None, {"append": 1})),
    "new object of an allowed name": Opcodes(_text(Name("collections", "OrderedDict")) + b")\x81"),
    "instance of an allowed name": Opcodes(b"(icollections\nOrderedDict\n"),
    "ordered dict of a text": Call(Name("collections", "OrderedDict"), ("ab",)),
    "ordered dict of triples": Call(Name("collections", "OrderedDict"), ([[1, 2, 3]],)),
    "text persistent id": Opcodes(b"P0\n"),
    "number as persistent id": Persistent(3),
    "module as persistent id": Persistent(("module", "cls", "file.py", "import os")),
    "storage of an unknown type": Persistent(("storage", "FloatStorage", "0", "cpu", 4)),
    "storage of a call's type": Persistent(("storage", Name("collections", "OrderedDict"), "0", "cpu", 4)),
    "storage with a number as key": Persistent(("storage", Name("torch", "FloatStorage"), 0, "cpu", 4)),
    "storage with too many parts": Persistent(("storage", Name("torch", "FloatStorage"), "0", "cpu", 4, None, None)),
    "storage described in two ways": [pth.storage("0", "FloatStorage", 4), pth.storage("0", "LongStorage", 2)],
    "quantised storage": pth.storage("0", "QInt8Storage", 4),
    "code as a storage": pth.tensor(Call(Name("os", "system"), ("x",)), (1,), (1,)),
    "code in a persistent id": Persistent(Call(Name("os", "system"), ("x",))),
    "parameter of a text": Call(Name("torch._utils", "_rebuild_parameter"), ("x", True, None)),
    "parameter with code as state": Call(
        Name("torch._utils", "_rebuild_parameter_with_state"),
        (pth.vector("zip"), True, None, Call(Name("os", "system"), ("x",))),
    ),
    "tensor with code as hooks": Call(
        Name("torch._utils", "_rebuild_tensor_v2"),
        (pth.storage("0", "FloatStorage", 4), 0, (4,), (1,), False, Call(Name("os", "system"), ("x",))),
    ),
    "items on a text": Opcodes(_text("x") + _text("a") + b"Ns"),
    "item on a list": Opcodes(b"]K\x00Ns"),
    "items without a mark": Opcodes(b"}u"),
    "appends to a dict": Opcodes(b"}(Ne"),
    "odd number of items": Opcodes(b"}(" + _text("a") + b"u"),
    "memo that was never set": Opcodes(b"h\x09"),
    "popping an empty stack": Opcodes(b"0000"),
    "unknown opcode": Opcodes(b"\xff"),
    "decimal number of a million digits": Opcodes(b"L" + b"9" * 1_000_000 + b"L\n"),
    "number of 2 GiB": Opcodes(b"\x8b" + struct.pack("<i", 2**31 - 1)),
    "text of 4 GiB": Opcodes(b"X" + struct.pack("<I", 2**32 - 1) + b"x"),
    "bytes of 4 GiB": Opcodes(b"B" + struct.pack("<I", 2**32 - 1) + b"x"),
    "text of 2**63 bytes": Opcodes(b"\x8d" + struct.pack("<Q", 2**63) + b"x"),
    "frame of 2**62 bytes": Opcodes(b"\x95" + struct.pack("<Q", 2**62) + b"N"),
    "text that is not UTF-8": Opcodes(b"X\x02\x00\x00\x00\xff\xff"),
    "lists 200,000 deep": Opcodes(b"]" * 200_000 + b"a" * 199_999),
    "tuples 200,000 deep": Opcodes(b")" + b"\x85" * 200_000),
    "a key nested 200,000 deep": Opcodes(b"})" + b"\x85" * 200_000 + b"Ns"),
    "a key of 2**60 parts": Opcodes(b"})" + b"q\x00h\x00\x86" * 60 + b"Ns"),
    "lists of 2**60 parts": Opcodes(b"](K\x01eq\x00" + b"0](h\x00h\x00eq\x00" * 60),
    "200,000 marks": Opcodes(b"(" * 200_000),
    "state dict that holds itself": Opcodes(b"}q\x00" + _text("model") + b"h\x00s"),
}


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "executed"


@pytest.fixture(autouse=True)
def extension():
    """An extension code that means os.system, as a program might have registered it."""
    copyreg.add_extension("os", "system", EXTENSION)
    yield
    copyreg.remove_extension("os", "system", EXTENSION)


def _refusal(path):
    """The message, after checking that it is one line and names the file."""
    with pytest.raises(InputError) as caught:
        read_pth(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 400
    return message


@pytest.mark.parametrize("name", LIVE)
def test_nothing_in_a_hostile_file_is_executed(path, layout, marker, name):
    pickled = pth.dumps({"a": LIVE[name](marker)})
    pickle.loads(pickled)
    assert marker.exists(), "the payload should work under plain pickle, or this test proves nothing"
    marker.unlink()
    assert "refused to" in _refusal(pth.write(path, layout, pickled))
    assert not marker.exists()


@pytest.mark.parametrize("name", ["os.system", "builtins.exec", "EXT1", "INST"])
@pytest.mark.parametrize("part", ["magic", "version", "system", "keys"])
def test_the_small_pickles_around_the_legacy_object_execute_nothing_either(path, marker, name, part):
    parts = {
        "magic": b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
        "version": b"\x80\x02M\xe9\x03.",
        "system": b"\x80\x02}.",
        "object": pth.dumps({"a": pth.vector("legacy")}),
        "keys": pth.dumps(["0"]),
    }
    parts[part] = pth.dumps(LIVE[name](marker))
    path.write_bytes(b"".join(parts.values()) + struct.pack("<q4f", 4, 1, 2, 3, 4))
    assert "refused to" in _refusal(path)
    assert not marker.exists()


@pytest.mark.parametrize("name", AIMED)
def test_a_pickle_aimed_at_the_reader_is_refused(path, layout, name):
    modules = set(sys.modules)
    _refusal(pth.write(path, layout, {"a": AIMED[name]}))
    assert set(sys.modules) == modules


@pytest.mark.parametrize("name", AIMED)
def test_a_pickle_aimed_at_the_reader_is_refused_as_the_whole_object(path, layout, name):
    _refusal(pth.write(path, layout, AIMED[name]))


def test_the_state_of_an_ordered_dict_changes_nothing(path, layout):
    class_before = dict(vars(__import__("collections").OrderedDict))
    state = (None, {"__class__": 1, "__setitem__": 2, "__dict__": 3})
    arrays = read_pth(pth.write(path, layout, State({"a": pth.vector(layout)}, state)))
    assert arrays["a"].tolist() == [0, 1, 2, 3]
    assert dict(vars(__import__("collections").OrderedDict)) == class_before


def test_a_huge_memo_index_takes_no_memory(path, layout):
    put = b"r" + struct.pack("<I", 2**32 - 1)
    pickled = pth.dumps(Opcodes(b"}" + put + _text("a") + _text(pth.vector(layout)) + b"s"))
    tracemalloc.start()
    try:
        assert list(read_pth(pth.write(path, layout, pickled))) == ["a"]
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_control_characters_of_a_file_stay_out_of_the_message(path, layout):
    value = Opcodes(b"\x80\x04" + _text("a\nb") + _text("\x1b[31mevil\r") + b"\x93")
    message = _refusal(pth.write(path, layout, value))
    assert "\x1b" not in message
    assert "\r" not in message


SIZES = {
    "past the end": (4, (5,), (1,), 0),
    "offset past the end": (4, (1,), (1,), 4),
    "stride past the end": (4, (2, 2), (3, 1), 0),
    "2**40 elements": (4, (1 << 40,), (1,), 0),
    "2**40 expanded elements": (4, (1 << 40,), (0,), 0),
    "2**66 elements": (4, (1 << 33, 1 << 33), (0, 0), 0),
    "a product that wraps to zero": (4, (1 << 32, 1 << 32), (0, 0), 0),
    "2**80 empty rows": (4, (0, 1 << 40, 1 << 40), (0, 0, 0), 0),
    "an axis of 2**64": (4, (1 << 64,), (0,), 0),
    "a stride of 2**64": (4, (2,), (1 << 64,), 0),
    "a stride that wraps": (4, (2,), (1 << 62,), 0),
    "an offset of 2**62": (4, (1,), (1,), 1 << 62),
    "1 GiB expanded": (4, (1 << 28,), (0,), 0),
    "40 axes": (4, (1,) * 40, (1,) * 40, 0),
    "more strides than axes": (4, (2,), (1, 1), 0),
    "negative size": (4, (-1,), (1,), 0),
    "negative stride": (4, (2,), (-1,), 3),
    "negative offset": (4, (2,), (1,), -1),
    "negative storage": (-4, (2,), (1,), 0),
    "storage of 2**60": (1 << 60, (2,), (1,), 0),
    "storage of 2**2000": (1 << 2000, (2,), (1,), 0),
    "larger storage than there is": (5, (2,), (1,), 0),
    "smaller storage than there is": (3, (2,), (1,), 0),
    "true as a size": (4, (True,), (1,), 0),
    "a fraction as a size": (4, (2.0,), (1,), 0),
    "a text as a size": (4, "22", (1,), 0),
    "nothing as an offset": (4, (2,), (1,), None),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_shape_that_lies_is_refused_before_memory_is_taken(path, layout, name):
    numel, size, stride, offset = SIZES[name]
    held = pth.storage("0", "FloatStorage", numel, legacy=layout == "legacy")
    pth.write(path, layout, {"a": pth.tensor(held, size, stride, offset=offset)})
    tracemalloc.start()
    try:
        _refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_many_expanded_tensors_are_counted_together(path, layout):
    held = pth.storage("0", "FloatStorage", 4, legacy=layout == "legacy")
    value = {f"a{i}": pth.tensor(held, (1 << 22,), (0,)) for i in range(5)}
    assert "would take" in _refusal(pth.write(path, layout, value))


def test_a_pending_negation_is_refused(path, layout):
    held = pth.storage("0", "FloatStorage", 4, legacy=layout == "legacy")
    arguments = (held, 0, (4,), (1,), False, pth.ORDERED_DICT, {"neg": True})
    value = {"a": Call(Name("torch._utils", "_rebuild_tensor_v2"), arguments)}
    assert "negation" in _refusal(pth.write(path, layout, value))


@pytest.mark.parametrize("bomb", ["data/0", "data.pkl", "byteorder"])
def test_a_compressed_member_is_not_inflated(path, bomb):
    members = {"data.pkl": pth.dumps({"a": pth.vector("zip")}), "byteorder": b"little", "data/0": bytes(16)}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            large = b"\0" * (64 << 20) if name == bomb else data
            kind = zipfile.ZIP_DEFLATED if name == bomb else zipfile.ZIP_STORED
            archive.writestr(f"archive/{name}", large, kind)
    tracemalloc.start()
    try:
        assert f"member {bomb} is compressed" in _refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_a_pickle_over_the_bound_is_refused(path):
    pth.write(path, "zip", b"N" * (5 << 20))
    assert "member data.pkl has" in _refusal(path)
    pth.write(path, "legacy", b"N" * (5 << 20))
    assert "over 4 MiB" in _refusal(path)


def test_a_list_of_members_over_the_bound_is_refused(path, monkeypatch):
    pth.write(path, "zip", {"a": pth.vector("zip")}, {str(i): np.zeros(1) for i in range(100)})
    monkeypatch.setattr(pth_archives, "MAX_PICKLE_BYTES", 2000)
    assert "a list of members of" in _refusal(path)


def _patched_directory(path, field, value, *, member=b"archive/data/0"):
    """Overwrites a field of a member's entry in the list at the zip's end (offsets of the zip format)."""
    data = bytearray(path.read_bytes())
    start = data.rindex(member) - 46
    assert data[start : start + 4] == b"PK\x01\x02"
    width = {"flags": (8, "<H"), "method": (10, "<H"), "compressed": (20, "<I"), "size": (24, "<I")}
    offset, code = (42, "<I") if field == "position" else width[field]
    struct.pack_into(code, data, start + offset, value)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("field", "value"),
    [("flags", 1), ("method", 8), ("method", 99), ("size", 2**31), ("compressed", 2**31), ("position", 2**31)],
)
def test_a_zip_whose_list_lies_is_refused(path, field, value):
    pth.write(path, "zip", {"a": pth.vector("zip")})
    _patched_directory(path, field, value)
    _refusal(path)


def test_a_member_longer_than_the_file_is_refused_before_memory_is_taken(path):
    pth.write(path, "zip", {"a": pth.tensor(pth.storage("0", "FloatStorage", 2**29), (1,), (1,))})
    _patched_directory(path, "size", 2**31)
    _patched_directory(path, "compressed", 2**31)
    assert "longer than the file" in _refusal(path)


def test_a_wrong_check_sum_is_refused(path):
    data = pth.write(path, "zip", {"a": pth.vector("zip")}).read_bytes()
    changed = data.replace(np.arange(4, dtype=np.float32).tobytes(), np.ones(4, np.float32).tobytes())
    path.write_bytes(changed)
    assert "CRC" in _refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(path):
    pth.write(path, "zip", {"a": pth.vector("zip")})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", bytes(16))
    assert "two members" in _refusal(path)


@pytest.mark.parametrize("name", ["../../data.pkl", "/data.pkl", "data.pkl", "a/b/data.pkl"])
def test_a_zip_without_pytorchs_folder_is_refused_and_nothing_is_extracted(path, name):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, pth.dumps({}))
    before = sorted(path.parent.parent.rglob("*"))
    _refusal(path)
    assert sorted(path.parent.parent.rglob("*")) == before


def test_two_pickles_in_one_zip_are_refused(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pth.dumps({}))
        archive.writestr("b/data.pkl", pth.dumps({}))
    assert "not one of PyTorch's" in _refusal(path)


def test_a_torchscript_program_is_named(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"model/{name}", b"")
    assert "TorchScript" in _refusal(path)


def test_a_storage_that_climbs_out_of_the_archive_is_missing(path):
    pth.write(path, "zip", {"a": pth.vector("zip", key="../../../../etc/passwd")})
    assert "is missing" in _refusal(path)


@pytest.mark.parametrize("keys", [3, "0", [0], ["0", "0"], ["1"], ["0", "1"], [["0"]], []])
def test_a_wrong_list_of_legacy_storages_is_refused(path, keys):
    raw = struct.pack("<q4f", 4, 1, 2, 3, 4)
    path.write_bytes(pth.LEGACY_START + pth.dumps({"a": pth.vector("legacy")}) + pth.dumps(keys) + raw * 2)
    _refusal(path)


@pytest.mark.parametrize("count", [-1, 0, 3, 5, 2**62, -(2**63)])
def test_a_wrong_legacy_count_is_refused(path, count):
    raw = struct.pack("<q4f", count, 1, 2, 3, 4)
    path.write_bytes(pth.LEGACY_START + pth.dumps({"a": pth.vector("legacy")}) + pth.dumps(["0"]) + raw)
    _refusal(path)


@pytest.mark.parametrize("start", [pth.dumps(1), pth.dumps({"a": 1}), pth.LEGACY_START[:15] + pth.dumps(7)])
def test_a_plain_pickle_is_not_a_weight_file(path, start):
    path.write_bytes(start + pth.LEGACY_START[15:])
    _refusal(path)


def test_every_file_cut_short_is_refused(path, layout):
    whole = pth.write(path, layout, {"a": pth.vector(layout), "b": [pth.vector(layout)]}).read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        _refusal(path)


@pytest.mark.parametrize("stem", ["plain_zip", "plain_legacy", "training_checkpoint_zip", "training_checkpoint_legacy"])
def test_a_golden_file_cut_short_is_refused(path, stem):
    whole = (GOLDENS / f"{stem}.pth").read_bytes()
    for length in range(0, len(whole), 41):
        path.write_bytes(whole[:length])
        _refusal(path)


@pytest.mark.parametrize("stem", ["plain_zip", "plain_legacy", "views_of_one_storage_zip", "parameters_legacy"])
def test_a_file_with_changed_bytes_reads_or_is_refused(path, stem):
    whole = (GOLDENS / f"{stem}.pth").read_bytes()
    choice = random.Random(0)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(choice.choice([1, 1, 3])):
            data[choice.randrange(len(data))] = choice.randrange(256)
        path.write_bytes(data)
        _reads_or_refuses(path)


def test_random_instructions_read_or_are_refused(path, layout, marker):
    parts = [_text(node) for node in (None, "a", 1, (), (4,), [], {}, pth.vector(layout), Name("os", "system"))]
    parts += [_text(LIVE["os.system"](marker)), *(bytes([code]) for code in b"()\x85tRQbsuea0}]q\x00h\x00\x8c\x93N2o")]
    choice = random.Random(1)
    for _ in range(500):
        code = b"".join(choice.choices(parts, k=choice.randrange(1, 12)))
        _reads_or_refuses(pth.write(path, layout, {"a": pth.vector(layout), "b": Opcodes(code)}))
    assert not marker.exists()


def _reads_or_refuses(path):
    try:
        arrays = read_pth(path)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert all(isinstance(array, np.ndarray) for array in arrays.values())
