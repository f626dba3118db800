"""Crash safety of training: `jcs train` is killed, its checkpoints are damaged, it is asked to stop; bits are compared.

Run from the project's folder:

    .venv/bin/python benchmarks/crash_safety.py

It trains a very narrow classifier on the smallest phantom, with image mixing, an average of the weights and
validation, as processes of their own. One run is left alone; others are interrupted five to seven times each, and
gone on with by the same command:

- kills: `kill -9` at a random moment of six kinds: while the process starts, after some steps, while a checkpoint is
  being written, when one has just got its name, while the last one or the model is being written.
- corruptions: after a kill the newest checkpoint is damaged: a file is cut off, eight bytes of one are changed, or a
  mark of completeness or another file is missing. Every file of a checkpoint may be hit, those with data more often.
- terms: SIGTERM at such moments, every other time twice. Before the training begins it ends the process.

After every interruption each checkpoint that has its name must be readable, unless it was damaged. Lost are the steps
in metrics.jsonl that the next process takes again. In the end parameters, their average, the optimiser's state and the
model must have the bits of the run that was left alone, metrics.jsonl its lines but for `seconds`, and no temporary
file may be left. One line of JSON goes to stdout, what is amiss is in its `faults`, and then the exit code is 1.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jcs_datasets.chest_phantom import Builder
from jcs_jax.data.preparation import prepare

MAIN = "from jcs_jax.cli import console_main; console_main()"
STEPS, EVERY = 120, 8
CONFIG = f"""
from jcs_jax.training.config import default_config

def get_config():
    config = default_config()
    config.data.dataset = "chest_phantom/tiny"
    config.data.mixing.alpha = 0.4
    config.model.name, config.model.input_size = "classifier_tiny", 32
    config.model.options = {{"norm": "none", "stem": (4, 4, 4), "planes": (4, 4, 4, 4), "depths": (1, 1, 1, 1)}}
    config.steps, config.batch_size, config.log_every, config.checkpoint.every = {STEPS}, 2, 1, {EVERY}
    config.validation.split, config.validation.metric, config.validation.every = "validation", "loss", 30
    config.pictures_every = 0
    return config
