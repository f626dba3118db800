"""The page as text: what stands on it and in which order, that data stay data, and that it is the same each time."""

import base64
import dataclasses
import html.parser
import math
import re

import cv2
import numpy as np
import pytest
from made_evaluation import (
    made_comparison,
    made_evaluation,
    made_facts,
    made_pictures,
    made_published,
    undefined_evaluation,
)

from jcs_jax.evaluation.page.facts import ComparedNumber, Comparison, PublishedNumber
from jcs_jax.evaluation.page.figures import pictures_part
from jcs_jax.evaluation.page.page import evaluation_page
from jcs_jax.evaluation.page.tables import baseline_homes
from jcs_jax.evaluation.page.wording import interval_text, measured_text, p_text, value_text
from jcs_jax.evaluation.randomisation import RandomisationStep
from jcs_jax.evaluation.results import POLICY, CasePicture
from jcs_jax.evaluation.sanity import Sanity
from jcs_jax.metrics import Measurement

HOSTILE = "</style><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\"'$x${y}\udcff"


class Reader(html.parser.HTMLParser):
    """Rows of tables, headings, tags and words."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.headings, self._words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append("")
        self._words.append(tag)

    def handle_endtag(self, tag):
        if tag in ("td", "th", "h1", "h2", "h3", "tr", "style"):
            self._words.append("")

    def handle_data(self, data):
        inside = [word for word in self._words if word not in ("br", "span", "strong")]
        if inside and inside[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        if inside and re.fullmatch("h[1-6]", inside[-1]):
            self.headings[-1] += data

    def row(self, first):
        return next(row for row in self.rows if row and row[0].startswith(first))


@pytest.fixture(scope="module")
def text():
    return evaluation_page(
        dataclasses.replace(made_evaluation(), threshold_dice=np.linspace(0, 0.6, 256)),
        made_facts(),
        comparison=made_comparison(),
        published=made_published(),
    )


@pytest.fixture(scope="module")
def read(text):
    return Reader(text)


def without(*groups, **changes):
    """The made-up evaluation without some of its groups."""
    whole = made_evaluation()
    summary = {name: numbers for name, numbers in whole.summary.items() if name not in groups}
    return dataclasses.replace(whole, summary=summary, **changes)


def page_of(evaluation, **options):
    return evaluation_page(evaluation, made_facts(), **options)


def test_the_parts_stand_in_order(text):
    anchors = ["warnings", "evaluated", "results", "published", "comparison", "plots", "sources", "pictures"]
    places = [text.index(f'<section id="{anchor}"') for anchor in [*anchors, "policy", "intervals"]]
    assert places == sorted(places)
    assert text.index("Research use only: not a medical device.") < places[1]
    assert POLICY.split(".", maxsplit=1)[0] in text


def test_a_number_has_value_interval_n_and_how_many_were_not_defined_and_the_baselines_beside_it(read):
    assert read.row("Dice")[:5] == ["Dice", "0.620", "0.529 to 0.696", "60", "60"]
    assert [cell[:5] for cell in read.row("Dice")[5:]] == ["0.130", "0.310"]
    assert read.row("IoU")[6] == "–"
    assert read.row("Hausdorff")[1:5] == ["– not defined", "–", "0", "120"]
    assert read.row("A new number")[1] == "12.3"


def test_a_baseline_stands_where_it_shares_most_numbers_and_before_the_patients():
    summary = made_evaluation().summary
    homes = baseline_homes(summary)
    assert homes["segmentation"] == ["baseline_all_lung", "baseline_brightness_in_lungs"]
    assert homes["classification"] == ["baseline_mean_brightness", "baseline_image_area"]
    assert homes["patients"] == []
    assert baseline_homes({"baseline_mean_brightness": {"auc": Measurement(0.5, 3)}}) == {
        "baseline_mean_brightness": []
    }


def test_a_baselines_own_number_is_told_below(text):
    assert "Baseline: brightness in the lungs. Chosen threshold 0.620, n = 200" in text


def test_published_numbers_stand_beside_ours(read):
    rows = [row for row in read.rows if len(row) == 8]
    assert rows[1] == [
        "Dice",
        "0.783",
        "1000",
        "0.620",
        "0.529 to 0.696",
        "60",
        "Somebody et al. 2021",
        "other patients",
    ]
    assert rows[2][3] == "0.930"  # the group that was named, not the first with such a number
    assert rows[3] == ["E measure", "0.911", "48", "–", "–", "–", "Others 2020", "–"]


def test_a_published_group_that_we_lack_is_a_dash():
    read = Reader(page_of(without("patients"), published=[PublishedNumber("They", "auc", math.nan, group="patients")]))
    row = next(row for row in read.rows if "They" in row)
    assert row == ["AUC", "– not defined", "–", "–", "–", "–", "They", "–"]


def test_the_comparison_is_second_less_first(read):
    rows = [row for row in read.rows if "lower is better" not in row[0] and len(row) == 7 and ":" in row[0]]
    assert rows[0][1:] == ["0.5710", "0.6200", "0.0490", "0.0120 to 0.0850", "0.009", "60"]
    assert rows[1][1:] == ["0.9210", "0.9170", "−0.0040", "−0.0310 to 0.0240", "0.770", "120"]


def test_sources_with_few_cases_are_marked(read):
    rows = [row for row in read.rows if row and row[0].startswith("Collection of rare")]
    assert rows[0][1].endswith("n\u00a0=\u00a04 few")
    assert not any("few" in cell for row in read.rows if row and row[0] == "Hospital A" for cell in row)


def test_alternative_texts_tell_the_plots_numbers(read):
    alts = [attributes["alt"] for tag, attributes in read.tags if tag == "img"]
    assert len(alts) == 6 + 8
    assert all(alts)
    assert "slices: AUC 0.917 (0.897 to 0.934), n = 120" in alts[0]
    assert "patients at threshold 0.550: sensitivity 1.000" in alts[0]


def test_leaks_are_loud_and_told_once():
    note = "LEAKAGE: the training split shares 2 names with this one: these are training scores"
    text = page_of(without(leakage={"names": 2, "patients": 0}, notes=(note, "another note")))
    assert text.count("LEAKAGE") == 1
    assert '<p class="notice positive">LEAKAGE: the training split shares 2 names' in text
    assert text.index("LEAKAGE") < text.index("another note") < text.index("What was evaluated")


def test_leaks_that_nobody_looked_for_are_told():
    assert "Leaks were not looked for: no training split was given." in page_of(without(leakage=None))


_CLASSIFICATION = ("classification", "patients", "baseline_mean_brightness", "baseline_image_area")
_SEGMENTATION = ("segmentation", "lesions", "explanation", "baseline_all_lung", "baseline_brightness_in_lungs")


def test_a_segmenter_alone_has_no_curves_of_probabilities():
    cases = [dataclasses.replace(case, values={"lesion_area": 0.01, "dice": 0.5}) for case in made_evaluation().cases]
    text = page_of(without(*_CLASSIFICATION, cases=cases, patients=(), subgroups={}))
    assert "ROC curve" not in text
    assert text.count("data:image/svg+xml") == 1
    assert "Sources apart" not in text


def test_a_classifier_alone_has_no_plot_of_dice():
    cases = [dataclasses.replace(case, values={"infection_probability": 0.5}) for case in made_evaluation().cases]
    text = page_of(without(*_SEGMENTATION, cases=cases, pictures=()))
    assert "Dice and lesion" not in text
    assert "Worst and best" not in text
    assert text.count("data:image/svg+xml") == 4


def test_a_class_that_is_absent_leaves_the_reliability_plots_and_says_why():
    whole = made_evaluation()
    cases = [case for case in whole.cases if case.label == 1]
    patients = [one for one in whole.patients if one.label == 1]
    text = page_of(without(cases=cases, patients=patients))
    assert "there is one class only" in text
    assert 'alt="ROC' not in text
    assert text.count("data:image/svg+xml") == 3


def test_where_nothing_is_defined_nothing_is_zero():
    text = page_of(undefined_evaluation())
    rows = [row for row in Reader(text).rows if len(row) >= 5 and row[0] != "Number"]
    assert len(rows) > 20
    assert all(row[1:5] == ["– not defined", "–", "0", "120"] for row in rows)
    assert 'id="plots"' not in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_an_empty_summary_leaves_a_page():
    assert "Nothing could be measured." in page_of(dataclasses.replace(undefined_evaluation(), summary={}))


def test_everything_from_data_stays_text():
    whole = made_evaluation()
    numbers = {"auc": Measurement(0.5, 3), HOSTILE: Measurement(0.5, 30)}
    evaluation = dataclasses.replace(
        whole,
        preset=HOSTILE,
        summary={HOSTILE: numbers, f"baseline_{HOSTILE}": numbers},
        subgroups={HOSTILE: {HOSTILE: numbers}},
        counts={"slices": 120, HOSTILE: 1},
        thresholds={HOSTILE: 0.5},
        notes=(HOSTILE,),
        leakage={HOSTILE: 1},
        pictures=[dataclasses.replace(one, name=HOSTILE) for one in whole.pictures],
    )
    facts = dataclasses.replace(
        made_facts(),
        checkpoint=HOSTILE,
        dataset=HOSTILE,
        split=HOSTILE,
        train_split=HOSTILE,
        thresholds_chosen_on=HOSTILE,
        more={HOSTILE: HOSTILE},
    )
    compared = ComparedNumber(HOSTILE, HOSTILE, 0.1, 0.2, 0.1)
    published = [PublishedNumber(HOSTILE, HOSTILE, 0.5, 3, HOSTILE, HOSTILE)]
    text = evaluation_page(evaluation, facts, comparison=Comparison(HOSTILE, HOSTILE, [compared]), published=published)
    tags = Reader(text).tags
    assert "script" not in {tag for tag, _ in tags}
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)
    assert text.count("&lt;script&gt;") > 25
    assert text.count("</style>") == 1
    text.encode("utf-8")


def test_the_page_names_nothing_outside_itself(text, read):
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]+", "", text))
    for _, attributes in read.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert "default-src 'none'" in text


def test_the_same_evaluation_gives_the_same_page():
    assert page_of(made_evaluation()) == page_of(made_evaluation())


def test_headings_go_down_one_level_at_a_time_and_tables_have_captions_and_scopes(read):
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) == 1
    kinds = [tag for tag, _ in read.tags]
    assert kinds.count("table") == kinds.count("caption") > 8
    assert all(attributes.get("scope") for tag, attributes in read.tags if tag == "th")
    anchors = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(anchors) == len(set(anchors))


def test_pictures_stay_below_a_megabyte():
    random = np.random.default_rng(0)
    noise = [random.integers(0, 256, (200, 200, 3), np.uint8) for _ in range(3)]
    pictures = [CasePicture(f"{kind}-{i}", kind, 0.5, noise[i % 3]) for kind in ("worst", "best") for i in range(15)]
    part = pictures_part(pictures)
    assert part.count("<img") == 24
    assert len(part) < 1_100_000


def test_small_pictures_keep_their_size_and_colours():
    (one, *_) = made_pictures(1, side=64)
    data = re.search(r"data:image/png;base64,([^\"]+)", pictures_part([one])).group(1)
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded[..., ::-1], one.picture)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.81234, "0.812"),
        (0.012345, "0.0123"),
        (0.00031, "0.0003"),
        (0.00001, "< 0.0001"),
        (-0.00001, "> −0.0001"),
        (0.99961, "0.9996"),
        (0.99999, "> 0.9999"),
        (0.0, "0.000"),
        (1.0, "1.000"),
        (1.37, "1.37"),
        (12.345, "12.3"),
        (1234.5, "1,234"),
        (-0.5, "−0.500"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_numbers_have_three_significant_digits_and_four_decimals_at_most(value, written):
    assert value_text(value) == written


def test_intervals_are_as_exact_as_their_value():
    assert interval_text(Measurement(0.0123, 9, 0, 0.001, 0.1234)) == "0.0010 to 0.1234"
    assert interval_text(Measurement(0.9, 9, 0, 0.7, 0.99961)) == "0.700 to 0.9996"
    assert interval_text(Measurement(0.9, 9)) == "–"
    assert measured_text(Measurement(math.nan, 0, 4)) == "not defined, n = 0"


def test_small_p_values_are_not_written_as_zero():
    assert [p_text(value) for value in (0.0004, 0.0494, math.nan)] == ["< 0.001", "0.049", "–"]


def test_checks_for_shortcuts_are_told_with_their_faults():
    step = RandomisationStep(
        "class_head", Measurement(0.9, 8, low=0.8, high=0.95), Measurement(0.9, 8), Measurement(0.1, 8)
    )
    scores = (Measurement(0.9, 20, low=0.8, high=0.96), Measurement(0.8, 20, low=0.7, high=0.9), Measurement(0.6, 20))
    failed = Sanity((step,), *scores, notes=("few slices",), faults=("the answer comes from <outside>",))
    page = evaluation_page(made_evaluation(), made_facts(), sanity=failed)
    for text in ("Checks for shortcuts", "the answer comes from &lt;outside&gt;", "class_head", "few slices"):
        assert text in page
    passed = evaluation_page(made_evaluation(), made_facts(), sanity=Sanity((), *scores))
    assert "No check failed." in passed
    assert "Checks for shortcuts" not in evaluation_page(made_evaluation(), made_facts())
