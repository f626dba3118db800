"""What a page tells beside the evaluation itself: where things come from, published numbers, another model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class PageFacts:
    """What was evaluated, in words.

    Attributes:
      checkpoint: the weights, as a path or in words.
      dataset: name of the data set.
      split: the evaluated split.
      train_split: the split that leaks were looked for in; empty if none was given.
      thresholds_chosen_on: what the operating points were chosen on; empty if nobody wrote it down.
      more: other facts to list, name -> words.
    """

    checkpoint: str
    dataset: str
    split: str
    train_split: str = ""
    thresholds_chosen_on: str = ""
    more: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class PublishedNumber:
    """A number that others have published.

    Attributes:
      who: the model and the publication.
      name: of the number, as in the summary (`dice`).
      value: the number; nan if they call it not defined.
      n: cases it rests on; None if they don't say.
      note: what a reader must know, such as another test set.
      group: of the summary that ours stands in; empty: the first of the model's groups with a number of that name.
      source: DOI, arXiv identifier or address where it stands. What nobody looked at there has a note that says so.
    """

    who: str
    name: str
    value: float
    n: int | None = None
    note: str = ""
    group: str = ""
    source: str = ""


@dataclasses.dataclass(frozen=True)
class ComparedNumber:
    """One number of two models, measured on the same cases.

    Attributes:
      group: of the summary.
      name: of the number.
      first: the first model's value.
      second: the second model's value.
      difference: second less first.
      low: lower end of the difference's 95 % interval; nan where there is none.
      high: upper end of it.
      p_value: two-sided; nan where there is none.
      n: cases that both were measured on.
    """

    group: str
    name: str
    first: float
    second: float
    difference: float
    low: float = math.nan
    high: float = math.nan
    p_value: float = math.nan
    n: int = 0


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two models compared case by case.

    Attributes:
      first: name of the first model.
      second: name of the second model.
      numbers: what was compared.
    """

    first: str
    second: str
    numbers: Sequence[ComparedNumber]