"""
BEGUN = re.compile(r"(\d*) examples to train on|going on from step (\d+) of")
LEFTOVER = re.compile(r"\..*\.(tmp|old)|.*orbax-checkpoint-tmp.*|deleted")
PATIENCE = 600  # seconds until a process must have done what is waited for
MARKS = ("commit_success.txt", "state/commit_success.txt", "run/commit_success.txt", "_CHECKPOINT_METADATA")
DAMAGES = ("cut data", "flip data", "no mark", "no data", "flip any", "cut any", "no any")
DELAYS = {"start": 15.0, "step": 0.05, "commit": 0.02, "save": 0.1, "last save": 0.1, "model": 0.1}  # seconds, at most


class Run:
    """A run's folder and the processes that go on with it, one after the other.

    Attributes:
      folder: of the run.
      faults: what must not be, in words.
      losses: steps that a process took again, after each interruption without damage.
      damage: the newest checkpoint and what was done to it, until a process has said what it makes of that.
      verdicts: what was made of each damage: fell back, or not needed.
    """

    def __init__(self, folder: Path, config: Path, data_dir: Path):
        self.folder = folder
        self.faults: list[str] = []
        self.losses: list[int] = []
        self.damage: tuple[Path, str] | None = None
        self.verdicts: list[str] = []
        self._reached = 0
        self._said = folder.with_suffix(".log")
        self._command = [sys.executable, "-c", MAIN, "train", f"--config={config}", f"--workdir={folder}"]
        self._command.append(f"--config.data.data_dir={data_dir}")

    def start(self) -> subprocess.Popen[bytes]:
        """Starts a process."""
        with self._said.open("wb") as said:
            return subprocess.Popen(
                self._command, stdout=subprocess.DEVNULL, stderr=said, env={**os.environ, "JAX_PLATFORMS": "cpu"}
            )

    def interrupt(self, moment: Callable[[], bool], *signals: int) -> tuple[int, str]:
        """Starts a process and signals to it when the moment has come; its exit code and what it said."""
        process = self.start()
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and not moment() and time.monotonic() < deadline:
            time.sleep(0.001)
        for number in signals:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
        code = process.wait(PATIENCE)
        said = self._said.read_text(encoding="utf-8", errors="replace")
        self._check(code, said)
        return code, said

    def _check(self, code: int, said: str) -> None:
        begun = BEGUN.search(said)
        if begun:
            step = int(begun[2] or 0)
            if self.damage:
                self._judge(step, said, *self.damage)
                self.damage = None
            else:
                self.losses.append(self._reached - step)
                if not 0 <= self.losses[-1] <= EVERY:
                    self.faults.append(f"{self.losses[-1]} steps were lost")
                if "damaged" in said:
                    self.faults.append(f"damage was seen: {said[-500:]}")
            self._reached = self.last_step()
        if code > 0 or "Traceback" in said:
            self.faults.append(f"exit code {code}: {said[-500:]}")
        whole = [step for step in self.steps() if not self.damage or step != self.damage[0]]
        self.faults += [f"step {step.name} can't be read" for step in whole if read(step / "state") is None]

    def _judge(self, step: int, said: str, newest: Path, how: str) -> None:
        """Whether a process has told of a damage and gone back, or was right not to."""
        told = f"{newest} is damaged" in said and (self.folder / "checkpoints-damaged").exists()
        if told and 0 < step < int(newest.name):
            self.verdicts.append("fell back")
        elif not told and step == int(newest.name):
            self.verdicts.append("not needed")
        else:
            self.faults.append(f"{how} in step {newest.name}: went on from {step}, {'' if told else 'not '}told")

    def steps(self) -> list[Path]:
        """Checkpoints that have their name, oldest first."""
        found = (path for path in (self.folder / "checkpoints").glob("*") if path.name.isdecimal())
        return sorted(found, key=lambda path: int(path.name))

    def lines(self) -> list[dict[str, Any]]:
        """The whole lines of metrics.jsonl, without the time."""
        file = self.folder / "metrics.jsonl"
        found = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.exists() else []
        whole = [json.loads(line) for line in found if line.endswith("\n")]
        return [{key: value for key, value in line.items() if key != "seconds"} for line in whole]

    def last_step(self) -> int:
        """The last one in metrics.jsonl."""
        return max((line["step"] for line in self.lines()), default=0)

    def result(self) -> dict[str, Any]:
        """What must be the same in all runs, of a finished one."""
        return {
            "last step": self.steps()[-1].name,
            "state": read(self.steps()[-1] / "state"),
            "model": read(self.folder / "model/variables"),
            "metrics": self.lines(),
            "end": json.loads((self.folder / "finished.json").read_text(encoding="utf-8")),
        }

    def finish(self, expected: dict[str, Any] | None) -> None:
        """Goes on to the end, and compares it with that of the run that was left alone."""
        if not (self.folder / "finished.json").exists():
            self.interrupt(lambda: False)
        if not (self.folder / "finished.json").exists():
            self.faults.append("it did not come to its end")
            return
        if expected is not None:
            found = self.result()
            self.faults += [f"another {name}" for name in expected if found[name] != expected[name]]
        left = (path for path in self.folder.rglob("*") if LEFTOVER.fullmatch(path.name))
        self.faults += [f"{path} was left behind" for path in left]


def read(folder: Path) -> dict[str, bytes] | None:
    """The bits of all arrays that Orbax has saved there, by name; None if they can't be read."""
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            tree = checkpointer.restore(folder)
    except Exception:  # noqa: BLE001  Orbax and TensorStore raise many kinds
        return None
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf).tobytes() for path, leaf in leaves}


def moment_of(run: Run, kind: str, rng: random.Random, steps: int = 0) -> Callable[[], bool]:
    """A function that says, when it is asked often, whether the moment has come.

    Args:
      run: that a process is about to go on with.
      kind: one of `DELAYS`; what happens first, after which a random while goes by.
      rng: of all that is random.
      steps: after which a moment of the kind `step` has come, if there are two checkpoints; 0 for a random number.
    """
    target, count = run.last_step() + (steps or rng.randint(1, 12)), rng.randint(1, 3)
    names = {step.name for step in run.steps()}
    goal = len(names) + count
    delay, happened_at = rng.uniform(0, DELAYS[kind]), time.monotonic() if kind == "start" else None

    def happened() -> bool:
        if kind == "step":
            return run.last_step() >= min(target, STEPS - 1) and len(run.steps()) >= (2 if steps else 0)
        if kind == "model":
            return any(run.folder.glob(".model.*"))
        if kind == "last save":
            return any(run.folder.glob(f"checkpoints/{STEPS}*"))
        found = (path.name for path in run.folder.glob("checkpoints/[0-9]*"))
        names.update(name for name in found if name.isdecimal() == (kind == "commit"))
        return len(names) >= goal

    def come() -> bool:
        nonlocal happened_at
        if happened_at is None and happened():
            happened_at = time.monotonic()
        return happened_at is not None and time.monotonic() >= happened_at + delay

    return come


def spoil(step: Path, kind: str, rng: random.Random) -> str:
    """Damages a checkpoint; returns how."""
    what, _, where = kind.partition(" ")
    files = sorted(path for path in step.rglob("*") if path.is_file())
    if where == "data":
        files = [path for path in files if path.parent == step / "state/d" or path == step / "run/metadata"]
    file = step / rng.choice(MARKS) if where == "mark" else rng.choice(files)
    content = bytearray(file.read_bytes())
    if what == "no":
        file.unlink()
    elif what == "cut":
        file.write_bytes(content[: rng.randrange(len(content))])
    else:
        for place in rng.sample(range(len(content)), 8):
            content[place] ^= rng.randint(1, 255)
        file.write_bytes(content)
    return f"{what} {file.relative_to(step)}"


