"""Protocols that measure masks of opacities, on the slices of COVID-19-CT100 in its two editions."""

from __future__ import annotations

from jcs_jax.evaluation.page.facts import PublishedNumber
from jcs_jax.evaluation.protocol import NOT_VERIFIED, Protocol

_INF_NET = "https://doi.org/10.1109/TMI.2020.2996645"
_FAN = "Fan et al., IEEE TMI 2020"
_QUOTED = f"as quoted by the project's data notes, {NOT_VERIFIED}"
_HELD_OUT = "48 held-out slices"
# Model -> Dice as the mean over 256 thresholds and at the best one, and what its training had beside the 50 slices.
_REPORTED = {
    "U-Net": (0.439, 0.558, "the default settings of its code"),
    "U-Net++": (0.581, 0.706, "the default settings of its code"),
    "Inf-Net": (0.682, 0.746, "an encoder from ImageNet"),
    "Semi-Inf-Net": (0.739, 0.775, "an encoder from ImageNet and 1,600 slices with pseudo-labels"),
}


def _mean_dice(where: str) -> tuple[PublishedNumber, ...]:
    return tuple(
        PublishedNumber(
            f"{model}, {_FAN}",
            "mean_threshold_dice",
            mean,
            48,
            f"{where}, with {training}; the repository of Inf-Net says that its Dice is the mean, not the best; "
            f"value {_QUOTED}",
            "segmentation",
            source=_INF_NET,
        )
        for model, (mean, _, training) in _REPORTED.items()
    )


def _best_dice() -> tuple[PublishedNumber, ...]:
    return tuple(
        PublishedNumber(
            f"{model}, {_FAN}",
            "best_threshold_dice",
            best,
            48,
            f"{_HELD_OUT}, with {training}; threshold chosen on these slices; the repository of Inf-Net says that the "
            f"paper's table has the mean instead; value {_QUOTED}",
            "segmentation",
            source=_INF_NET,
        )
        for model, (_, best, training) in _REPORTED.items()
    )


_NO_PATIENTS = "Patients are not named, so no split can keep them apart: slices of one patient may be on both sides."
_ALL_INFECTED = "Every slice is of a patient with COVID-19: a score tells nothing about false alarms in other people."
_SAME_PICTURES = (
    "COVID-SemiSeg and COVID-19-CT100 are the same pictures: weights that saw one of them, also in pretraining, can't "
    "be tested on the other."
)

COVID_SEMISEG_50_48 = Protocol(
    name="covid_semiseg_50_48",
    title="COVID-SemiSeg, 50 slices to train and 48 to test",
    question="How well are opacities outlined on the slices that Inf-Net was published on?",
    needs=(
        "Your copy of COVID-SemiSeg, for non-commercial use, from the repository of Inf-Net: one folder with "
        "TrainingSet (LungInfection-Train/Doctor-label has 50 slices in Imgs and masks in GT) and TestingSet "
        "(LungInfection-Test has 48, likewise). Without TestingSet there is no split test: take covid_semiseg_folds. "
        "If covid_semiseg was prepared with --folds in that data folder, add --overwrite or name another."
    ),
    prepare="jcs prepare covid_semiseg --source COPY --data_dir data",
    data="covid_semiseg",
    split="test",
    train_split="train",
    threshold_split="",
    folds=0,
    headline=("segmentation", "mean_threshold_dice"),
    published=(*_mean_dice(_HELD_OUT), *_best_dice()),
    cautions=(
        "The mean over thresholds rewards maps that are nearly black and white: compare Dice at a fixed threshold too.",
        "The best threshold is chosen on the test slices, so that number is optimistic, the published ones as well.",
        "Encoders from ImageNet and losses differ between the published models; a user of Inf-Net's repository (issue "
        "14) reports that a U-Net with such an encoder does as well as Inf-Net.",
        "The set once had 50 test slices; its authors took out two small ones with an empty mask.",
        _NO_PATIENTS,
        _SAME_PICTURES,
        _ALL_INFECTED,
    ),
)

COVID_SEMISEG_FOLDS = Protocol(
    name="covid_semiseg_folds",
    title="COVID-SemiSeg, its 50 training slices in five folds",
    question="How well are opacities outlined where the 48 test slices are not at hand?",
    needs=(
        "Your copy of COVID-SemiSeg, for non-commercial use: one folder with TrainingSet (50 slices in "
        "LungInfection-Train/Doctor-label/Imgs, masks in GT). Slices without masks, in LungInfection-Train/"
        "Pseudo-label/Imgs, become the split unlabelled, which every round may train on too. If covid_semiseg was "
        "prepared without --folds in that data folder, add --overwrite or name another."
    ),
    prepare="jcs prepare covid_semiseg --source COPY --folds 5 --data_dir data",
    data="covid_semiseg",
    split="{fold}",
    train_split="{others}",
    threshold_split="",
    folds=5,
    headline=("segmentation", "mean_threshold_dice"),
    published=_mean_dice(f"other slices than these: {_HELD_OUT}, trained on all 50"),
    cautions=(
        "Published numbers are of other slices, the 48 test ones: they don't rank beside a score on folds.",
        "A fold has ten slices, and five models are measured, not one: quote all 50 slices with an interval.",
        "Choosing anything by these folds makes their score optimistic.",
        _NO_PATIENTS,
        _SAME_PICTURES,
        _ALL_INFECTED,
    ),
)

CT100_FOLDS = Protocol(
    name="ct100_folds",
    title="COVID-19-CT100 in five disjoint folds",
    question="How well are opacities outlined on slices that were not trained on?",
    needs=(
        "COVID-19-CT100 in the layout of the JCS release (tr_im, tr_mask_new and the lists). The command fetches it; "
        "for a copy of yours put --source COPY in place of --download. Folds depend on which slices the list names."
    ),
    prepare="jcs prepare covid19_ct100 --config clean --download --data_dir data",
    data="covid19_ct100/clean",
    split="{fold}",
    train_split="{others}",
    threshold_split="",
    folds=5,
    headline=("segmentation", "dice"),
    published=(),
    cautions=(
        "There is no published score on these folds. In the lists of the JCS release all 20 test slices are training "
        "slices too, so scores on those lists, of the release or of anybody, are training scores.",
        "MiniSeg (Qiu et al., AAAI 2021) was measured by five-fold cross-validation too, in folds of its own: its "
        "numbers are not quoted.",
        "A fold has a fifth of the slices, and five models are measured, not one: quote all slices with an interval.",
        _NO_PATIENTS,
        _SAME_PICTURES,
        _ALL_INFECTED,
    ),
)
