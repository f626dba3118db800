import dataclasses
import html.parser
import json
import math

import numpy as np
import pytest

from jcs_jax.audit import wording
from jcs_jax.audit.confounding import Confounder
from jcs_jax.audit.findings import Audit, Copy, PartSummary, Place, SameSlices, SharedPatient
from jcs_jax.audit.html_report import audit_page
from jcs_jax.audit.json_report import audit_report, to_text
from jcs_jax.audit.ranking import Auc
from jcs_jax.audit.terminal_report import print_report
from jcs_jax.notice import RESEARCH_USE

THUMBNAIL = np.full((256, 128), 90, np.uint8)
HOSTILE = "<img src=x onerror=alert(1)>&[bold]"
CLEAN = Audit(
    parts=(PartSummary("set:train", 4, 2, 1, 2, 1, 1, 3, ("a",), ()),),
    patients=(),
    pictures=(),
    names=(),
    copies=(),
    confounders=(Confounder("height", "set:train", Auc(math.nan, math.inf, 2, 1), False, "the same in every slice"),),
    notes=("nothing to see",),
)
LEAKING = dataclasses.replace(
    CLEAN,
    patients=(SharedPatient("7", {"set:train": 2, "set:test": 1}),),
    pictures=(SameSlices((Place("set:train", HOSTILE), Place("set:test", "b"), Place("set:test", "c")), THUMBNAIL),),
    names=(SameSlices((Place("set:train", "d"), Place("set:test", "d"))),),
    copies=(
        Copy(Place("set:train", "e"), Place("set:test", "f"), 0.98765, "transposed", (THUMBNAIL, THUMBNAIL)),
        Copy(Place("set:train", "g"), Place("set:test", "h"), 0.98, "resized to 90%", None),
    ),
    confounders=(
        Confounder("height", "set:train", Auc(0.75, 0.05, 20, 30), True, ""),
        Confounder("source", "set:train", Auc(0.5, math.inf, 20, 30), False, "by share"),
    ),
)


class _Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.open, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]
        assert not [name for name, _ in attributes if name.startswith("on")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def said(capsys, audit):
    print_report(audit)
    return capsys.readouterr().out


def test_json_holds_everything_and_is_strict():
    report = json.loads(to_text(audit_report(LEAKING)))
    assert report["schema"] == "jcs-audit/1"
    assert list(report)[:3] == ["schema", "research_use", "notes"]
    assert report["research_use"] == RESEARCH_USE
    assert report["leaks"] is True
    assert report["counts"] == {"patients": 1, "pictures": 1, "names": 1, "copies": 2}
    assert report["parts"][0]["empty_masks"] == ["a"]
    assert report["patients"] == [{"patient": "7", "slices": {"set:train": 2, "set:test": 1}}]
    assert report["pictures"][0][0] == {"part": "set:train", "name": HOSTILE}
    assert report["names"] == [[{"part": "set:train", "name": "d"}, {"part": "set:test", "name": "d"}]]
    assert report["copies"]["threshold"] == 0.975
    assert report["copies"]["pairs"][0] == {
        "first": {"part": "set:train", "name": "e"},
        "second": {"part": "set:test", "name": "f"},
        "similarity": 0.9877,
        "change": "transposed",
    }
    height, source = report["confounding"]["features"]
    assert (height["auc"], height["interval_95"], height["flagged"]) == (0.75, [0.652, 0.848], True)
    assert source["interval_95"] == [0, 1]


def test_json_has_null_for_what_has_no_number():
    report = json.loads(to_text(audit_report(CLEAN)))
    assert report["leaks"] is False
    (height,) = report["confounding"]["features"]
    assert height["auc"] is None
    assert height["interval_95"] == [None, None]
    with pytest.raises(ValueError, match="JSON"):
        to_text({"value": math.nan})


@pytest.mark.parametrize("audit", [CLEAN, LEAKING])
def test_the_page_is_well_formed_and_needs_no_network(audit):
    page = _Page(audit_page(audit))
    assert page.open == []
    assert "script" not in page.tags
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert RESEARCH_USE in page.text
    assert wording.verdict(audit) in page.text


def test_the_page_shows_pairs_side_by_side_and_escapes_names():
    page = _Page(audit_page(LEAKING))
    assert page.tags.count("figure") == 2
    assert page.tags.count("img") == 4
    assert HOSTILE in page.text
    assert "transposed" in page.text
    assert "also set:test c" in page.text
    assert "set:train g ~ set:test h: resized to 90%" in page.text
    assert "Warning: the classes can be told apart by height." in page.text


def test_the_terminal_names_every_leak_and_the_verdict(capsys):
    text = said(capsys, LEAKING)
    assert "7: 2 in set:train, 1 in set:test" in text
    assert f"set:train {HOSTILE} = set:test b = set:test c" in text
    assert "set:train d = set:test d" in text
    assert "set:train e ~ set:test f (similarity 0.988: transposed)" in text
    assert "0.652 to 0.848" in text
    assert "LEAKS: 1 patient in two parts, 1 exact picture in two parts, 1 name of different slices" in text
    assert RESEARCH_USE in text


def test_the_terminal_says_what_is_clean(capsys):
    text = said(capsys, CLEAN)
    assert "No leak found between the parts." in text
    assert "note: nothing to see" in text
    assert "2 + unknown" in text
    assert "1 (a)" in text
    assert "Trivial features" not in text


def test_the_terminal_stops_after_25_lines_of_a_kind(capsys):
    many = tuple(SharedPatient(f"p{number}", {"a:x": 1, "a:y": 1}) for number in range(30))
    text = said(capsys, dataclasses.replace(CLEAN, patients=many))
    assert "p24: " in text
    assert "p25: " not in text
    assert "... and 5 more in audit.json" in text
