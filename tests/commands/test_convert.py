"""`jcs convert` writes a model folder, or one line and nothing."""

import jax
import numpy as np
import pytest
import reference
from safetensors.numpy import save_file

import jcs_jax
from jcs_jax import cli
from jcs_jax.checkpoints import describe_model, require_free
from jcs_jax.errors import InputError


@pytest.fixture
def segmenter_file(tmp_path):
    path = tmp_path / "single model.safetensors"
    save_file(reference.weights("segmenter"), path)
    return path


def test_a_converted_network_computes_what_the_reference_computes(segmenter_file, tmp_path, capsys):
    output = tmp_path / "segmenter"
    assert cli.main(["convert", str(segmenter_file), "--model", "segmenter", "--output", str(output)]) == 0
    assert "wrote" in capsys.readouterr().out
    model, variables, preset = jcs_jax.load_model(output)
    expected = reference.nhwc(reference.load("segmenter")["72x56/logits"])
    logits = jax.jit(model.apply)(variables, reference.images(72, 56)).side_logits
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())
    _, provenance = describe_model(output)
    assert provenance["converted_from"] == "single model.safetensors"
    assert preset.name == "segmenter"


def test_weights_of_another_network_end_in_one_line_and_nothing_written(segmenter_file, tmp_path, capsys):
    output = tmp_path / "joint"
    assert cli.main(["convert", str(segmenter_file), "--model", "joint", "--output", str(output)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "single model.safetensors" in error
    assert "- fuse.cat_modules.0.bn.running_mean: missing" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["single model.safetensors"]


@pytest.mark.parametrize("flags", [[], ["--overwrite"]])
def test_a_folder_that_is_no_model_is_kept_even_with_overwrite(segmenter_file, tmp_path, capsys, flags):
    output = tmp_path / "there"
    output.mkdir()
    (output / "precious").touch()
    assert cli.main(["convert", str(segmenter_file), "--model", "segmenter", "--output", str(output), *flags]) == 2
    assert "is no model folder" in capsys.readouterr().err
    assert (output / "precious").exists()


def test_a_model_folder_is_replaced_only_with_overwrite(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.json").touch()
    with pytest.raises(InputError, match="add --overwrite"):
        require_free(folder, overwrite=False)
    require_free(folder, overwrite=True)


def test_one_encoder_of_a_file_leaves_the_rest_untrained(tmp_path):
    encoder = {
        name.removeprefix("vgg16."): array
        for name, array in reference.weights("segmenter").items()
        if name.startswith("vgg16.")
    }
    file, output = tmp_path / "vgg.safetensors", tmp_path / "model"
    save_file(encoder, file)
    arguments = ["convert", str(file), "--model", "segmenter", "--part", "vgg", "--output", str(output)]
    assert cli.main(arguments) == 0
    _, variables, preset = jcs_jax.load_model(output)
    bias = variables["params"]["vgg"]["conv1_1"]["conv"]["bias"]
    np.testing.assert_array_equal(bias, encoder["conv1_1.conv.bias"])
    assert "the rest untrained" in preset.source


@pytest.mark.parametrize("arguments", [[], ["a.pth"], ["missing.pth", "--model", "joint", "--output", "x"]])
def test_bad_usage_ends_with_code_2(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["convert", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
