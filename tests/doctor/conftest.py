"""Phantoms as training data, whole and broken on purpose."""

import dataclasses
import functools

import numpy as np
import pytest

from jcs_datasets.chest_phantom.phantom import make_patient
from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.doctor.checkup import check_data
from jcs_jax.doctor.sample import look_at_data
from jcs_jax.preprocessing import Preprocessing
from jcs_jax.training.config import default_config
from jcs_jax.training.setup import preset_of

SIDE = 96


@functools.cache
def _patients():
    return [(number, make_patient(number, infected=number % 2 == 0, slices=2, size=SIDE)) for number in range(16)]


@pytest.fixture
def healthy():
    """32 slices of 16 patients in HU, 8 of them infected; infected slices have a lesion."""
    return [
        Example(
            hounsfield.astype(np.float32),
            encoding="hounsfield",
            mask=lesions,
            label=int(lesions.any()),
            patient=f"p{number}",
            name=f"p{number}-{row}",
        )
        for number, patient in _patients()
        for row, (hounsfield, lesions) in enumerate(zip(patient.hounsfield, patient.lesions, strict=True))
    ]


@pytest.fixture
def grey(healthy):
    """The same as display intensities in [0, 1]."""
    window = Preprocessing((SIDE, SIDE)).window
    return [dataclasses.replace(one, image=window(one.image), encoding="intensity") for one in healthy]


@pytest.fixture
def config():
    """The tiny joint network with a class head; nothing is to be compiled with it."""
    options = default_config()
    options.batch_size = 4
    return options


@pytest.fixture
def checked(config):
    """Function of examples that gives what the checks of the data found, beside `ok`: check -> (severity, sentence)."""

    def check(examples, **info):
        source = ArraySource(examples, info)
        preset, records = preset_of(config), list(source.records())
        sample = look_at_data(source, records, preset.preprocessing)
        return check_data(config, preset, sample, records, source)

    return check


@pytest.fixture
def faults(checked):
    """Function of examples that gives the checks that found a fault, and how bad it is."""

    def find(examples, **info):
        return {finding.check: finding.severity for finding in checked(examples, **info) if finding.severity != "ok"}

    return find
