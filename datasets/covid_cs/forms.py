"""The forms in which COVID-CS is handed out, and one slice of any of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from jcs_datasets.common.records import Record


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """What a list and its files look like.

    Attributes:
      content: `segmentation`, features and masks; `classification`, features and labels; `pictures`, slices.
      vgg_side: rows and columns of VGG's stage 1; None where it isn't given.
      res2net_side: rows and columns of Res2Net's stem; None where it isn't given.
      mask_sides: rows and columns that a mask may have; empty where the slice itself says it.
    """

    content: Literal["segmentation", "classification", "pictures"]
    vgg_side: int | None = None
    res2net_side: int | None = None
    mask_sides: tuple[int, ...] = ()

    @property
    def example_bytes(self) -> int:
        """About what a stored example takes before compression."""
        side = self.vgg_side or 512
        return (self.vgg_side or 0) ** 2 * 64 + (self.res2net_side or 0) ** 2 * 64 + side**2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slice:
    """One listed slice.

    Attributes:
      record: what is known of it.
      features: its .mat file; None for pictures.
      image: its picture; None for features.
      mask: its annotation; None where nobody drew one.
      line: names the list and the line that asks for it, for errors.
    """

    record: Record
    features: Path | None = None
    image: Path | None = None
    mask: Path | None = None
    line: str

    def where(self, path: Path) -> str:
        """How an error names one of its files."""
        return f"{path} ({self.line})"
