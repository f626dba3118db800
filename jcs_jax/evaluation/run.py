"""An evaluation from flags to files: opens models and data, measures, compares and writes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from jcs_jax.checkpoints import load_model, weights_digest
from jcs_jax.data.sources import open_source
from jcs_jax.errors import InputError
from jcs_jax.evaluation.comparison import compare
from jcs_jax.evaluation.evaluate import Fold, evaluate_folds
from jcs_jax.evaluation.operating_points import (
    OperatingPoints,
    choose_operating_points,
    read_operating_points,
    write_operating_points,
)
from jcs_jax.evaluation.page.facts import PageFacts, PublishedNumber
from jcs_jax.evaluation.page.page import evaluation_page
from jcs_jax.evaluation.protocol import in_folds
from jcs_jax.evaluation.results import Evaluation, write_evaluation
from jcs_jax.evaluation.sanity import run_sanity
from jcs_jax.files import write_atomically
from jcs_jax.models.compilation import convolutions_for
from jcs_jax.models.mirrored import MirrorAveraged
from jcs_jax.models.presets import with_convolutions

PAGE = "evaluation.html"
FLIPPED = "every answer is the mean over the slice and its mirror image"


@dataclasses.dataclass(frozen=True)
class Task:
    """What is to be measured on what.

    Attributes:
      checkpoint: model folder or shipped name; with folds it has `{fold}`.
      data_dir: folder that holds prepared data sets.
      dataset: NAME or NAME/CONFIG.
      split: to evaluate; with folds it has `{fold}`.
      train_split: what the model was trained on, with folds `{others}`; empty if unknown.
      folds: of a cross-validation; 0: a single model.
      thresholds: file of the model's thresholds; empty: its own.
      batch_size: slices per call of the network.
      flip: average over every slice and its mirror image.
    """

    checkpoint: str
    data_dir: str
    dataset: str
    split: str
    train_split: str = ""
    folds: int = 0
    thresholds: str = ""
    batch_size: int = 4
    flip: bool = False

    def open(self) -> tuple[list[Fold], str]:
        """Models with the slices that each is measured on, and what their thresholds were chosen on.

        Raises:
          InputError: a model, split or file that isn't there, or folds without a pattern.
        """
        if self.folds and not ("{fold}" in self.checkpoint and "{fold}" in self.split):
            raise InputError("--folds: needs {fold} in --checkpoint and in --split, such as runs/{fold}/model")
        folds, chosen_on = [], ""
        for checkpoint, split, train_split in in_folds(self.folds, self.checkpoint, self.split, self.train_split):
            source = open_source(self.data_dir, self.dataset, split)
            trained = open_source(self.data_dir, self.dataset, train_split) if train_split else None
            model, variables, preset = load_model(checkpoint)
            model = with_convolutions(model, convolutions_for(jax.default_backend()))
            if self.thresholds:
                points = read_operating_points(self.thresholds, weights=weights_digest(checkpoint) or "")
                preset, chosen_on = points.applied(preset), points.chosen_on
            if self.flip and source[0].image is None:
                raise InputError(f"--flip: {self.dataset} holds stored features, not pictures to mirror; leave it out")
            folds.append(Fold(MirrorAveraged(model) if self.flip else model, variables, preset, source, trained))
        return folds, chosen_on


def evaluate_task(
    task: Task,
    output: Path,
    *,
    against: str = "",
    published: Sequence[PublishedNumber] = (),
    protocol: str = "",
    sanity: bool = False,
) -> tuple[Evaluation, Path]:
    """Measures, and writes metrics.json, the tables and the page.

    Args:
      task: what on what.
      output: folder for the files.
      against: another model to compare with on the same slices; empty for none.
      published: numbers of others to show beside these.
      protocol: name of the protocol that is followed, if any.
      sanity: whether to check what the class probability and its map rest on (`run_sanity`); what fails becomes a
        note. Of folds, the first is checked.

    Returns:
      The evaluation, and where metrics.json is.

    Raises:
      InputError: as `Task.open` and `evaluate_folds`.
    """
    folds, chosen_on = task.open()
    evaluation = evaluate_folds(folds, batch_size=task.batch_size)
    comparison = None
    if against:
        other, _ = dataclasses.replace(task, checkpoint=against, thresholds="").open()
        reference = evaluate_folds(other, batch_size=task.batch_size)
        comparison = compare(reference, evaluation, (against, task.checkpoint))
    checked = run_sanity(*folds[0][:4], batch_size=task.batch_size) if sanity else None
    if checked is not None:
        faults = [f"SANITY: {fault}" for fault in checked.faults]
        evaluation = dataclasses.replace(evaluation, notes=[*faults, *evaluation.notes])
    told: dict[str, Any] = {"checkpoint": task.checkpoint, "dataset": task.dataset, "split": task.split}
    if task.flip:
        evaluation = dataclasses.replace(evaluation, notes=[*evaluation.notes, FLIPPED])
    more = {
        **({"flip": True} if task.flip else {}),
        **({"protocol": protocol} if protocol else {}),
        **({"folds": task.folds} if task.folds else {}),
        **({"comparison": _plain(dataclasses.asdict(comparison))} if comparison else {}),
        **({"sanity": checked.to_json()} if checked else {}),
        **({"published": _plain([dataclasses.asdict(number) for number in published])} if published else {}),
    }
    facts = PageFacts(**told, train_split=task.train_split, thresholds_chosen_on=chosen_on)
    page = evaluation_page(
        evaluation,
        facts,
        comparison=comparison,
        published=published,
        sanity=checked,
    )
    write_atomically(output / PAGE, page)
    written = write_evaluation(
        evaluation, output, **told, train_split=task.train_split or None, thresholds_chosen_on=chosen_on, more=more
    )
    return evaluation, written


def _plain(values: Any) -> Any:
    """The same for strict JSON: null where a number is not defined."""
    if isinstance(values, dict):
        return {key: _plain(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_plain(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def save_thresholds(task: Task, file: Path) -> OperatingPoints:
    """Chooses a model's thresholds on a split and writes them.

    Raises:
      InputError: as `Task.open` and `choose_operating_points`; folds.
    """
    if task.folds or task.thresholds:
        raise InputError("--save_thresholds: chooses for one model; leave out --folds and --thresholds")
    (fold,), _ = task.open()
    points = choose_operating_points(
        fold.model,
        fold.variables,
        fold.preset,
        fold.source,
        weights=weights_digest(task.checkpoint) or "",
        chosen_on=f"{task.dataset}:{task.split}",
        batch_size=task.batch_size,
    )
    write_operating_points(points, file)
    return points
