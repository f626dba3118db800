"""A run over cases, in this process or in several, with a bar that shows how far it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from jcs_jax.batch.names import own_cases
from jcs_jax.batch.options import Options
from jcs_jax.batch.runner import Outcome, Runner
from jcs_jax.batch.workers import run_side_by_side
from jcs_jax.report.summary import progress_bar
from jcs_jax.study.cases import Case


def run_cases(cases: Sequence[Case], options: Options, *, workers: int = 1) -> Outcome:
    """Diagnoses cases.

    Args:
      cases: from `find_cases`; of them `options.shard` are diagnosed.
      options: for all of them.
      workers: processes; with 1 it is this one.

    Returns:
      What became of each, in the cases' order.

    Raises:
      InputError: the networks can't be loaded.
    """
    outcome = Outcome()
    own = own_cases(
        cases,
        part=options.shard,
        keep_identifiers=options.keep_identifiers,
        key=options.pseudonym_key if options.own_key else b"",
    )
    with progress_bar() as bars:

        def track(name: str, items: Iterable[Any], total: int) -> Iterable[Any]:
            return bars.track(items, name, total)

        runner = Runner(options, track)
        planned = runner.plan(own, outcome)
        if planned and workers > 1:
            with bars.counting("cases", len(planned)) as advance:
                run_side_by_side(planned, options, outcome, workers=workers, advance=advance)
        elif planned:
            runner.load()
            runner.run(planned, outcome)
    return outcome.in_order([case.name for case in own])
