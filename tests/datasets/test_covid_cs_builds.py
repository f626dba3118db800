"""Building COVID-CS in a process of its own: killed half-way, and at full size."""

import os
import signal
import subprocess
import sys
import time

import pytest
from covid_cs_files import FEATURES, slice_name, write_covid_cs

from jcs_jax import cli
from jcs_jax.data.sources import open_source, split_sizes
from jcs_jax.errors import InputError

PREPARE = "import sys; from jcs_jax import cli; sys.exit(cli.main(['prepare', 'covid_cs', *sys.argv[1:]]))"
DATASET = "covid_cs/segmentation_features"


def run(code, copy, data):
    return subprocess.Popen(
        [sys.executable, "-c", code, f"--source={copy}", f"--data_dir={data}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def with_links(folder, count):
    """A copy of `count` slices of which all but three are links to the first of them."""
    write_covid_cs(folder)
    lines = []
    for index in range(4, 4 + count):
        name = slice_name(index)
        for file in ("annotation/{}.png", f"{FEATURES}/{{}}.mat"):
            os.link(folder / file.format(slice_name(1)), folder / file.format(name))
        lines.append(f"image/{name}.png annotation/{name}.png\n")
    (folder / "train.txt").write_text("".join(lines))
    return folder


def test_a_build_killed_half_way_does_not_read_as_finished_and_can_be_run_again(tmp_path):
    copy, data = with_links(tmp_path / "COVID-CS", 30), tmp_path / "data"
    process = run(PREPARE, copy, data)
    try:
        end = time.monotonic() + 60
        while not any(file.stat().st_size for file in data.rglob("unnamed-train-*")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(InputError, match="the build was not finished; run `jcs prepare covid_cs"):
        open_source(data, DATASET, "train")
    write_covid_cs(tmp_path / "smaller")
    assert cli.main(["prepare", "covid_cs", f"--source={tmp_path / 'smaller'}", f"--data_dir={data}"]) == 0
    assert split_sizes(data, DATASET) == {"train": 2, "test": 1}
    assert open_source(data, DATASET, "test")[0].name == slice_name(2)


@pytest.mark.slow
def test_64_slices_of_full_size_are_built_in_less_than_2_gib(tmp_path):
    copy = with_links(tmp_path / "COVID-CS", 63)
    peak = "import resource; sys.stderr.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))"
    process = run(PREPARE.replace("sys.exit(", "code = (") + f"; {peak}; sys.exit(code)", copy, tmp_path / "data")
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert split_sizes(tmp_path / "data", DATASET) == {"train": 63, "test": 1}
    assert int(said.split()[-1]) < 1 << 20  # KiB; half of what is allowed
