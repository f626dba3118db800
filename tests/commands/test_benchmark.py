"""`jcs benchmark`: lines of JSON for programs, lines for people, and bad usage."""

import json
import sys

import pytest

from jcs_jax.cli import main

QUICK = ["--name=classifier_tiny", "--size=32", "--rounds=1", "--patience=0"]


def test_every_setting_is_a_line_of_json_and_a_line_to_read(capsys):
    assert main(["benchmark", *QUICK, f"--against={sys.executable} -m jcs_jax.benchmark"]) == 0
    told = capsys.readouterr()
    (line,) = told.out.splitlines()
    result = json.loads(line)
    assert result["name"] == "classifier_tiny"
    assert (result["size"], result["batch"], result["task"]) == (32, 1, "inference")
    assert result["rounds"] == [result["seconds"]]
    assert result["ratio"] == pytest.approx(result["seconds"] / result["against"]["seconds"])
    assert 0 < result["share_of_limit"] < 1
    assert result["peak_rss_mb"] > 100
    assert "classifier_tiny inference, 32 x 32, batch 1, float32: " in told.err
    assert "; the other " in told.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--name=resnet"], "no network is called 'resnet'; choose of classifier, "),
        (["--size=big"], "--size=big: give whole numbers from 0 on"),
        (["--batch=0"], "--batch=0: give whole numbers from 1 on"),
        (["--name=segmenter_tiny", "--size=8"], "too small for a sixth stage: give images of at least 16 x 16"),
        (["now"], "'now' belongs to no flag"),
        (["--against=no/such/program"], "no/such/program: can't be started"),
    ],
)
def test_bad_usage_is_one_line(arguments, said, capsys):
    assert main(["benchmark", *QUICK, *arguments]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert not told.out
    assert told.err.count("\n") == 1
