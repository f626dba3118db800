"""`jcs diagnose`: CT studies or pictures in; decision, activation maps, masks, measured lesions and reports out."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

from absl import flags

from jcs_jax.cli import BAD_INPUT, DONE, SOME_FAILED
from jcs_jax.engines.names import ENGINES, PRECISIONS
from jcs_jax.errors import InputError

USAGE = """usage: jcs diagnose INPUT... --output DIR [--checkpoint DIR]

INPUT is a case: a DICOM study (folder, zip file, DICOMDIR, or one file), a NIfTI file of CT in HU (.nii, .nii.gz), a
folder of PNG or JPEG pictures, or one picture. Every case gets a folder with diagnosis.json, report.html and what
--formats asks for. One that fails stops no other. Exit code 1: some cases failed; 2: none could be diagnosed.

--engine openvino or onnxruntime runs a model that `jcs export` wrote, faster than JAX on a CPU.

Names, dates and UIDs stay out of all results unless --keep_identifiers is given; a case whose name tells who the
patient is gets a number for a name."""


def define_flags(values: flags.FlagValues) -> None:
    def text(name: str, default: str | None, told: str) -> None:
        flags.DEFINE_string(name, default, told, flag_values=values)

    def switch(name: str, told: str) -> None:
        flags.DEFINE_bool(name, False, told, flag_values=values)

    text("output", None, "Folder for the results, one folder per case.")
    text("checkpoint", None, "Model folder, or the name of a shipped model; jcs_tiny if left out.")
    text("classifier", "", "Model folder or name of another network that screens the slices of a volume.")
    text("formats", "json,html,png", "Results to write: json (always), html, png, nifti, seg, sr, sc.")
    text("series_uid", "", "DICOM series to take, or the end of its UID, instead of the one chosen by rules.")
    text("case_list", "", "Text file with more inputs, one a line.")
    text("shard", "", "I/N: only the I-th of N parts of the cases, for arrays of jobs.")
    text("pseudonym_key", "", "File with a secret: patients get the same pseudonyms in every run that uses it.")
    flags.DEFINE_enum("engine", "jax", ["jax", *ENGINES], "Program that runs the networks.", flag_values=values)
    told = "Numbers to compute with; bfloat16 is faster where the processor has it."
    flags.DEFINE_enum("precision", "float32", list(PRECISIONS), told, flag_values=values)
    flags.DEFINE_integer("batch_size", 8, "Slices per batch.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("workers", 1, "Processes that work on cases side by side.", lower_bound=1, flag_values=values)
    switch("flip", "Average over every slice and its mirror image: twice the time.")
    switch("segment_all", "Segment the slices of a volume that aren't positive, too.")
    switch("keep_identifiers", "Write patient and UIDs into DICOM results, so that an archive can file them.")
    switch("skip_done", "Leave alone cases that have a result of the same network.")
    switch("overwrite", "Replace the results of an earlier run.")
    switch("timings", "Tell how long every stage took.")


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    from jcs_jax.batch.options import KEY_BYTES, Options, parse_formats, parse_shard, read_case_list, read_key
    from jcs_jax.batch.run import run_cases
    from jcs_jax.report.dicom.instances import load_highdicom
    from jcs_jax.report.study_folder import DICOM_FORMATS
    from jcs_jax.report.summary import print_summary, print_timings
    from jcs_jax.shipped import DEFAULT_MODEL
    from jcs_jax.study.cases import find_cases

    inputs = [*arguments, *(read_case_list(values.case_list) if values.case_list else [])]
    if not (inputs and values.output) or values.checkpoint == "":
        raise InputError("INPUT and --output are needed, and --checkpoint not empty; see `jcs diagnose --help`")
    checkpoint = _default(values.engine) if values.checkpoint is None else values.checkpoint
    formats = parse_formats(values.formats)
    if set(formats) & set(DICOM_FORMATS):
        load_highdicom()  # before anything is computed
    key = read_key(values.pseudonym_key) if values.pseudonym_key else secrets.token_bytes(KEY_BYTES)
    names = (
        "classifier",
        "engine",
        "precision",
        "batch_size",
        "overwrite",
        "skip_done",
        "series_uid",
        "flip",
        "segment_all",
        "debug",
    )
    options = Options(
        Path(values.output),
        checkpoint,
        formats=formats,
        keep_identifiers=values.keep_identifiers,
        pseudonym_key=key,
        own_key=bool(values.pseudonym_key),
        shard=parse_shard(values.shard) if values.shard else (1, 1),
        **{name: getattr(values, name) for name in names},
    )
    if values.checkpoint is None:
        sys.stdout.write(f"no --checkpoint given: using {DEFAULT_MODEL}, the model that comes with the package\n")
    outcome = run_cases(find_cases(inputs), options, workers=values.workers)
    if outcome.reports:
        print_summary(list(outcome.reports.values()), outcome.failures)
    if values.timings:
        print_timings(outcome.seconds)
    for reason in outcome.failures.values():
        sys.stderr.write(f"jcs diagnose: {reason}\n")
    return SOME_FAILED if outcome.failures and outcome.reports else BAD_INPUT if outcome.failures else DONE


def _default(engine: str) -> str:
    """The model to take where none is named."""
    from jcs_jax.shipped import DEFAULT_MODEL, default_model

    if engine != "jax":
        cure = f"make one with `jcs export --checkpoint {DEFAULT_MODEL} --output DIR` and name it with --checkpoint"
        raise InputError(f"--engine={engine} runs an exported model; {cure}")
    return str(default_model())
