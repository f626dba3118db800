"""Reading speed: the training pipeline against a loop that decodes in one thread, in one run, by turns.

Run from the project's folder, on a machine with nothing else to do:

    .venv/bin/python benchmarks/reader_speed.py

It reads pairs of a 512 x 512 slice and its mask, stored as PNG, and makes batches of 8: of COVID-19-CT100 where
`../shared/data` or $JCS_DATA has it, else of the phantom. Both sides do the same work: shuffle by epoch, decode
slice and mask, scale the slice to [0, 1] in float32, normalise it into three channels by ImageNet's means and
deviations, make the mask float32, stack. The values of an epoch are compared before anything is timed.

- loop: what a PyTorch DataLoader with num_workers=0 does, without PyTorch: Pillow decodes PNG files, NumPy
  converts them, channels first as torchvision has them, and the items are stacked.
- pipeline: `jcs_jax.data`: the same pictures prepared as ArrayRecord, read by Grain's threads, channels last.

One line of JSON goes to stdout: medians over the rounds, the median of the rounds' ratios, processor time per pair
(which tells more than wall time where other programs run), the pipeline's stages in one thread, and how much resident
memory grows over 60 epochs. Single samples differ by the batches of 33 MB that happen to be read ahead, so the medians
of the first and the last third are compared.

Printed on 2 quiet cores, with 52 slices of COVID-19-CT100: ratio 1.75 (1.47 to 2.99; 230 against 411 pairs/s),
processor time 4.35 (loop) and 3.63 (pipeline) ms per pair, growth_mb -21. Of the pipeline's time in one thread,
1.1 ms goes into reading and decoding, 0.4 into scaling and normalising, 0.3 into stacking. Over 10 epochs instead
of 60 (--memory_epochs=10), three runs gave a growth of -16, -8 and 29 MB.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from jcs_datasets.chest_phantom import make_patient
from jcs_datasets.covid19_ct100 import Builder
from jcs_jax.data.inputs import network_example, stack
from jcs_jax.data.pipeline import TrainingBatches
from jcs_jax.data.preparation import prepare
from jcs_jax.data.sources import PreparedSource, open_source
from jcs_jax.data.transforms import AUGMENTATIONS
from jcs_jax.preprocessing import Preprocessing

SIDE = 512
PREPROCESSING = Preprocessing(size=(SIDE, SIDE))
FOLDS = "fold0+fold1+fold2+fold3+fold4"
TARGETS = {"ratio": 1.5, "growth_mb": 50}
Batches = Iterator[dict[str, np.ndarray]]


class SliceFolder:
    """Pairs of PNG files as a map-style data set, in the manner of PyTorch."""

    def __init__(self, pairs: Sequence[tuple[Path, Path]]):
        self._pairs = pairs
        self._mean, self._std = (
            np.asarray(values, np.float32)[:, None, None] for values in (PREPROCESSING.mean, PREPROCESSING.std)
        )

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        image, mask = (np.asarray(Image.open(path)) for path in self._pairs[index])
        intensity = image.astype(np.float32) / 255
        return {"image": (intensity[None] - self._mean) / self._std, "mask": mask.astype(np.float32)}


def loop_batches(folder: SliceFolder, batch_size: int, steps: int) -> Batches:
    """Shuffled batches, one item after the other; consecutive epochs are joined, as the pipeline does."""
    rng = np.random.default_rng(0)
    order = itertools.chain.from_iterable(rng.permutation(len(folder)) for _ in itertools.count())
    for _ in range(steps):
        items = [folder[index] for index in itertools.islice(order, batch_size)]
        yield {key: np.stack([item[key] for item in items]) for key in items[0]}


def pipeline_batches(source: PreparedSource, batch_size: int, steps: int, threads: int) -> Batches:
    """The same from the project's own pipeline."""
    return TrainingBatches(
        source, PREPROCESSING, augment="none", batch_size=batch_size, seed=0, steps=steps, threads=threads
    )


