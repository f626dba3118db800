"""An exported network says the same, whichever engine runs it, one slice or many, mirrored or not."""

import os
import subprocess
import sys
import types
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jcs_jax.checkpoints import save_model
from jcs_jax.diagnosis import engine_programs
from jcs_jax.diagnosis.engine_programs import EnginePrograms
from jcs_jax.diagnosis.programs import JaxPrograms
from jcs_jax.diagnosis.stages import Stages
from jcs_jax.engines import runtimes
from jcs_jax.engines.exported import read_export
from jcs_jax.engines.names import ENGINES
from jcs_jax.errors import InputError
from jcs_jax.export.folder import export_model
from jcs_jax.models.presets import build

pytestmark = pytest.mark.engines
SIDE = 48
PRESET = tiny.preset("joint", side=SIDE, classes=2, norm="none")
SLICES = list(np.random.default_rng(0).normal(size=(3, SIDE, SIDE, 3)).astype(np.float32))


@pytest.fixture(scope="module")
def network():
    model = build(PRESET)
    return model, tiny.random_variables(model, jnp.zeros((1, SIDE, SIDE, 3))), PRESET


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory) -> Path:
    parent = tmp_path_factory.mktemp("models")
    _, variables, preset = network
    export_model(save_model(parent / "model", variables, preset, provenance={}), parent / "exported")
    return parent / "exported"


def _answers(stages: Stages):
    screened = stages.screen(SLICES)
    return screened, stages.segment(SLICES, [one.trunk for one in screened])


@pytest.mark.parametrize("flip", [False, True])
def test_engines_say_what_jax_says(network, folder, flip):
    wanted, lesions = _answers(Stages(JaxPrograms(*network, flip=flip), PRESET, batch_size=4))
    for engine in ENGINES:
        programs = EnginePrograms(read_export(folder), engine, flip=flip)
        assert (programs.classifies, programs.segments) == (True, True)
        screened, got = _answers(Stages(programs, PRESET, batch_size=4))
        for one, other in zip(screened, wanted, strict=True):
            assert one.probability == pytest.approx(other.probability, abs=1e-5)
            np.testing.assert_allclose(one.activation, other.activation, atol=1e-4)
            np.testing.assert_allclose(one.features, other.features, atol=1e-5)
        np.testing.assert_allclose(got, lesions, atol=1e-4)


def test_slices_that_another_network_screened_are_segmented_too(network, folder):
    programs = EnginePrograms(read_export(folder), "onnxruntime")
    stages = Stages(programs, PRESET, batch_size=4)
    _, wanted = _answers(stages)
    np.testing.assert_allclose(stages.segment(SLICES, [{}] * 3), wanted, atol=1e-6)


def test_no_blank_slice_is_computed(folder, monkeypatch):
    programs = EnginePrograms(read_export(folder), "onnxruntime")
    seen = []
    monkeypatch.setattr(
        programs, "screen", lambda images, screen=programs.screen: seen.append(len(images)) or screen(images)
    )
    Stages(programs, PRESET, batch_size=8).screen(SLICES)
    assert seen == [3]


def test_an_answer_is_the_callers_own(network, folder):
    """An engine may write its next answer where the last one was."""
    programs = EnginePrograms(read_export(folder), "openvino")
    first = programs.screen(np.stack(SLICES[:1]))
    kept = first.probability.copy()
    programs.screen(np.stack(SLICES[1:2]))
    np.testing.assert_array_equal(first.probability, kept)


@pytest.mark.parametrize("engine", ENGINES)
def test_slices_abreast_answer_as_one_after_the_other_in_their_order(folder, engine):
    images = np.stack([SLICES[index % len(SLICES)] * (1 + index) for index in range(11)])
    alone, abreast = (EnginePrograms(read_export(folder), engine, batch_size=size) for size in (1, 11))
    told = abreast.screen(images)
    for index, image in enumerate(images):
        one = alone.screen(image[None])
        np.testing.assert_allclose(told.activation[index], one.activation[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            abreast.segment(images, told.trunk)[index], alone.segment(image[None], one.trunk)[0], atol=1e-5
        )


def test_a_stage_is_opened_when_its_first_slice_comes(folder, monkeypatch):
    opened = []
    honest = runtimes.open_program

    def spy(file, *arguments, **options):
        opened.append(file.stem)
        return honest(file, *arguments, **options)

    monkeypatch.setattr(engine_programs, "open_program", spy)
    programs = EnginePrograms(read_export(folder), "onnxruntime")
    told = programs.screen(np.stack(SLICES))
    programs.screen(np.stack(SLICES))
    assert opened == ["screen"]
    programs.segment(np.stack(SLICES), told.trunk)
    assert opened == ["screen", "segment"]


def test_only_small_slices_in_batches_go_abreast():
    assert runtimes.pays_abreast((224, 224), 8)
    assert not runtimes.pays_abreast((224, 224), 1)
    assert not runtimes.pays_abreast((512, 512), 8)


def test_bfloat16_is_nearly_the_same_or_refused(folder):
    import openvino

    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(InputError, match="this processor doesn't compute in bfloat16; leave --precision out"):
            EnginePrograms(read_export(folder), "openvino", "bfloat16")
        return
    exact, rough = (EnginePrograms(read_export(folder), "openvino", one) for one in ("float32", "bfloat16"))
    a, b = exact.screen(np.stack(SLICES)), rough.screen(np.stack(SLICES))
    assert 0 < np.abs(a.activation - b.activation).max() < 0.1 * np.abs(a.activation).max()


def test_onnxruntime_refuses_bfloat16(folder):
    with pytest.raises(InputError, match=r"computes in float32 only; for bfloat16 add --engine=openvino"):
        EnginePrograms(read_export(folder), "onnxruntime", "bfloat16")


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_that_is_not_installed_is_named_with_its_extra(folder, engine, monkeypatch):
    monkeypatch.setitem(sys.modules, engine, None)
    with pytest.raises(InputError, match=rf"{engine}: this engine is an extra; pip install 'jcs-jax\[{engine}\]'"):
        EnginePrograms(read_export(folder), engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_that_an_engine_cannot_read_is_named(tmp_path, engine):
    file = tmp_path / "screen.onnx"
    file.write_bytes(b"no network")
    with pytest.raises(InputError, match=rf"screen.onnx: {engine} can't run it \(.+\); export it again"):
        runtimes.open_program(file, engine, "float32")


def test_an_older_processor_is_told_from_a_broken_file(folder, monkeypatch):
    class Core:
        def get_property(self, *_):
            return ["FP32"]

    monkeypatch.setitem(sys.modules, "openvino", types.SimpleNamespace(Core=Core))
    with pytest.raises(InputError, match=r"^this processor doesn't compute in bfloat16"):
        EnginePrograms(read_export(folder), "openvino", "bfloat16")


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_is_reported_to_an_engines_makers(folder, engine, tmp_path):
    """No process is started, no file is left in the home folder, no connection is opened."""
    program = f"""
import os, socket
from pathlib import Path
def refuse(*_, **__): raise SystemExit("reported")
os.fork = socket.socket.connect = refuse
from jcs_jax.engines.runtimes import open_program
run = open_program(Path({str(folder / "screen.onnx")!r}), {engine!r}, "float32")
import numpy as np
assert set(run({{"images": np.zeros((1, {SIDE}, {SIDE}, 3), np.float32)}})) >= {{"probability", "activation"}}
"""
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())
