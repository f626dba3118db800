"""One example as a network's arrays: framed, augmented, normalised, with flags for what is known of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jcs_jax.data.examples import UNKNOWN_LABEL, Example, example_intensity
from jcs_jax.data.transforms import Augmentation, flip_some, with_opacities
from jcs_jax.errors import InputError
from jcs_jax.preprocessing import Preprocessing, resize_array

Batch = dict[str, np.ndarray]
MASK_AREA_THRESHOLD = 0.5
_STRIDES = {"vgg_features": 1, "res2net_features": 2}


def framed(example: Example, preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray | None]:
    """Slice and mask of an example in the network's frame: (h, w) float32 in [0, 1], and 0/1 or None."""
    image = preprocessing.picture(example_intensity(example, preprocessing))
    if example.mask is None:
        return image, None
    mask = preprocessing.frame(np.asarray(example.mask, np.float32))
    return image, (mask > MASK_AREA_THRESHOLD).astype(np.float32)


def network_example(
    example: Example,
    preprocessing: Preprocessing,
    augment: Augmentation,
    rng: np.random.Generator,
    stage_features: Sequence[str] = (),
    *,
    opacities_of: Example | None = None,
) -> Batch:
    """One example as the network's arrays, without the batch axis.

    Args:
      example: slice or stored stage features, mask, label.
      preprocessing: of the network.
      augment: applied in the network's frame, before normalisation; of stored features, only its flips.
      rng: for `augment`.
      stage_features: which stored features the network takes; read where the example has no picture.
      opacities_of: another example, whose opacities are laid over a picture before it is augmented. Where they show,
        the label is that example's.

    Returns:
      image (h, w, 3) float32, normalised, or the stage features, uint8 as stored; mask (h, w) float32 in
      {0, 1}, zeros where there is none; label float32, 1 for infected; valid, mask_valid, label_valid float32,
      1 where there is something to learn from.

    Raises:
      InputError: the stored features are not those of this network's input.
    """
    label = example.label
    if example.image is None:
        arrays, mask = _stored(example, preprocessing, stage_features)
        arrays, mask = flip_some(arrays, mask, augment.flips, rng)
    else:
        image, mask = framed(example, preprocessing)
        if opacities_of is not None:
            own = image
            image, mask = with_opacities(own, mask, *framed(opacities_of, preprocessing), rng)
            label = label if np.array_equal(image, own) else opacities_of.label
        image, mask = augment(image, mask, rng)
        arrays = {"image": preprocessing.normalize(image)}
    return {
        **arrays,
        "mask": np.zeros(preprocessing.size, np.float32) if mask is None else np.asarray(mask, np.float32),
        "label": np.asarray(max(label, 0), np.float32),
        "valid": np.asarray(1, np.float32),
        "mask_valid": np.asarray(mask is not None, np.float32),
        "label_valid": np.asarray(label != UNKNOWN_LABEL, np.float32),
    }


def stack(examples: Sequence[Batch]) -> Batch:
    """Adds the batch axis."""
    return {key: np.stack([example[key] for example in examples]) for key in examples[0]}


def _stored(example: Example, preprocessing: Preprocessing, names: Sequence[str]) -> tuple[Batch, np.ndarray | None]:
    """The stage features that a network takes, and the mask at the size of its input."""
    stored = example.stage_features
    arrays = {}
    for name in names:
        if name not in stored:
            raise InputError(
                f"{example.name}: has no stored {name}, which this network starts from; choose another one"
            )
        expected = tuple(-(-side // _STRIDES[name]) for side in preprocessing.size)
        found = stored[name].shape[:2]
        if found != expected:
            side = found[0] * _STRIDES[name]
            raise InputError(
                f"{example.name}: {name} of {found[0]} x {found[1]} come from pictures of {side} pixels, and the "
                f"network takes {preprocessing.size[0]}; set config.model.input_size={side}"
            )
        arrays[name] = stored[name]
    if not arrays:
        raise InputError(f"{example.name}: has stored features but no picture, and this network takes pictures only")
    if example.mask is None:
        return arrays, None
    mask = resize_array(np.asarray(example.mask, np.float32), preprocessing.size, antialias=True)
    return arrays, (mask > MASK_AREA_THRESHOLD).astype(np.float32)
