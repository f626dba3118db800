"""One case from its files to its folder, and any number of them without one stopping the others."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jcs_jax.batch.earlier import earlier_report
from jcs_jax.batch.options import Options
from jcs_jax.diagnosis.failures import Failures
from jcs_jax.errors import InputError
from jcs_jax.files import atomic_directory, remove_leftovers
from jcs_jax.report import case_folder, json_report, study_folder
from jcs_jax.report.dicom.pseudonyms import Pseudonyms
from jcs_jax.study.cases import Case, CaseKind

_NUMBERED = (
    "its result would be called {name} after its place in the list, and so may another patient's; give --pseudonym_key "
    "to both runs, and names don't depend on the order"
)
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

    def in_order(self, names: Sequence[str]) -> Outcome:
        """The same, sorted.

        Args:
          names: of all cases, in the order wanted.
        """
        parts = (self.reports, self.failures, self.seconds)
        return Outcome(*({name: part[name] for name in names if name in part} for part in parts))  # type: ignore[arg-type]


class Runner:
    """Diagnoses cases one after the other.

    Args:
      options: of the run.
      track: passes the slices of the case of that name on, and counts them.
    """

    def __init__(self, options: Options, track: Track | None = None):
        self._options = options
        self._track: Track = track or (lambda name, items, total: items)

    def plan(self, cases: Sequence[Case], outcome: Outcome) -> list[tuple[Case, CaseKind]]:
        """The cases that are to be diagnosed; what failed already, or was done before, goes into `outcome`.

        Raises:
          InputError: there are results of an earlier run to be kept, and the networks can't be loaded.
        """
        options, planned = self._options, []
        reports = {case.name: options.output / case.name / json_report.FILE_NAME for case in cases}
        done = {name for name, report in reports.items() if options.skip_done and report.is_file()}
        if done:
            self.load()
        failures = Failures(debug=options.debug)
        for case in cases:
            with failures.isolate(case.name, case.source):
                kind, target = case.kind(), options.output / case.name
                if case.name in done and case.numbered:
                    raise InputError(f"{case.source}: {_NUMBERED.format(name=case.name)}")
                if case.name in done:
                    segmenting, screening = self._study_predictor.cards
                    cards = (segmenting, None if kind == "pictures" else screening)
                    outcome.reports[case.name] = earlier_report(reports[case.name], cards)
                    remove_leftovers(target.parent, of=target.name)
                    continue
                case_folder.require_free(target, source=case.source, overwrite=options.overwrite)
                if kind == "pictures":
                    case.check()  # so that for a bad picture nothing is computed
                planned.append((case, kind))
        outcome.failures |= failures.reasons
        return planned

    def run(self, planned: Iterable[tuple[Case, CaseKind]], outcome: Outcome) -> None:
        """Diagnoses, and writes a folder each."""
        failures = Failures(debug=self._options.debug)
        for case, kind in planned:
            with failures.isolate(case.name, case.source), _source_named(case):
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
        return self._load(self._options.checkpoint)

    def _load(self, checkpoint: str) -> Any:
        from jcs_jax.diagnosis.predictor import Predictor  # noqa: PLC0415  brings JAX

        names = ("batch_size", "flip", "engine", "precision")
        return Predictor.from_checkpoint(checkpoint, **{name: getattr(self._options, name) for name in names})

    @functools.cached_property
    def _study_predictor(self) -> Any:
        from jcs_jax.diagnosis.study_predictor import StudyPredictor  # noqa: PLC0415  brings JAX

        options = self._options
        screening = self._load(options.classifier) if options.classifier else None
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


@contextlib.contextmanager
def _source_named(case: Case) -> Iterator[None]:
    """Lets an error name the case's source, where it names the case or nothing."""
    try:
        yield
    except InputError as error:
        said = str(error)
        if str(case.source) in said:
            raise
        raise InputError(f"{case.source}: {said.removeprefix(f'{case.name}: ')}") from error


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
