"""Both stages of every network, as ONNX and as StableHLO, give what JAX gives."""

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
import tiny
from jax import export as jax_export

from jcs_jax.diagnosis.programs import Network
from jcs_jax.engines.exported import IMAGES, SCREEN, SEGMENT
from jcs_jax.export.programs import Stage, stages_of, to_onnx, to_stablehlo
from jcs_jax.models.presets import build, get_preset

pytestmark = pytest.mark.engines
SIDE = 48
CASES = {
    "classifier": ("classifier", {}),
    "segmenter": ("segmenter", {}),
    "joint": ("joint", {"classes": 2}),
    "joint without a class head": ("joint", {"classes": 0}),
    "joint without norms": ("joint", {"classes": 2, "norm": "none"}),
    "joint with the reference's norm": ("joint", {"norm": "frozen"}),
    "ensemble": ("joint", {"classes": 2, "members": 2}),
    "ensemble of classifiers": ("classifier", {"members": 3}),
    "unet": ("unet", {}),
    "res2net_segmenter": ("res2net_segmenter", {}),
}


def _stages(case: str) -> dict[str, Stage]:
    architecture, options = CASES[case]
    if architecture in tiny.OPTIONS:
        preset = tiny.preset(architecture, side=SIDE, **options)
    else:
        preset = get_preset(f"{architecture}_tiny")
    model = build(preset)
    variables = tiny.random_variables(model, jnp.zeros((1, SIDE, SIDE, 3)))
    network = Network.of(model, variables, preset)
    return stages_of(network, variables, (SIDE, SIDE))


def _inputs(stage: Stage, batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(batch)
    return {name: rng.normal(size=(batch, *one.shape[1:])).astype(np.float32) for name, one in stage.inputs.items()}


@pytest.mark.parametrize("case", CASES)
def test_as_onnx_a_network_says_what_it_says_in_jax(case):
    # Group norm by mean squares, as JAX computes it, loses digits where a group's maps hardly vary.
    tolerance = 2e-5 if "norm" in case else 2e-3
    for stage in _stages(case).values():
        session = onnxruntime.InferenceSession(to_onnx(stage))
        names = [one.name for one in session.get_outputs()]
        inputs = _inputs(stage, 3)
        wanted, got = tiny.quick_jit(stage)(inputs), session.run(names, inputs)
        alone = session.run(names, {name: value[:1] for name, value in inputs.items()})
        assert set(names) == set(wanted)
        for name, values, first in zip(names, got, alone, strict=True):
            np.testing.assert_allclose(values, wanted[name], rtol=1e-3, atol=tolerance, err_msg=name)
            np.testing.assert_allclose(first, values[:1], rtol=1e-4, atol=1e-4, err_msg=name)


def test_the_second_stage_goes_on_from_maps_of_the_first():
    stages = _stages("joint")
    trunk = [name for name in stages[SEGMENT].inputs if name != IMAGES]
    assert trunk == [f"trunk.stage{number}" for number in range(5)]
    assert stages[SEGMENT].inputs["trunk.stage0"].shape[1:] == (4, 24, 24)  # channels first
    first = tiny.quick_jit(stages[SCREEN])(_inputs(stages[SCREEN], 2))
    assert {name for name in first if name.startswith("trunk.")} == set(trunk)
    assert list(_stages("joint without a class head")[SEGMENT].inputs) == [IMAGES]


def test_norms_and_pools_are_single_operators():
    import onnx

    model = onnx.load_from_string(to_onnx(_stages("joint")[SEGMENT]))
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("MaxPool") == 4  # three of VGG, one before stage six; Res2Net's is in the first stage
    assert "InstanceNormalization" in operators
    assert "Sqrt" not in operators
    assert {one.key for one in model.metadata_props} == {"notice"}


def test_as_stablehlo_a_network_takes_any_batch():
    stage = _stages("classifier")[SCREEN]
    loaded = jax_export.deserialize(bytearray(to_stablehlo(stage)))
    assert loaded.platforms == ("cpu", "cuda", "tpu")
    for batch in (1, 3):
        inputs = _inputs(stage, batch)
        wanted = jax.jit(stage)(inputs)["probability"]
        np.testing.assert_allclose(loaded.call(inputs)["probability"], wanted, rtol=1e-4, atol=1e-6)


def test_tracing_for_onnx_leaves_nothing_behind():
    """JAX remembers what it traced: operators for ONNX must not be among it."""
    stage = _stages("classifier")[SCREEN]
    before = tiny.quick_jit(stage)(_inputs(stage, 2))["probability"]
    to_onnx(stage)
    np.testing.assert_array_equal(tiny.quick_jit(stage)(_inputs(stage, 2))["probability"], before)
    assert to_stablehlo(stage)
