"""Labels: their values, both classes, and whether masks agree with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from jcs_jax.data.examples import UNKNOWN_LABEL, SliceRecord
from jcs_jax.doctor.findings import Finding, Severity, percent, some
from jcs_jax.doctor.masks import MaskLook

_RARE = 0.05
_CHECK, _AGREEMENT = "labels", "labels and masks"
_ENOUGH = 3  # slices of a class before it is said that most of them are wrong


def check_labels(records: Sequence[SliceRecord], *, classifies: bool, segments: bool) -> Finding:
    """Counts the labels of all slices.

    Args:
      records: of the training slices.
      classifies: whether the network has a class head that is trained.
      segments: whether it segments as well, and so can learn something without labels.

    Returns:
      What was found. A class head needs both classes; without one, labels may be what they like.
    """
    counts = Counter(record.label for record in records)
    numbers = {"slices": len(records), "by_label": {str(label): count for label, count in sorted(counts.items())}}
    wrong = sorted(set(counts) - {0, 1, UNKNOWN_LABEL})
    if wrong:
        values = ", ".join(map(str, sorted(set(counts))))
        cure = "store 0 for uninfected, 1 for infected and -1 for unknown"
        return Finding(_CHECK, "error", f"labels are {values}: no network here learns from {wrong[0]}", cure, numbers)
    told = f"{counts[1]} slices infected (1), {counts[0]} uninfected (0), {counts[UNKNOWN_LABEL]} without a label"
    if not classifies:
        return Finding(_CHECK, "ok", told, numbers=numbers)
    known = counts[0] + counts[1]
    if not known:
        cure = "give labels, train a segmenter, or set config.loss.classification_weight=0"
        return Finding(_CHECK, "error", f"{told}: the class head has nothing to learn from", cure, numbers)
    rarer = min(counts[0], counts[1]) / known
    numbers["rarer_share"] = rarer
    if not rarer:
        cure = "add slices of the other class, or set config.loss.classification_weight=0"
        severity: Severity = "warning" if segments else "error"
        return Finding(_CHECK, severity, f"{told}: one class only, which the head will always answer", cure, numbers)
    if rarer < _RARE:
        cure = "set config.loss.balance_classes=True, and judge by AUC rather than accuracy"
        return Finding(_CHECK, "warning", f"{told}: the rarer class is {percent(rarer)}", cure, numbers)
    return Finding(_CHECK, "ok", f"{told}; the rarer class is {percent(rarer)}", numbers=numbers)


def check_agreement(looks: Sequence[MaskLook]) -> list[Finding]:
    """Compares label and mask of every slice that has both.

    Args:
      looks: at the masks of the sample.

    Returns:
      Slices labelled uninfected that are opacified, and slices labelled infected that aren't; one `ok` if all
      agree, nothing if no slice has both.
    """
    uninfected = [look for look in looks if look.label == 0]
    infected = [look for look in looks if look.label == 1]
    opacified = [look.name for look in uninfected if look.share > 0]
    clear = [look.name for look in infected if look.share == 0]
    if not uninfected and not infected:
        return []
    numbers = {
        "label_0": len(uninfected),
        "label_0_opacified": len(opacified),
        "label_1": len(infected),
        "label_1_clear": len(clear),
    }
    findings = []
    if opacified:
        swapped = len(opacified) > len(uninfected) / 2 and len(opacified) >= _ENOUGH
        found = f"opacified pixels in {len(opacified)} of {len(uninfected)} slices labelled uninfected{some(opacified)}"
        cure = "correct the labels" + (": 0 and 1 look swapped" if swapped else " or the masks")
        findings.append(Finding(_AGREEMENT, "error" if swapped else "warning", found, cure, numbers))
    if clear:
        found = f"an empty mask in {len(clear)} of {len(infected)} slices labelled infected{some(clear)}"
        cure = "draw the missing masks, leave them out, or accept it where the label is the patient's"
        findings.append(Finding(_AGREEMENT, "warning", found, cure, numbers))
    both = len(uninfected) + len(infected)
    return findings or [Finding(_AGREEMENT, "ok", f"label and mask agree in {both} of {both} slices", numbers=numbers)]
