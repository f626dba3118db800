"""Convolutions exported in Winograd's form."""

import jax
import numpy as np
import onnxruntime
import pytest

from jcs_jax.export.onnx_graph import Graph, Port
from jcs_jax.export.winograd import winograd, winograd_pays

pytestmark = pytest.mark.engines
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("sides", [(16, 16), (18, 27), (1, 5), (4, 3)])
@pytest.mark.parametrize("batch", [1, 3])
def test_it_gives_what_jax_gives(sides, batch):
    kernel = RNG.normal(size=(7, 5, 3, 3)).astype(np.float32)
    graph = Graph()
    name = winograd(graph, "x", kernel, sides)
    shapes = [("batch", channels, *sides) for channels in (5, 7)]
    model = graph.model([Port("x", shapes[0])], [(Port("y", shapes[1]), name)], told={})
    x = RNG.normal(size=(batch, 5, *sides)).astype(np.float32)
    (got,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    wanted = np.asarray(jax.lax.conv(x, kernel, (1, 1), ((1, 1), (1, 1))))
    np.testing.assert_allclose(got, wanted, atol=2e-5 * np.abs(wanted).max())


def test_it_is_chosen_for_many_channels_on_small_maps():
    assert winograd_pays((512, 256, 3, 3), (64, 32))
    assert not winograd_pays((512, 128, 3, 3), (64, 64))
    assert not winograd_pays((512, 256, 1, 1), (64, 64))
    assert not winograd_pays((512, 256, 3, 3), (128, 64))
    assert not winograd_pays((512, 256, 3, 3), (16, 16))


def test_it_takes_a_map_whose_size_depends_on_the_batch_as_it_is():
    (batch,) = jax.export.symbolic_shape("batch")
    assert not winograd_pays((512, 256, 3, 3), (64, batch))
