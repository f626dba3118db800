"""From a listed slice to what TFDS stores; a function of a module, so that Beam's workers can be sent it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from jcs_datasets.common.pictures import read_gray, read_mask
from jcs_datasets.common.records import gray8_example, stage_example
from jcs_datasets.covid_cs.feature_files import count_suspicious_zeros, read_features
from jcs_datasets.covid_cs.forms import Form, Slice

VALUES, SUSPICIOUS = "values", "suspicious_zeros"
WARNING_SHARE = 0.001


def make_example(form: Form, item: Slice) -> tuple[dict[str, Any], dict[str, int]]:
    """Reads a slice.

    Args:
      form: of the data set.
      item: the slice.

    Returns:
      The example; and how many feature values it has, and how many of them are suspicious zeros.

    Raises:
      SourceError: a file's values can't be read.
    """
    mask = None if item.mask is None else read_mask(item.mask, item.where(item.mask))
    if item.image is not None:
        return gray8_example(item.record, read_gray(item.image, item.where(item.image)), mask), {}
    features = read_features(item.features, form, item.where(item.features))
    counts = {
        VALUES: sum(array.size for array in features.values()),
        SUSPICIOUS: sum(map(count_suspicious_zeros, features.values())),
    }
    return stage_example(item.record, features, mask), counts


def describe_zeros(counts: Counter[str]) -> tuple[str, str]:
    """What the counts of a whole data set say about the wrapping of the published encoding.

    Returns:
      A sentence; and a warning, empty up to a share of `WARNING_SHARE`.
    """
    share = counts[SUSPICIOUS] / counts[VALUES]
    number = f"{counts[SUSPICIOUS]} of {counts[VALUES]} stored values ({share:.4%})"
    note = (
        f"{number} are zeros beside a value of 240 or more in their own channel; the published encoding wraps "
        "(12.7 is stored as 254, 12.8 as 0), so some of them may be lost maxima; counted on all slices"
    )
    warning = (
        f"{number} may be maxima that the published encoding wrapped to zero (more than {WARNING_SHARE:.1%} of them)"
    )
    return note, warning if share > WARNING_SHARE else ""
