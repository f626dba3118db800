"""Protocols that measure who or which slice counts as infected, and the paper's own, which measures masks as well."""

from __future__ import annotations

from jcs_jax.evaluation.page.facts import PublishedNumber
from jcs_jax.evaluation.protocol import Protocol

_COVID_CT = "Multi-task and self-supervised learning, Yang et al., preprint 2020"
_COVID_CT_NOTE = (
    "from the abstract, which says neither n nor the split, and counts 463 pictures without COVID-19 where the "
    "official lists have 397"
)
_JCS = "JCS, Wu et al., IEEE TIP 2021"
_JCS_PAPER, _JCS_RELEASE = "https://doi.org/10.1109/TIP.2021.3058783", "https://github.com/yuhuan-wu/JCS"
_PATIENT_NOTE = (
    "from the abstract, an average on the classification test set; it doesn't say n, and that patients are counted "
    "stands in the project's reference notes"
)
_DICE_NOTE = "segmentation test set; neither the threshold nor how slices are averaged is stated there"

UCSD_OFFICIAL = Protocol(
    name="ucsd_official",
    title="UCSD COVID-CT, official train, validation and test lists",
    question="Are figures of COVID-19 told from figures of other findings?",
    needs=(
        "The official repository UCSD-AI4H/COVID-CT: one folder with Data-split (six lists) and Images-processed, with "
        "CT_COVID.zip and CT_NonCOVID.zip unzipped there. For patients save COVID-CT-MetaInfo.xlsx as CSV beside them. "
        "A copy with a manifest.csv must list test slices too, or there is no split test."
    ),
    prepare="jcs prepare ucsd_covid_ct --source COPY --data_dir data",
    data="ucsd_covid_ct",
    split="test",
    train_split="train",
    threshold_split="validation",
    folds=0,
    headline=("classification", "auc"),
    published=(
        PublishedNumber(_COVID_CT, "auc", 0.98, None, _COVID_CT_NOTE, "classification", "arXiv:2003.13865v3"),
        PublishedNumber(
            _COVID_CT, "accuracy", 0.89, None, _COVID_CT_NOTE, "classification", source="arXiv:2003.13865v3"
        ),
        PublishedNumber(
            "Self-Trans, He et al., preprint 2020",
            "auc",
            0.94,
            None,
            "from the abstract, which says neither n nor the split; transfer learning with self-supervision",
            "classification",
            source="https://doi.org/10.1101/2020.04.13.20063941",
        ),
    ),
    cautions=(
        "The classes come from different sources, so a score may be of the source: look at baseline_mean_brightness.",
        "Pictures are figures cut from papers, with letters and arrows: windows and sizes vary, and HU are lost.",
        "Non-COVID is not healthy: most negatives show other diseases.",
        "Its authors say that the lists keep patients apart (issue 11 of the repository); pictures without a patient "
        "in the tables can't be checked: run jcs audit, and read the leakage in metrics.json.",
        "It is a score of single pictures, not of patients.",
    ),
)

MOSMED_CT0_CT12 = Protocol(
    name="mosmed_ct0_ct12",
    title="MosMedData, CT-0 against CT-1 and CT-2, one slice a study",
    question="Are studies with signs of COVID-19 told from studies without, where both come from one source?",
    needs=(
        "Your copy of the MosMedData slices: a folder with CT-0, CT-1 and CT-2, one picture a study. Leave CT-3 and "
        "CT-4 out, if you have them. Studies are assigned to the splits by seed 0, stratified by category: other "
        "files, other splits."
    ),
    prepare="jcs prepare mosmed_slices --source COPY --data_dir data",
    data="mosmed_slices",
    split="test",
    train_split="train",
    threshold_split="validation",
    folds=0,
    headline=("classification", "auc"),
    published=(),
    cautions=(
        "No published score on such single slices was found; scores on the whole volumes of MosMedData answer another "
        "question.",
        "The label is the study's: a CT-1 slice often shows no lesion, so nobody knows how high a score can be.",
        "One slice stands for a study, chosen by whoever made the copy: it is no score of studies.",
        "CT-1 and CT-2 are the milder categories: severe disease isn't measured.",
    ),
)

COVID_CS_PAPER = Protocol(
    name="covid_cs_paper",
    title="COVID-CS, as in the JCS paper",
    question="How do patients' decisions and masks compare with the paper's?",
    needs=(
        "The slices of COVID-CS, which are not public: the owners hand them out by agreement. One folder with "
        "train.txt and test.txt (lines `image mask`, or `image` alone), the files they name, and patients.csv "
        "(patient,label). The lists of the classification part were not published, so patients need lists of yours. "
        "The masks alone can be measured on what is public: `jcs prepare covid_cs --config segmentation_features`, "
        "evaluated with --data covid_cs/segmentation_features."
    ),
    prepare="jcs prepare covid_cs --config images --source COPY --data_dir data",
    data="covid_cs/images",
    split="test",
    train_split="train",
    threshold_split="",
    folds=0,
    headline=("segmentation", "dice"),
    published=(
        PublishedNumber(_JCS, "sensitivity", 0.950, None, _PATIENT_NOTE, "patients", source=_JCS_PAPER),
        PublishedNumber(_JCS, "specificity", 0.930, None, _PATIENT_NOTE, "patients", source=_JCS_PAPER),
        PublishedNumber(
            f"{_JCS}, joint network",
            "dice",
            0.785,
            None,
            f"{_DICE_NOTE}; the first version of the preprint (arXiv 2004.07054v1) says 0.783",
            "segmentation",
            source=_JCS_PAPER,
        ),
        PublishedNumber(
            f"{_JCS}, segmentation alone", "dice", 0.775, None, _DICE_NOTE, "segmentation", source=_JCS_RELEASE
        ),
    ),
    cautions=(
        "The published lists have no validation part, and a score at an operating point that was chosen on test is "
        "optimistic: add a validation.txt and choose there.",
        "The release calls a patient infected from a fixed count of positive slices on, which depends on the slices' "
        "thickness; our rule is another.",
        "Infected and uninfected patients may differ in scanner and hospital, which nobody outside can check.",
        "Released features come from networks that their authors trained, on ImageNet or on COVID-CS: a model on them "
        "starts from those stages, not from scratch.",
    ),
)
