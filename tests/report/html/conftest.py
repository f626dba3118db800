"""One browser for all tests of the page, and the page of the made case."""

from pathlib import Path

import pytest
from browser import CHROMIUM, running_browser
from report_case import made_report, made_slices

from jcs_jax.report.html.page import write_html


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with running_browser() as running:
        yield running


@pytest.fixture(scope="session")
def made_page(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    return write_html(path, made_report(), iter(made_slices()), hounsfield=True)