@dataclasses.dataclass
class Bench:
    """All runs, and what was counted.

    Attributes:
      scratch: folder of the runs.
      rng: of all that is random.
      expected: result of the run that was left alone.
    """

    scratch: Path
    rng: random.Random
    expected: dict[str, Any] | None = None
    runs: list[Run] = dataclasses.field(default_factory=list)
    counts: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    @contextlib.contextmanager
    def run(self, name: str) -> Any:
        """A new run, which is gone on with to its end when the block ends."""
        self.runs.append(
            Run(self.scratch / f"{name}_{len(self.runs)}", self.scratch / "config.py", self.scratch / "data")
        )
        yield self.runs[-1]
        self.runs[-1].finish(self.expected)
        sys.stderr.write(f"{self.runs[-1].folder.name}: {dict(self.counts)} {self.runs[-1].faults}\n")

    def kill(self, wanted: int) -> None:
        """Kills processes so many times; one that was faster doesn't count."""
        while self.counts["kills"] < wanted:
            kinds = ["start", "step", "save", "save", "commit"]
            self.rng.shuffle(kinds)
            with self.run("kills") as run:
                for kind in [*kinds, self.rng.choice(["last save", "model"])][: wanted - self.counts["kills"]]:
                    code, _ = run.interrupt(moment_of(run, kind, self.rng), signal.SIGKILL)
                    if code != -signal.SIGKILL:
                        break
                    self.counts.update(["kills", f"kills: {kind}"])
                    self.counts["half checkpoints left"] += any(run.folder.glob("checkpoints/*tmp*"))
                    self.counts["half models left"] += any(run.folder.glob(".model.*"))

    def corrupt(self, wanted: int) -> None:
        """Damages the newest checkpoint so many times."""
        while self.counts["corruptions"] < wanted:
            with self.run("corruptions") as run:
                for _ in range(min(5, wanted - self.counts["corruptions"])):
                    run.interrupt(moment_of(run, "step", self.rng, steps=EVERY + 4), signal.SIGKILL)
                    newest = run.steps()[-1]
                    kind = DAMAGES[self.counts["corruptions"] % len(DAMAGES)]
                    run.damage = newest, spoil(newest, kind, self.rng)
                    self.counts.update(["corruptions", f"corruptions: {kind}"])

    def term(self, wanted: int) -> None:
        """Asks processes to stop so many times."""
        while self.counts["terms"] < wanted:
            kinds = ["start", "step", "save", "commit", "step"]
            with self.run("terms") as run:
                for kind in kinds[: wanted - self.counts["terms"]]:
                    signals = [signal.SIGTERM] * (1 + self.counts["terms"] % 2)
                    code, said = run.interrupt(moment_of(run, kind, self.rng), *signals)
                    self.counts.update(["terms", f"terms: {kind}"])
                    if code == 0 and "all is saved; resume with: " in said:
                        self.counts["terms: saved, exit code 0"] += 1
                    elif code == -signal.SIGTERM and not BEGUN.search(said):
                        self.counts["terms: before the training"] += 1
                    else:
                        run.faults.append(f"SIGTERM ended with {code}: {said[-500:]}")


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, object]:
    """Runs everything; returns what goes into the line of JSON."""
    prepare(Builder, config="tiny", data_dir=scratch / "data")
    (scratch / "config.py").write_text(CONFIG, encoding="utf-8")
    bench = Bench(scratch, random.Random(options.seed))
    with bench.run("alone") as alone:
        pass
    bench.expected = alone.result()
    bench.kill(options.kills)
    bench.corrupt(options.corruptions)
    bench.term(options.terms)
    losses = [loss for run in bench.runs for loss in run.losses]
    verdicts = collections.Counter(verdict for run in bench.runs for verdict in run.verdicts)
    return {
        "benchmark": "crash_safety",
        "steps": STEPS,
        "checkpoint_every": EVERY,
        "seed": options.seed,
        **bench.counts,
        **{f"corruptions: {verdict}": count for verdict, count in verdicts.items()},
        "worst_loss": max(losses),
        "mean_loss": round(sum(losses) / len(losses), 2),
        "runs": len(bench.runs) - 1,
        "runs_equal_bit_for_bit": sum(not run.faults for run in bench.runs) - 1,
        "faults": [f"{run.folder.name}: {fault}" for run in bench.runs for fault in run.faults],
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    """Reads the flags, measures, writes the line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--corruptions", type=int, default=10)
    parser.add_argument("--terms", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments and damages")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(options, Path(scratch))
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.exit(1 if figures["faults"] else 0)


if __name__ == "__main__":
    main()
