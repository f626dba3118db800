"""What is found on a case as a whole, as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from jcs_jax.diagnosis.result.decision import Decision
from jcs_jax.diagnosis.result.geometry import Geometry
from jcs_jax.diagnosis.result.lesions import LesionReport
from jcs_jax.diagnosis.result.rounding import rounded
from jcs_jax.diagnosis.result.slices import SliceFindings

Source = Literal["pictures", "dicom", "nifti"]
SLICE_LEVEL = "slice-level result; no decision on the patient"
PATIENT_LEVEL = "patient-level result of one study"


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """Which network made a diagnosis.

    Attributes:
      checkpoint: the model folder's own name, never its path; None for a model in memory.
      preset: the preset's plain values.
      class_threshold: probability from which a slice counts as positive.
      mask_threshold: probability from which a pixel counts as opacified.
      weights_sha256: hex digits that tell weights apart; None for a model in memory.
      engine: the program that ran it.
      precision: in which most was computed.
    """

    checkpoint: str | None
    preset: Mapping[str, Any]
    class_threshold: float
    mask_threshold: float
    weights_sha256: str | None = None
    engine: str = "jax"
    precision: str = "float32"

    @classmethod
    def of(
        cls,
        checkpoint: str | None,
        preset: Mapping[str, Any],
        weights_sha256: str | None = None,
        *,
        engine: str = "jax",
        precision: str = "float32",
    ) -> ModelCard:
        """Of a preset's plain values, without the long list of what its features are like."""
        told = {key: value for key, value in preset.items() if key != "familiar"}
        thresholds = preset["class_threshold"], preset["mask_threshold"]
        return cls(checkpoint, told, *thresholds, weights_sha256, engine, precision)


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """The result of one case.

    Attributes:
      case: its name.
      model: which network.
      slices: one or more, in the case's order: a volume's from the feet up.
      case_notes: what a reader must know of how the case was put together.
      source: what it was read from.
      screening_model: the network that classified, where it isn't `model`.
      decision: on the patient; None for single slices and without a class head.
      lesions: measured; None without HU, millimetres or segmentation.
      geometry: None for pictures.
    """

    case: str
    model: ModelCard
    slices: tuple[SliceFindings, ...]
    case_notes: tuple[str, ...] = ()
    source: Source = "pictures"
    screening_model: ModelCard | None = None
    decision: Decision | None = None
    lesions: LesionReport | None = None
    geometry: Geometry | None = None

    @property
    def classified(self) -> bool:
        """Whether the network has a class head."""
        return all(findings.class_probability is not None for findings in self.slices)

    @property
    def segmented(self) -> bool:
        """Whether the network draws masks."""
        return all(findings.judged_for_lesions for findings in self.slices)

    @property
    def statement(self) -> str:
        """What the result is about."""
        return SLICE_LEVEL if self.decision is None else PATIENT_LEVEL

    @property
    def highest(self) -> SliceFindings | None:
        """The slice with the highest probability of infection (the first of equals); None without a class head."""
        return max(self.slices, key=lambda findings: findings.class_probability or 0) if self.classified else None

    @property
    def positive_slices(self) -> int | None:
        """Number of slices that reach the class threshold; None without a class head."""
        return sum(bool(findings.positive) for findings in self.slices) if self.classified else None

    @property
    def notes(self) -> tuple[str, ...]:
        """The case's notes, what the network can't do, then the slices' notes without repetition."""
        limits = []
        if not self.classified:
            limits.append("this network has no class head: no class probability and no activation map")
        if not self.segmented:
            limits.append("this network does not segment: no mask and no lesion area")
        of_slices = (note for findings in self.slices for note in findings.notes)
        of_lesions = self.lesions.notes if self.lesions else ()
        return tuple(dict.fromkeys((*self.case_notes, *limits, *of_lesions, *of_slices)))

    def to_json(self) -> dict[str, Any]:
        """The case's level, then every slice, as plain values."""
        highest = self.highest
        return {
            "case": {
                "name": self.case,
                "source": self.source,
                "statement": self.statement,
                "slices": len(self.slices),
                "positive_slices": self.positive_slices,
                "highest_class_probability": highest and rounded(highest.class_probability),
                "highest_slice": highest and self.slices.index(highest) + 1,
            },
            "decision": self.decision and self.decision.to_json(),
            "geometry": self.geometry and self.geometry.to_json(),
            "lesions": self.lesions and self.lesions.to_json(),
            "slices": [
                {"number": number, **findings.to_json()} for number, findings in enumerate(self.slices, start=1)
            ],
        }
