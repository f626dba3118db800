"""How long a whole study takes, stage by stage, and how much memory the process needs.

Run from the project's folder, once for each setting, since a process has only one peak:

    PYTHONPATH=tests/support .venv/bin/python benchmarks/study_speed.py --name joint_small [--classifier classifier]
        [--slices 300] [--positive 0.0] [--formats json,html] [--source dicom] [--flip]
        [--engine openvino] [--precision bfloat16] [--once]

The study is a phantom of 512 x 512 pixels with noise, written to a temporary folder as DICOM or NIfTI and read from
there. Weights are random; `--positive` is the share of slices that are taken for positive whatever the network says of
them, evenly spread: 0 is an uninfected patient, for whom only the classifier runs. Another process makes the study and
the network and exports it, so that the peak is that of a diagnosis.

One line of JSON goes to stdout: seconds by stage (`networks` includes compilation; `networks_again` is a second pass
that doesn't, left out with `--once`), `total_s` without the second pass, `peak_rss_mb` of the process at the end of the
first pass.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ct_files import write_dicom, write_nifti
from phantom_study import phantom_study
from scipy import ndimage

from jcs_jax import Predictor, StudyPredictor, read_study
from jcs_jax.benchmark.workload import random_variables
from jcs_jax.checkpoints import save_model
from jcs_jax.diagnosis.programs import Screening
from jcs_jax.diagnosis.study_predictor import source_grid
from jcs_jax.engines.names import ENGINES, PRECISIONS
from jcs_jax.models.presets import build, get_preset
from jcs_jax.report.dicom.pseudonyms import Pseudonyms
from jcs_jax.report.study_folder import write_study

SIDE = 512


def write_study_files(folder: Path, slices: int, kind: str) -> Path:
    """A phantom at full size; returns the source to read."""
    small = phantom_study(3, lesions=4).volume
    zoom = np.array([slices, SIDE, SIDE]) / small.hounsfield.shape
    spacing = np.linalg.norm(small.affine[:3, :3], axis=0) / zoom
    rng = np.random.default_rng(0)
    large = ndimage.zoom(small.hounsfield.astype(np.float32), zoom, order=1)
    for index in range(slices):  # one by one: noise of a whole study would be the peak
        large[index] += rng.normal(0, 20, (SIDE, SIDE)).astype(np.float32)
    values = np.clip(large, -1024, 3071).astype(np.int16)
    if kind == "nifti":
        affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
        return write_nifti(folder / "study.nii", values.transpose(2, 1, 0), affine)
    for index, plane in enumerate(values):
        write_dicom(
            folder / "study" / f"{index:04d}.dcm",
            plane,
            height=index * spacing[0],
            PixelSpacing=[float(spacing[1]), float(spacing[2])],
            SliceThickness=float(spacing[0]),
            StudyInstanceUID="1.2",
            FrameOfReferenceUID="1.3",
        )
    return folder / "study"


def make_model(name: str, folder: Path, engine: str) -> Path:
    """A model folder with random weights, or for an engine its export."""
    preset = get_preset(name)
    model = build(preset)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, *preset.preprocessing.size, 3))))
    saved = save_model(folder / name, random_variables(shapes), preset, provenance={})
    if engine == "jax":
        return saved
    from jcs_jax.export import folder as export_folder  # noqa: PLC0415  needs an extra

    export_folder.TOLERANCE = 1.0  # random weights of the reference's size say 0 or 1, whichever rounding decides
    export_folder.export_model(saved, folder / f"{name}_{engine}")
    return folder / f"{name}_{engine}"


def take_for_positive(predictor: Predictor, share: float) -> None:
    """Makes this share of the slices that it screens positive."""
    screen, seen = predictor.stages.screen, itertools.count()

    def chosen(inputs: list[np.ndarray]) -> list[Screening]:
        numbers = [next(seen) for _ in inputs]
        positive = [int((number + 1) * share) > int(number * share) for number in numbers]
        return [one._replace(probability=np.float32(yes)) for one, yes in zip(screen(inputs), positive, strict=True)]

    predictor.stages.screen = chosen  # type: ignore[method-assign]


def main() -> None:
    """Measures one setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="joint_small")
    parser.add_argument("--classifier", default="")
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--positive", type=float, default=0.0)
    parser.add_argument("--formats", default="json,html")
    parser.add_argument("--source", choices=("dicom", "nifti"), default="dicom")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--flip", action="store_true")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--engine", choices=("jax", *ENGINES), default="jax")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    options = parser.parse_args()
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        names = [name for name in (options.name, options.classifier) if name]
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            source = pool.submit(write_study_files, Path(scratch), options.slices, options.source).result()
            folders = [pool.submit(make_model, name, Path(scratch), options.engine).result() for name in names]
        arguments = {name: getattr(options, name) for name in ("batch_size", "flip", "engine", "precision")}
        start = time.perf_counter()
        segmenter, *screening = [Predictor.from_checkpoint(folder, **arguments) for folder in folders]
        take_for_positive(screening[0] if screening else segmenter, options.positive)
        study = StudyPredictor(segmenter, screening[0] if screening else None)
        seconds["loading"] = time.perf_counter() - start
        start = time.perf_counter()
        volume = read_study(source)
        seconds["reading"] = time.perf_counter() - start
        diagnosis, maps = study.diagnose(volume, "study")
        seconds |= study.seconds
        start = time.perf_counter()
        (Path(scratch) / "out").mkdir()
        write_study(
            Path(scratch) / "out",
            diagnosis,
            maps,
            source_grid(volume, headers=options.source == "dicom"),
            formats=tuple(options.formats.split(",")),
            pseudonyms=Pseudonyms(b"0" * 32),
        )
        seconds["report"] = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        total = sum(seconds.values())
        if not options.once:
            study.diagnose(volume, "study")
            seconds["networks_again"] = study.seconds["networks"]
    rounded = {stage: round(duration, 2) for stage, duration in seconds.items()}
    setting = {**vars(options), "positive_slices": diagnosis.positive_slices}
    line = json.dumps({**setting, "seconds": rounded, "total_s": round(total, 1), "peak_rss_mb": round(peak)})
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
