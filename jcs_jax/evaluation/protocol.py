"""An evaluation that others can repeat: which data and splits, which number counts, and what was published on them."""

from __future__ import annotations

import dataclasses

from jcs_jax.evaluation.page.facts import PublishedNumber

NOT_VERIFIED = "not verified here"


@dataclasses.dataclass(frozen=True)
class Round:
    """One training and one evaluation.

    Attributes:
      train_split: what is trained on.
      threshold_split: what operating points are chosen on; empty if there is nothing left for it.
      split: what is evaluated, and nothing else is done with.
    """

    train_split: str
    threshold_split: str
    split: str


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A named evaluation.

    With folds, `split`, `train_split` and `threshold_split` are patterns: `{fold}` is the fold that is held out and
    `{others}` are the names of the other ones, joined by +.

    Attributes:
      name: what a user calls it by.
      title: a line for headings.
      question: what its score answers.
      needs: which files of which data set, and what to mind about them.
      prepare: command line that prepares them; COPY stands for the folder of the user's copy.
      data: prepared data set, name or name/config.
      split: to evaluate.
      train_split: to train on; leaks are looked for between the two.
      threshold_split: to choose operating points on; empty where the data set has nothing left for it.
      folds: how many; 0: one training and one evaluation.
      headline: group and name of the number that is to be quoted, as in metrics.json.
      published: what others reported on these data.
      cautions: what a score can't tell.
    """

    name: str
    title: str
    question: str
    needs: str
    prepare: str
    data: str
    split: str
    train_split: str
    threshold_split: str
    folds: int
    headline: tuple[str, str]
    published: tuple[PublishedNumber, ...]
    cautions: tuple[str, ...]

    def rounds(self) -> tuple[Round, ...]:
        """The splits of every training, one a fold; a single one without folds."""
        return tuple(
            Round(*texts) for texts in in_folds(self.folds, self.train_split, self.threshold_split, self.split)
        )


def in_folds(folds: int, *patterns: str) -> list[list[str]]:
    """Patterns with `{fold}`, such as fold0, and `{others}`, such as fold1+fold2, filled in for every fold.

    Args:
      folds: how many; 0 gives the patterns as they are, once.
      *patterns: texts; other braces stay.
    """
    if not folds:
        return [list(patterns)]
    names = [f"fold{number}" for number in range(folds)]
    filled = []
    for fold in names:
        others = "+".join(name for name in names if name != fold)
        filled.append([text.replace("{fold}", fold).replace("{others}", others) for text in patterns])
    return filled
