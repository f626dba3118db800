"""Writing shards by an Apache Beam pipeline: every worker makes the examples of whole files.

TFDS's own Beam writer sends every example through a grouping by file, which for COVID-CS would be 80 GB. Here the
files of a split are decided before the pipeline runs, so a worker is sent names and writes the file itself.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core.writer import ExampleWriter

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.shards import Shard, write_shards

# What makes an example of an item, with numbers to be added up over all items. Beam pickles it.
MakeExample = Callable[[Any], tuple[Mapping[str, Any], Mapping[str, int]]]

_STOP_FILE = "unnamed-stop"


@dataclasses.dataclass(frozen=True)
class Task:
    """Consecutive items of a split, the work of one call.

    Attributes:
      prefix: path of the files to write, without their number.
      items: what `MakeExample` takes.
    """

    prefix: str
    items: tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Written:
    """What came of a task: its files in order, and the sums of the numbers."""

    shards: list[Shard]
    tally: Counter[str]


def require_beam() -> None:
    """Refuses to go on without Apache Beam.

    Raises:
      SourceError: it isn't installed.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise SourceError("--beam: Apache Beam isn't installed; run pip install 'jcs-jax[beam]'")


def run_tasks(
    tasks: Sequence[Task],
    features: tfds.features.FeaturesDict,
    writer: ExampleWriter,
    make_example: MakeExample,
    download_config: tfds.download.DownloadConfig,
) -> list[Written]:
    """Writes the files of all tasks in one pipeline.

    Args:
      tasks: in order; their prefixes differ and lie in a folder that every worker can write to.
      features: of the data set.
      writer: of TFDS, for the format of the files.
      make_example: a function of a module, or a `functools.partial` of one.
      download_config: its `beam_runner` and `beam_options`; without them the processors of this machine.

    Returns:
      What came of each task, in their order.

    Raises:
      SourceError: the first, in the tasks' order, that a worker met.
    """
    beam = importlib.import_module("apache_beam")
    runner, options = download_config.beam_runner, download_config.beam_options
    if runner is None and options is None:
        # "DirectRunner" would first fetch a program of another language from the network; this is its local half.
        runner = "FnApiRunner"
        local = {"direct_running_mode": "multi_threading", "direct_num_workers": 0}  # 0: one a processor
        options = beam.options.pipeline_options.PipelineOptions(flags=[], **local)
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        _ = (
            pipeline
            | "Tasks" >> beam.Create(list(tasks))
            | "Spread" >> beam.Reshuffle()
            | "Write" >> beam.Map(write_task, features, writer, make_example)
        )
    results = [_read_result(task) for task in tasks]
    for result in results:
        if "error" in result:
            raise SourceError(result["error"])
    return [Written([Shard(*shard) for shard in result["shards"]], Counter(result["tally"])) for result in results]


def write_task(
    task: Task, features: tfds.features.FeaturesDict, writer: ExampleWriter, make_example: MakeExample
) -> None:
    """Writes the files of a task and, beside them, what came of it; another worker may do it all again.

    A bad source is told in that file, since Beam would wrap what is raised into pages of its own. No task that
    begins after it does anything.
    """
    stop = Path(task.prefix).with_name(_STOP_FILE)
    if stop.exists():
        return
    tally: Counter[str] = Counter()

    def examples() -> Iterator[Mapping[str, Any]]:
        for item in task.items:
            example, numbers = make_example(item)
            tally.update(numbers)
            yield example

    try:
        result = {"shards": write_shards(Path(task.prefix), features, writer, examples()), "tally": tally}
    except SourceError as error:
        stop.touch()
        result = {"error": str(error)}
    _result_file(task).write_text(json.dumps(result), encoding="utf-8")


def _read_result(task: Task) -> dict[str, Any]:
    """What a task has told; nothing where it didn't begin."""
    file = _result_file(task)
    if not file.is_file():
        return {}
    result = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    return result


def _result_file(task: Task) -> Path:
    return Path(f"{task.prefix}.json")
