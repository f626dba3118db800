"""What the tests of weight files share: both layouts, and where to write one."""

import pth_writer as pth
import pytest


@pytest.fixture(params=pth.FORMATS)
def layout(request):
    return request.param


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pth"