def find_pairs(scratch: Path) -> tuple[str, Path]:
    """What is read and the folder that holds it: real slices, or phantom slices of the same form."""
    shared = Path(__file__).resolve().parents[2] / "shared/data"
    real = Path(os.environ.get("JCS_DATA", shared)) / "covid19_ct100"
    if real.is_dir():
        return "covid19_ct100", real
    lines = []
    for folder in ("tr_im", "tr_mask_new"):
        (scratch / folder).mkdir(parents=True)
    for number in range(13):
        phantom = make_patient((0, number), infected=True, slices=4, size=192)
        for index, (hounsfield, lesions) in enumerate(zip(phantom.hounsfield, phantom.lesions, strict=True)):
            gray = Image.fromarray(np.rint(255 * PREPROCESSING.window(hounsfield)).astype(np.uint8))
            names = f"tr_im/{number}_{index}.png", f"tr_mask_new/{number}_{index}.png"
            gray.resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(scratch / names[0])
            Image.fromarray(lesions).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(scratch / names[1])
            lines.append(" ".join(names))
    (scratch / "all.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "chest_phantom", scratch


def epoch_sums(batches: Batches, rows: int, channel_axis: int) -> np.ndarray:
    """Sums of the three channels and of the mask over the first `rows` rows: (4,) float64."""
    total, left = np.zeros(4), rows
    for batch in batches:
        image = np.moveaxis(batch["image"][:left], channel_axis, 1)
        total += [*image.sum((0, 2, 3), dtype=np.float64), batch["mask"][:left].sum(dtype=np.float64)]
        left -= len(image)
    return total


def timed(batches: Batches, batch_size: int) -> tuple[float, float]:
    """Pairs per second, and milliseconds of processor time per pair over all threads."""
    wall, processor = time.perf_counter(), time.process_time()
    pairs = batch_size * sum(1 for _ in batches)
    return pairs / (time.perf_counter() - wall), 1000 * (time.process_time() - processor) / pairs


def stage_times(source: PreparedSource, batch_size: int) -> dict[str, float]:
    """Milliseconds per pair of the pipeline's stages, in one thread: medians over an epoch."""
    examples = [source[index] for index in range(batch_size)]
    unused = np.random.default_rng(0)
    ready = [network_example(example, PREPROCESSING, AUGMENTATIONS["none"], unused) for example in examples]
    stages: dict[str, tuple[Callable[[int], object], int]] = {
        "read_and_decode": (lambda index: source[index], 1),
        "scale_and_normalise": (
            lambda index: network_example(examples[index % batch_size], PREPROCESSING, AUGMENTATIONS["none"], unused),
            1,
        ),
        "stack": (lambda _index: stack(ready), batch_size),
    }
    return {name: round(median_ms(stage, len(source)) / pairs, 2) for name, (stage, pairs) in stages.items()}


def median_ms(stage: Callable[[int], object], count: int) -> float:
    """Median milliseconds of a call with 0 .. count - 1."""
    times = []
    for index in range(count):
        start = time.perf_counter()
        stage(index)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def resident_growth(batches: Batches) -> tuple[float, float]:
    """By how many MB resident memory grows while all batches are read; and its peak, MB.

    The first fifth is left out: until then the allocator finds out what it has to keep.
    """
    samples = [resident_mb() for _ in batches]
    samples = samples[len(samples) // 5 :]
    third = len(samples) // 3
    return statistics.median(samples[-third:]) - statistics.median(samples[:third]), max(samples)


def resident_mb() -> float:
    """This process's resident memory now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, object]:
    """Runs everything; returns what goes into the line of JSON."""
    name, folder = find_pairs(scratch / "pictures")
    prepare(Builder, data_dir=scratch / "data", source=folder)
    source = open_source(scratch / "data", "covid19_ct100", FOLDS)
    lines = (folder / "all.txt").read_text(encoding="utf-8").splitlines()
    loop_folder = SliceFolder([(folder / image, folder / mask) for image, mask in map(str.split, lines)])
    steps = -(-options.epochs * len(source) // options.batch_size)

    def loop(count: int = steps) -> Batches:
        return loop_batches(loop_folder, options.batch_size, count)

    def pipeline(count: int = steps) -> Batches:
        return pipeline_batches(source, options.batch_size, count, options.threads)

    one_epoch = -(-len(source) // options.batch_size)
    sums = [epoch_sums(loop(one_epoch), len(source), 1), epoch_sums(pipeline(one_epoch), len(source), -1)]
    np.testing.assert_allclose(sums[0], sums[1], rtol=1e-5)
    growth, peak = resident_growth(pipeline(options.memory_epochs * one_epoch))
    rounds = [(timed(loop(), options.batch_size), timed(pipeline(), options.batch_size)) for _ in range(options.rounds)]
    ratios = [pipeline_speed / loop_speed for (loop_speed, _), (pipeline_speed, _) in rounds]
    (loop_speeds, loop_work), (speeds, work) = (zip(*side, strict=True) for side in zip(*rounds, strict=True))
    return {
        "benchmark": "reader_speed",
        "pictures": name,
        "pairs": len(source),
        "batch_size": options.batch_size,
        "threads": options.threads,
        "rounds": options.rounds,
        "loop_pairs_per_s": round(statistics.median(loop_speeds), 1),
        "pipeline_pairs_per_s": round(statistics.median(speeds), 1),
        "ratio": round(statistics.median(ratios), 2),
        "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
        "loop_cpu_ms_per_pair": round(statistics.median(loop_work), 2),
        "pipeline_cpu_ms_per_pair": round(statistics.median(work), 2),
        "pipeline_stages_ms": stage_times(source, options.batch_size),
        "memory_epochs": options.memory_epochs,
        "growth_mb": round(growth, 1),
        "peak_mb": round(peak),
        "targets": TARGETS,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    """Reads the flags, measures, writes the line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2, help="of the pipeline")
    parser.add_argument("--epochs", type=int, default=4, help="per round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--memory_epochs", type=int, default=60, help="read to see whether memory grows")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sys.stdout.write(json.dumps(measure(options, Path(scratch))) + "\n")


if __name__ == "__main__":
    main()
