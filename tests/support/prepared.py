"""Runs `jcs prepare` and reads what it has left."""

from __future__ import annotations

from pathlib import Path

from jcs_jax import cli
from jcs_jax.data.examples import SliceRecord
from jcs_jax.data.sources import open_source, split_sizes


def prepare(dataset: str, source: str | Path, data_dir: Path, *flags: str) -> int:
    """The exit code of preparing `name/config` from a source."""
    name, config = dataset.split("/")
    return cli.main(["prepare", name, f"--config={config}", f"--source={source}", f"--data_dir={data_dir}", *flags])


def build(dataset: str, source: str | Path, data_dir: Path, *flags: str) -> dict[str, list[SliceRecord]]:
    """What is known of every slice, by split, of a data set that must be prepared without an error."""
    assert prepare(dataset, source, data_dir, *flags) == 0
    return {split: list(open_source(data_dir, dataset, split).records()) for split in split_sizes(data_dir, dataset)}


def refusal(capture: object, *parts: str) -> str:
    """What was said on stderr: one line of `jcs prepare` that holds every part."""
    said = capture.readouterr().err
    assert said.startswith("jcs prepare: ") and said.count("\n") == 1 and "Traceback" not in said
    for part in parts:
        assert part in said
    return said
