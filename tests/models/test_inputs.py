import numpy as np
import pytest

from jcs_jax.models.inputs import network_arguments
from jcs_jax.models.presets import get_preset
from jcs_jax.preprocessing import decode_features


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("classifier_tiny", ("res2net_features",)),
        ("segmenter", ("vgg_features",)),
        ("joint_small", ("vgg_features", "res2net_features")),
        ("unet", ()),
        ("res2net_segmenter_tiny", ("res2net_features",)),
    ],
)
def test_each_architecture_names_the_features_that_it_takes(name, features):
    assert get_preset(name).stage_features == features


def test_stored_features_are_decoded_at_the_networks_door():
    stored = np.array([[0, 1, 254, 255]], np.uint8)
    assert decode_features(stored).dtype == np.float32
    np.testing.assert_allclose(decode_features(stored), [[0, 0.05, 12.7, 12.75]], rtol=1e-6)
    arguments = network_arguments({"res2net_features": stored, "label": np.zeros(1)})
    assert arguments.keys() == {"res2net_features"}
    np.testing.assert_allclose(arguments["res2net_features"], stored / 20, rtol=1e-6)


def test_without_features_the_network_is_given_images():
    images = np.ones((1, 2, 2, 3), np.float32)
    assert network_arguments({"image": images})["images"] is images
