"""Programs that do the same work in turn: the protocol, the order, and what goes wrong."""

import json
import os
import sys
import time

import pytest

from jcs_jax.benchmark.contest import Contestant, compete, summarise
from jcs_jax.benchmark.machine import busy_seconds, peak_rss_mb, process_seconds, wait_until_quiet
from jcs_jax.errors import InputError

WORKER = """
import json, os, sys, time
name, log = sys.argv[1:]
work = json.loads(os.environ["JCS_BENCHMARK"])
print(json.dumps({"program": name, "flops": work["flops"], "least_bytes": 4e6}), flush=True)
for line in sys.stdin:
    open(log, "a").write(name)
    print(json.dumps({"seconds": 0.25}), flush=True)
print(json.dumps({"matmul_gflops": 100.0, "copy_gb_s": 1.0}), flush=True)
"""


@pytest.fixture
def worker(tmp_path):
    def start(name: str, flops: float = 5e9) -> Contestant:
        command = [sys.executable, "-c", WORKER, name, str(tmp_path / "log")]
        return Contestant(command, {"JCS_BENCHMARK": json.dumps({"flops": flops})})

    return start


def test_programs_work_in_turn_forwards_and_backwards(worker, tmp_path):
    with worker("A") as one, worker("B") as other:
        rounds = list(compete([one, other], 3, load_limit=100, patience=0))
        assert [number for number, _ in rounds] == [1, 2, 3]
        assert (tmp_path / "log").read_text() == "ABBAAB"
        assert one.seconds == other.seconds == [0.25] * 3
        assert one.ratio_to(other) == 1
        summary = summarise(one)
    assert summary["program"] == "A"
    assert summary["seconds"] == summary["fastest"] == summary["slowest"] == 0.25
    assert summary["gflops"] == pytest.approx(20)
    assert summary["share_of_limit"] == pytest.approx(0.2)  # 5 GFLOP at 100 GFLOP/s take 0.05 of 0.25 s
    assert 5 < summary["peak_rss_mb"] < 200


def test_the_slower_of_both_limits_counts(worker):
    with worker("A", flops=1e6) as one:
        list(compete([one], 1, load_limit=100, patience=0))
        assert summarise(one)["share_of_limit"] == pytest.approx(0.004 / 0.25)  # 4 MB at 1 GB/s


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.exit('no such network')", "ended with exit code 1: no such network"),
        ("print('warm')", "wrote no JSON: 'warm'"),
        ("print('[1]')", "wrote no JSON object"),
    ],
)
def test_a_program_that_never_gets_ready_is_told_with_its_last_words(program, said):
    with pytest.raises(InputError, match=said):
        Contestant([sys.executable, "-c", program], {})


@pytest.mark.parametrize(
    ("answer", "said"), [("print('{}')", "without its seconds"), ("sys.exit('broke')", "ended with exit code 1: broke")]
)
def test_a_program_that_fails_in_a_run_is_told(answer, said):
    program = f"import sys; print('{{}}', flush=True); sys.stdin.readline(); {answer}"
    with Contestant([sys.executable, "-c", program], {}) as one, pytest.raises(InputError, match=said):
        one.run()


def test_a_program_that_is_not_there_is_told():
    with pytest.raises(InputError, match=r"nowhere/bench: can't be started .*; correct --against"):
        Contestant(["nowhere/bench"], {})


def test_time_and_memory_of_a_process_are_read_from_the_system():
    before, busy = process_seconds(os.getpid()), busy_seconds()
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    assert 0.15 < process_seconds(os.getpid()) - before < 5
    assert busy_seconds() - busy > 0.1
    assert peak_rss_mb(os.getpid()) > 10


def test_waiting_ends_when_it_is_quiet_enough_or_patience_ends():
    begun = time.monotonic()
    assert wait_until_quiet(1e9, 100, look=0.05) >= 0
    wait_until_quiet(-1, 0.2, look=0.05)
    assert time.monotonic() - begun < 20
