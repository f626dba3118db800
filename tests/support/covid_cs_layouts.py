"""Small copies of COVID-CS in each of its forms, and what is read of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from covid_cs_files import slice_name, write_covid_cs

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.records import Record
from jcs_datasets.covid_cs.forms import Form
from jcs_datasets.covid_cs.layout import read_layout

SEGMENTATION = Form(content="segmentation", vgg_side=64, res2net_side=32, mask_sides=(64, 128))
CLASSIFICATION = Form(content="classification", res2net_side=32)
PICTURES = Form(content="pictures")
FORMS = {"segmentation_features": SEGMENTATION, "classification_features": CLASSIFICATION, "images": PICTURES}
SIDES = {"segmentation_features": (64, 32), "classification_features": (None, 32), "images": (48, 0)}
SECOND = slice_name(1)


def write(folder: Path, config: str = "segmentation_features", **options: int) -> Path:
    """A copy with features of 64 x 64 and 32 x 32, or pictures of 48 x 48."""
    return write_covid_cs(folder, config, sides=SIDES[config], **options)


def records(folder: Path, form: Form) -> dict[str, Record]:
    """What is known of every slice, by name."""
    layout = read_layout(folder, form)
    return {item.record.name: item.record for slices in layout.splits.values() for item in slices}


def refused(folder: Path, form: Form, start: Path | str | None = None) -> str:
    """The one line with which a copy is refused; it begins with a file of the folder."""
    with pytest.raises(SourceError) as caught:
        read_layout(folder, form)
    message = str(caught.value)
    assert message.startswith(str(folder if start is None else folder / start))
    assert "\n" not in message
    assert ";" in message  # what is wrong; the cure
    return message
