"""On real CT, healthy data have no error, and masks that lie wrongly on their slices are found."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from prepared import prepare

from jcs_jax import cli
from jcs_jax.data.examples import ArraySource
from jcs_jax.data.sources import open_source
from jcs_jax.doctor.alignment import check_alignment, look_at_alignment
from jcs_jax.doctor.slices import sampled_slices
from jcs_jax.preprocessing import Preprocessing

ROOT = Path(__file__).parents[2]
SOURCE = Path(os.environ.get("JCS_DATA", ROOT.parent / "shared" / "data")) / "covid19_ct100"
pytestmark = pytest.mark.skipif(not SOURCE.is_dir(), reason=f"no real CT in {SOURCE}; set JCS_DATA")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    assert prepare("covid19_ct100/clean", SOURCE, folder) == 0
    return folder


@pytest.mark.parametrize(
    ("change", "severity", "words"),
    [
        (np.copy, "ok", "as they lie"),
        (np.transpose, "error", "better when transposed"),
        (np.fliplr, "warning", "better when mirrored left to right"),
        (lambda mask: np.roll(mask, 50, axis=0), "warning", "to the top"),
    ],
)
def test_masks_of_ten_slices_are_judged_by_how_they_lie(data_dir, change, severity, words):
    source = open_source(data_dir, "covid19_ct100/clean", "fold2")
    slices = [dataclasses.replace(one, mask=change(one.mask)) for one in source]
    items = sampled_slices(ArraySource(slices), Preprocessing((192, 192)), range(len(slices)))
    (finding,) = check_alignment([look for look in map(look_at_alignment, items) if look is not None])
    assert finding.severity == severity
    assert words in finding.found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections' way to load a config
def test_the_run_on_real_ct_that_is_known_to_work_has_no_error(data_dir, tmp_path):
    config = ROOT / "experiments/configs/segmentation.py"
    flags = [f"--output={tmp_path}", f"--config.data.data_dir={data_dir}"]
    assert cli.main(["doctor", f"--config={config}", *flags]) == 0
    report = json.loads((tmp_path / "doctor.json").read_text())
    assert report["errors"] == 0
    learned = next(finding for finding in report["findings"] if finding["check"] == "learns a batch")
    assert learned["severity"] == "ok"
    assert learned["numbers"]["attempts"][0]["dice"] > 0.7
