"""`from_torch` takes exactly the release's parameters, or says what is too much and what is missing."""

import re

import jax
import numpy as np
import pytest
import reference

from jcs_jax.convert import from_torch
from jcs_jax.convert.assign import expected_shapes
from jcs_jax.errors import InputError
from jcs_jax.models import create_model, get_preset, preset_names

RELEASED = ("classifier", "segmenter", "joint")  # the architectures whose PyTorch names the release gives


@pytest.fixture
def arrays():
    return reference.weights("segmenter")


def test_every_parameter_of_the_release_is_used_exactly_once(arrays):
    variables = from_torch("segmenter", arrays)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == sum(a.size for a in arrays.values())
    kernel = variables["params"]["vgg"]["conv1_2"]["conv"]["kernel"]
    np.testing.assert_array_equal(kernel[1, 2, 3, 4], arrays["vgg16.conv1_2.conv.weight"][4, 3, 1, 2])
    dense = variables["params"]["enhanced"]["gam5"]["attention"]["reduce"]["kernel"]
    np.testing.assert_array_equal(dense, arrays["gpd.se_block.linear1.weight"].T)


def test_one_missing_key_is_refused_and_named(arrays):
    del arrays["fpn.fuse.3.se1.linear1.bias"]
    with pytest.raises(ValueError, match=re.escape("- fpn.fuse.3.se1.linear1.bias: missing")):
        from_torch("segmenter", arrays)


def test_one_extra_key_is_refused_and_named(arrays):
    arrays["cls6.weight"] = np.zeros((1, 512, 1, 1), np.float32)
    with pytest.raises(ValueError, match=re.escape("+ cls6.weight: (1, 512, 1, 1)")):
        from_torch("segmenter", arrays)


def test_one_wrong_shape_is_refused_with_both_shapes(arrays):
    arrays["cls1.weight"] = np.zeros((2, 64, 1, 1), np.float32)
    with pytest.raises(ValueError, match=re.escape("- cls1.weight: shape (2, 64, 1, 1), expected (1, 64, 1, 1)")):
        from_torch("segmenter", arrays)


@pytest.mark.parametrize("dtype", ["int64", "complex64", "bool", "object"])
def test_a_dtype_that_is_not_floating_is_refused(arrays, dtype):
    arrays["cls1.bias"] = arrays["cls1.bias"].astype(dtype)
    with pytest.raises(ValueError, match=re.escape(f"- cls1.bias: dtype {dtype}, expected a floating type")):
        from_torch("segmenter", arrays)


def test_a_classifiers_file_is_refused_for_the_joint_network():
    with pytest.raises(ValueError, match="not those of the network 'joint'") as refused:
        from_torch("joint", reference.weights("classifier"))
    assert "- fuse.cat_modules.0.bn.running_mean: missing" in str(refused.value)
    assert "+ conv1.0.weight: (32, 3, 3, 3) isn't part of" in str(refused.value)
    assert "+ ... and" in str(refused.value)


def test_half_precision_is_widened_exactly(arrays):
    arrays["cls1.bias"] = np.array([0.1], np.float16)
    bias = from_torch("segmenter", arrays)["params"]["heads"]["side1"]["bias"]
    assert bias.dtype == np.float32
    assert bias[0] == np.float16(0.1)


def test_num_batches_tracked_may_be_there_or_not():
    arrays = reference.weights("joint")
    counters = [name for name in arrays if name.endswith("num_batches_tracked")]
    assert counters
    without = {name: array for name, array in arrays.items() if name not in counters}
    jax.tree.map(np.testing.assert_array_equal, from_torch("joint", without), from_torch("joint", arrays))


@pytest.mark.parametrize("naming", ["release", "torchvision"])
def test_imagenet_vgg_loads_by_naming_the_part(naming):
    prefix = "vgg16."
    whole = reference.weights("segmenter")
    encoder = {name.removeprefix(prefix): array for name, array in whole.items() if name.startswith(prefix)}
    if naming == "torchvision":
        encoder = _renumbered(encoder)
        encoder["classifier.0.weight"] = np.zeros((4, 4), np.float32)
    part = from_torch("joint", encoder, part="vgg")
    expected = from_torch("segmenter", whole)
    assert set(part["params"]) == {"vgg"}
    jax.tree.map(np.testing.assert_array_equal, part["params"]["vgg"], expected["params"]["vgg"])
    jax.tree.map(np.testing.assert_array_equal, part["batch_stats"]["vgg"], expected["batch_stats"]["vgg"])


def test_imagenet_res2net_loads_by_naming_the_part_without_its_thousand_classes():
    encoder = reference.weights("classifier")
    encoder |= {"fc.weight": np.zeros((1000, 2048), np.float32), "fc.bias": np.zeros(1000, np.float32)}
    part = from_torch("classifier", encoder, part="res2net", norm="batch")
    assert set(part["params"]) == {"res2net"}
    norm = part["params"]["res2net"]["stem3_norm"]
    np.testing.assert_array_equal(norm["scale"], encoder["bn1.weight"])


def test_a_part_with_a_parameter_too_few_is_refused():
    encoder = reference.weights("classifier")
    del encoder["layer4.2.bn3.running_var"]
    with pytest.raises(InputError, match=re.escape("- layer4.2.bn3.running_var: missing")):
        from_torch("joint", encoder, part="res2net")


def test_a_network_without_that_part_says_so():
    with pytest.raises(InputError, match="segmenter has no part 'res2net'"):
        from_torch("segmenter", {}, part="res2net")


@pytest.mark.parametrize("name", [name for name in preset_names() if get_preset(name).architecture in RELEASED])
def test_a_file_written_with_our_names_comes_back_whole(name):
    overrides = {"norm": "frozen"}
    model = create_model(name, **overrides)
    from jcs_jax.convert import torch_names
    from jcs_jax.convert.assign import LEAVES

    names, arrays = torch_names.module_names(model), {}
    for index, (path, leaf) in enumerate(expected_shapes(model).items()):
        _, module, last = re.fullmatch(r"([^/]+)/(.*)/([^/]+)", path).groups()
        ours = np.full(leaf.shape, index, np.float32)
        theirs = ours.transpose(3, 2, 0, 1) if ours.ndim == 4 else ours.T
        arrays[f"{names[module]}.{LEAVES[last]}"] = theirs
    assert len(arrays) == len(expected_shapes(model)), "two variables share one PyTorch name"
    values = {leaf.flat[0] for leaf in jax.tree.leaves(from_torch(name, arrays, **overrides))}
    assert values == set(range(len(arrays)))


def _renumbered(encoder):
    """The release's VGG names in torchvision's numbering, counted layer by layer, pools and ReLUs included."""
    result, number = {}, 0
    for stage, depth in enumerate((2, 2, 3, 3, 3), start=1):
        for index in range(1, depth + 1):
            for offset, module in ((0, "conv"), (1, "bn")):
                start = f"conv{stage}_{index}.{module}."
                for name, array in encoder.items():
                    if name.startswith(start):
                        result[f"features.{number + offset}.{name.removeprefix(start)}"] = array
            number += 3
        number += 1
    return result
