"""`jcs diagnose`: pictures of CT slices in; class probability, mask, activation map and a report out."""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags

from jcs_jax.cli import BAD_INPUT, DONE, SOME_FAILED
from jcs_jax.errors import InputError

USAGE = """usage: jcs diagnose INPUT... --output DIR --checkpoint DIR

INPUT is a PNG or JPEG picture of a CT slice (a case of its own) or a folder of such pictures (one case).
Every case gets a folder with diagnosis.json, mask.png, overlay.png and activation.png; in a case of several
slices the pictures are numbered. Exit code 1: some cases failed; 2: none could be diagnosed."""


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("output", None, "Folder for the results, one folder per case.", flag_values=values)
    flags.DEFINE_string(
        "checkpoint", None, "Model folder, as `jcs train` and `jcs convert` write it.", flag_values=values
    )
    flags.DEFINE_integer("batch_size", 8, "Slices per batch.", lower_bound=1, flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Replace the results of an earlier run.", flag_values=values)


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    from jcs_jax.diagnosis.failures import Failures
    from jcs_jax.files import atomic_directory
    from jcs_jax.report.case_folder import require_free, write_case
    from jcs_jax.report.summary import print_summary, progress_bar
    from jcs_jax.study.cases import find_cases

    if not (arguments and values.output and values.checkpoint):
        raise InputError("INPUT, --output and --checkpoint are all needed; see `jcs diagnose --help`")
    output, done, failures = Path(values.output), [], Failures(debug=values.debug)
    slice_counts, cases = {}, find_cases(arguments)
    for case in cases:  # reads every picture once: for a bad case nothing is computed or written
        with failures.isolate(case.name, case.source):
            require_free(output / case.name, source=case.source, overwrite=values.overwrite)
            slice_counts[case.name] = case.check()
    if slice_counts:
        from jcs_jax.diagnosis.predictor import Predictor  # brings JAX

        predictor = Predictor.from_checkpoint(values.checkpoint, batch_size=values.batch_size)
        with progress_bar("diagnosing", sum(slice_counts.values())) as track:
            for case in cases:
                if (count := slice_counts.get(case.name)) is None:
                    continue
                with failures.isolate(case.name, case.source):
                    with atomic_directory(output / case.name) as folder:
                        results = track(predictor.stream(case.slices()))
                        diagnosis = write_case(
                            folder, case.name, results, predictor.card, numbered=count > 1, notes=case.notes()
                        )
                    done.append(diagnosis)
        print_summary(done, failures.reasons)
    for reason in failures.reasons.values():
        sys.stderr.write(f"jcs diagnose: {reason}\n")
    return BAD_INPUT if not done else SOME_FAILED if failures.reasons else DONE
