"""Work that is timed: what is compiled, how often it is run, and how its operations are counted."""

import jax
import numpy as np
import pytest

from jcs_jax.benchmark.engine_workload import compile_for_engine
from jcs_jax.benchmark.limits import measure_limits
from jcs_jax.benchmark.workload import Workload, compile_workload
from jcs_jax.models.presets import get_preset


@pytest.mark.parametrize("task", ["inference", "training"])
def test_work_runs_again_and_again_and_counts_what_it_does(task):
    compiled = compile_workload(Workload("classifier_tiny", task, 32))
    for _ in range(3):  # a step's donated state is replaced
        compiled.run()
    twice = compile_workload(Workload("classifier_tiny", task, 32, batch=2))
    assert 1.5 < twice.flops / compiled.flops < 2.1
    parameters = 4 * 0.13e6
    assert compiled.least_bytes > (1 if task == "inference" else 3) * 0.9 * parameters


@pytest.mark.parametrize("task", ["inference", pytest.param("training", marks=pytest.mark.slow)])
def test_operations_are_counted_as_a_direct_convolution_has_them(task):
    fast, direct = (compile_workload(Workload("unet_tiny", task, 64, convolutions=form)) for form in ("cpu", "xla"))
    fast.run()
    assert fast.flops == direct.flops


def test_a_segmenting_network_answers_with_its_mask_only():
    compiled = compile_workload(Workload("segmenter_tiny", size=32))
    compiled.run()
    assert compiled.least_bytes < 4 * 1.5e6  # parameters, picture and one map


@pytest.mark.engines
def test_an_engine_does_the_same_work():
    work = Workload("joint_tiny", size=32, batch=2, engine="onnxruntime")
    compiled = compile_for_engine(work)
    compiled.run()
    own = compile_workload(Workload("joint_tiny", size=32, batch=2))
    assert compiled.flops == pytest.approx(own.flops, rel=0.1)
    assert compiled.least_bytes == pytest.approx(own.least_bytes, rel=0.2)


def test_an_unknown_size_is_the_networks_own():
    assert Workload("classifier").side == get_preset("classifier").preprocessing.size[0] == 224


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"task": "play"}, "'play' is not known; choose inference or training"),
        ({"dtype": "int8"}, "'int8' is not known; choose float32 or bfloat16"),
        ({"engine": "torch"}, "'torch' is not known; choose jax or onnxruntime or openvino"),
        ({"convolutions": "fft"}, "'fft' is not known; choose auto or xla or cpu"),
        ({"engine": "openvino", "task": "training"}, "openvino computes inference only; training is JAX's"),
        ({"batch": 0}, "no batch of 0 images of side 0"),
        ({"size": -1}, "no batch of 1 images of side -1"),
    ],
)
def test_work_that_is_not_there_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        Workload("classifier_tiny", **given)


def test_the_limits_are_rates_of_this_machine():
    limits = measure_limits()
    assert limits.keys() == {"matmul_gflops", "copy_gb_s"}
    assert all(np.isfinite(rate) and rate > 0.1 for rate in limits.values())
    assert jax.default_backend() != "cpu" or limits["matmul_gflops"] < 1e5
