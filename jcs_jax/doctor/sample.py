"""Everything the checks of the data need to know of the sampled slices, gathered in one pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from jaxtyping import Float
from numpy import ndarray

from jcs_jax.data.examples import SliceRecord, Source
from jcs_jax.doctor.alignment import AlignmentLook, look_at_alignment
from jcs_jax.doctor.features import FeatureLook, look_at_features
from jcs_jax.doctor.hounsfield import hounsfield_histogram
from jcs_jax.doctor.masks import MaskLook, look_at_mask
from jcs_jax.doctor.pictures import PictureLook, look_at_picture
from jcs_jax.doctor.slices import choose_slices, sampled_slices
from jcs_jax.doctor.trivial import TrivialLook, look_at_baselines
from jcs_jax.preprocessing import Preprocessing

_Look = TypeVar("_Look")


class Member(NamedTuple):
    """One slice of the sample.

    Attributes:
      position: in the source.
      label: as stored.
      mask: as it was looked at; None where there is none.
    """

    position: int
    label: int
    mask: MaskLook | None


@dataclasses.dataclass
class Sample:
    """The sampled slices as each check looks at them.

    Attributes:
      members: all of them.
      pictures: of those that have one.
      histograms: of those that hold HU.
      alignments: of those with picture and lesion.
      baselines: of those with a picture.
      features: of those with stored features, one for each encoder.
    """

    members: list[Member] = dataclasses.field(default_factory=list)
    pictures: list[PictureLook] = dataclasses.field(default_factory=list)
    histograms: list[Float[ndarray, " bins"]] = dataclasses.field(default_factory=list)
    alignments: list[AlignmentLook] = dataclasses.field(default_factory=list)
    baselines: list[TrivialLook] = dataclasses.field(default_factory=list)
    features: list[FeatureLook] = dataclasses.field(default_factory=list)

    @property
    def masks(self) -> list[MaskLook]:
        """Of those that have one."""
        return [member.mask for member in self.members if member.mask is not None]


def look_at_data(source: Source, records: Sequence[SliceRecord], preprocessing: Preprocessing) -> Sample:
    """Reads a sample of the slices once.

    Args:
      source: the training data.
      records: of all its slices.
      preprocessing: of the network.

    Raises:
      InputError: a slice that can't be decoded.
    """
    sample = Sample()
    positions = choose_slices(records)
    for position, item in zip(positions, sampled_slices(source, preprocessing, positions), strict=True):
        sample.members.append(Member(position, item.example.label, look_at_mask(item.example, preprocessing)))
        sample.features += look_at_features(item.example)
        _keep(sample.pictures, look_at_picture(item))
        _keep(sample.histograms, hounsfield_histogram(item.example))
        _keep(sample.alignments, look_at_alignment(item))
        _keep(sample.baselines, look_at_baselines(item))
    return sample


def _keep(looks: list[_Look], look: _Look | None) -> None:
    if look is not None:
        looks.append(look)
