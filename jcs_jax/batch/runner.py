"""One case from its files to its folder, and any number of them without one stopping the others."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from jcs_jax.batch.options import Options
from jcs_jax.diagnosis.failures import Failures
from jcs_jax.errors import InputError
from jcs_jax.files import atomic_directory, remove_leftovers
from jcs_jax.report import case_folder, json_report, study_folder
from jcs_jax.report.dicom.pseudonyms import Pseudonyms
from jcs_jax.study.cases import Case, CaseKind

Track = Callable[[str, Iterable[Any], int], Iterable[Any]]


@dataclasses.dataclass
class Outcome:
    """What became of cases.

    Attributes:
      reports: content of `diagnosis.json`, by the case's name; those of an earlier run included.
      failures: one line each, by the case's name.
      seconds: that each stage took, by the case's name.
    """

    reports: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    failures: dict[str, str] = dataclasses.field(default_factory=dict)
    seconds: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)

    def add(self, other: Outcome) -> None:
        """Takes in what became of other cases."""
        self.reports |= other.reports
        self.failures |= other.failures
        self.seconds |= other.seconds


class Runner:
    """Diagnoses cases one after the other.

    Args:
      options: of the run.
      track: passes the slices of the case of that name on, and counts them.
    """

    def __init__(self, options: Options, track: Track | None = None):
        self._options = options
        self._track: Track = track or (lambda name, items, total: items)

    def plan(self, cases: Iterable[Case], outcome: Outcome) -> list[tuple[Case, CaseKind]]:
        """The cases that are to be diagnosed; what failed already, or was done before, goes into `outcome`."""
        planned, failures = [], Failures(debug=self._options.debug)
        for given in cases:
            case = given
            with failures.isolate(case.name, case.source):
                kind = case.kind()
                if kind == "dicom" and not self._options.keep_identifiers:
                    case = _without_identifiers(case)
                earlier = self._earlier(case)
                if earlier is not None:
                    outcome.reports[case.name] = earlier
                    continue
                target = self._options.output / case.name
                case_folder.require_free(target, source=case.source, overwrite=self._options.overwrite)
                if kind == "pictures":
                    case.check()  # so that for a bad picture nothing is computed
                planned.append((case, kind))
        outcome.failures |= failures.reasons
        return planned

    def run(self, planned: Iterable[tuple[Case, CaseKind]], outcome: Outcome) -> None:
        """Diagnoses, and writes a folder each."""
        failures = Failures(debug=self._options.debug)
        for case, kind in planned:
            with failures.isolate(case.name, case.source):
                seconds: dict[str, float] = {}
                work = self._pictures if kind == "pictures" else self._volume
                report = work(case, kind, seconds)
                outcome.reports[case.name], outcome.seconds[case.name] = report, seconds
        outcome.failures |= failures.reasons

    def load(self) -> None:
        """Loads the networks, which `run` would do at the first case.

        Raises:
          InputError: a folder that holds no model, or none that can screen.
        """
        _ = self._study_predictor

    @functools.cached_property
    def _predictor(self) -> Any:
        from jcs_jax.diagnosis.predictor import Predictor  # noqa: PLC0415  brings JAX

        options = self._options
        return Predictor.from_checkpoint(options.checkpoint, batch_size=options.batch_size, flip=options.flip)

    @functools.cached_property
    def _study_predictor(self) -> Any:
        from jcs_jax.diagnosis.predictor import Predictor  # noqa: PLC0415  brings JAX
        from jcs_jax.diagnosis.study_predictor import StudyPredictor  # noqa: PLC0415  brings JAX

        options, screening = self._options, None
        if options.classifier:
            screening = Predictor.from_checkpoint(options.classifier, batch_size=options.batch_size, flip=options.flip)
        return StudyPredictor(self._predictor, screening, segment_all=options.segment_all)

    def _pictures(self, case: Case, kind: CaseKind, seconds: dict[str, float]) -> dict[str, Any]:
        from jcs_jax.diagnosis.predictor import picture_diagnosis  # noqa: PLC0415  brings JAX

        predictor, count = self._predictor, len(case.files())
        finish = functools.partial(picture_diagnosis, predictor, case.name, notes=case.notes())
        results = self._track(case.name, predictor.stream(case.slices()), count)
        formats = tuple(name for name in self._options.formats if name in case_folder.FORMATS)
        with _timed(seconds, "networks and report"), self._folder(case) as folder:
            return case_folder.write_case(folder, results, predictor.card, finish, numbered=count > 1, formats=formats)

    def _volume(self, case: Case, kind: CaseKind, seconds: dict[str, float]) -> dict[str, Any]:
        from jcs_jax.diagnosis.study_predictor import source_grid  # noqa: PLC0415  brings JAX

        options = self._options
        with _timed(seconds, "reading"):
            volume = case.volume(series_uid=options.series_uid)

        def track(slices: Iterable[int]) -> Iterable[int]:
            return self._track(case.name, slices, len(volume.hounsfield))

        diagnosis, maps = self._study_predictor.diagnose(volume, case.name, track=track)
        seconds |= self._study_predictor.seconds
        with _timed(seconds, "report"), self._folder(case) as folder:
            dicom = kind == "dicom" and bool(set(options.formats) & set(study_folder.DICOM_FORMATS))
            return study_folder.write_study(
                folder,
                diagnosis,
                maps,
                source_grid(volume, headers=dicom),
                formats=options.formats,
                pseudonyms=Pseudonyms(options.pseudonym_key, options.keep_identifiers),
            )

    @contextlib.contextmanager
    def _folder(self, case: Case) -> Iterator[Path]:
        """The case's folder, under a temporary name; what a killed process left of it goes first."""
        target = self._options.output / case.name
        if target.parent.is_dir():
            remove_leftovers(target.parent, of=target.name)
        with atomic_directory(target) as folder:
            yield folder

    def _earlier(self, case: Case) -> dict[str, Any] | None:
        """The report of an earlier run, where it may stand.

        Raises:
          InputError: it is of another network, or can't be read.
        """
        file = self._options.output / case.name / json_report.FILE_NAME
        if not (self._options.skip_done and file.is_file()):
            return None
        try:
            report = json.loads(file.read_text(encoding="utf-8"))
            found = (report["schema"], report["model"]["checkpoint"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(f"{file}: is no report of a diagnosis; move its folder away") from error
        wanted = (json_report.SCHEMA, Path(self._options.checkpoint).resolve().name)
        if found != wanted:
            raise InputError(
                f"{file}: was made by {found[1]} as {found[0]}, not by {wanted[1]} as {wanted[0]}; give another "
                "--output, or --overwrite without --skip_done"
            )
        return report


def _without_identifiers(case: Case) -> Case:
    """The case under its number, if its name tells who the patient is."""
    from jcs_jax.study.dicom.identifiers import names_patient  # noqa: PLC0415  brings pydicom

    return dataclasses.replace(case, name=f"case-{case.number:04d}") if names_patient(case.name, case.source) else case


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
