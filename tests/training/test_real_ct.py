"""A short run of the COVID-19-CT100 config on real CT must beat what needs no network."""

import json
import os
from pathlib import Path

import pytest

from jcs_jax import cli

ROOT = Path(__file__).parents[2]
SOURCE = Path(os.environ.get("JCS_DATA", ROOT.parent / "shared" / "data")) / "covid19_ct100"
STEPS = 150


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections' way to load a config
@pytest.mark.skipif(not SOURCE.is_dir(), reason=f"no real CT in {SOURCE}; set JCS_DATA")
def test_a_short_run_on_real_ct_beats_the_lungs_and_the_brightness(tmp_path):
    data, workdir = tmp_path / "data", tmp_path / "run"
    assert cli.main(["prepare", "covid19_ct100", "--source", str(SOURCE), "--data_dir", str(data)]) == 0
    config = ROOT / "experiments" / "configs" / "segmentation.py"
    overrides = [f"--config.data.data_dir={data}", f"--config.steps={STEPS}"]
    assert cli.main(["train", f"--config={config}", f"--workdir={workdir}", *overrides]) == 0
    metrics = json.loads((workdir / "evaluation" / "metrics.json").read_text())["summary"]
    dice = metrics["segmentation"]["dice"]
    assert dice["n"] == 10
    assert dice["value"] > 0.5
    assert dice["value"] > metrics["baseline_all_lung"]["dice"]["value"]
    assert dice["value"] > metrics["baseline_brightness_in_lungs"]["dice"]["value"]
