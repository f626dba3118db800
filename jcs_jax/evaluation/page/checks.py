"""The page's part on what the class probability and its map rest on."""

from __future__ import annotations

from jcs_jax.evaluation.page.tables import measured_cells
from jcs_jax.evaluation.sanity import Sanity
from jcs_jax.report.html.markup import Markup, bullets, row, section, table, tag

_SCORES = {
    "auc": "AUC of the slices as they are",
    "auc_erased": "AUC with the lungs erased; chance is 0.5",
    "auc_lungs_only": "AUC with all but the lungs erased",
}
_HEADINGS = ("Number", "Value", "95% interval", "n", "Not defined")
_TOLD = (
    "An answer that survives without the lungs comes from elsewhere: from the scanner, a letter, the table. A map that "
    "survives when the weights are shuffled shows the picture and not the network. Parts are shuffled from the output "
    "down and stay so; the maps' rank correlation with the original ones should fall."
)


def checks_part(checked: Sanity | None) -> Markup | None:
    """What the checks for shortcuts have found; None where they were not made."""
    if checked is None:
        return None
    verdict = tag("p", "No check failed.", class_="notice negative")
    if checked.faults:
        verdict = tag("div", tag("p", "Failed"), bullets(checked.faults), class_="notice positive notes")
    scores = [row(label, measured_cells(getattr(checked, name))) for name, label in _SCORES.items()]
    shuffled = [row(step.part, measured_cells(step.similarity)) for step in checked.randomisation]
    parts = [verdict, tag("p", _TOLD), table("AUC without the lungs and without the rest", _HEADINGS, scores)]
    if shuffled:
        headings = ("Shuffled down to", "Correlation", *_HEADINGS[2:])
        parts.append(table("Similarity of the maps to those of the whole network", headings, shuffled))
    return section("checks", "Checks for shortcuts", *parts, bullets(checked.notes))
