"""Text never becomes markup, and numbers are written so that they can't mislead."""

import json

import pytest

from jcs_jax.report.html.markup import Markup, embedded_json, number, percent, row, table, tag


def test_text_and_attributes_are_escaped_and_markup_is_not():
    made = tag("p", "<b>&", tag("i", "x"), title='"<>', data_slice=3)
    assert made == '<p title="&quot;&lt;&gt;" data-slice="3">&lt;b&gt;&amp;<i>x</i></p>'


def test_attributes_of_none_and_false_are_left_out_and_true_has_no_value():
    assert tag("input", hidden=True, disabled=False, id=None, class_="a") == '<input hidden class="a">'


def test_embedded_json_holds_nothing_that_ends_a_script_and_reads_back():
    values = {"name": "</script><!-- & \ud800 é"}
    text = embedded_json(values)
    assert not set("<>&") & set(text)
    assert text.isascii()
    assert json.loads(text) == values


def test_embedded_json_refuses_what_json_has_not():
    with pytest.raises(ValueError, match="JSON"):
        embedded_json([float("nan")])


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0%"), (0.0001, "< 0.1%"), (0.123, "12.3%"), (0.99999, "> 99.9%"), (1, "100.0%"), (None, "–")],
)
def test_what_is_neither_0_nor_1_is_not_rounded_to_it(share, text):
    assert percent(share) == text


def test_numbers_have_a_minus_sign_and_a_unit():
    assert number(-1234.56, 1, "HU") == "−1,234.6 HU"
    assert number(None, 1, "HU") == "–"


def test_headings_of_a_table_have_a_scope():
    made = table("all", ["a", "b"], [row("1", ["x"])])
    assert made.count('scope="col"') == 2
    assert made.count('scope="row"') == 1
    assert isinstance(made, Markup)
