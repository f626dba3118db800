"""From a volume in HU to a patient's diagnosis: every slice classified, positive ones segmented, lesions measured."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from jcs_jax.diagnosis.decision import DEFAULT_RULE, decide, familiarity
from jcs_jax.diagnosis.lesions import measure_lesions
from jcs_jax.diagnosis.near_lungs import keep_near_lungs
from jcs_jax.diagnosis.predictor import Predictor
from jcs_jax.diagnosis.programs import Screening
from jcs_jax.diagnosis.reading_ahead import read_ahead
from jcs_jax.diagnosis.result import (
    Decision,
    Diagnosis,
    Geometry,
    MapAgreement,
    ModelCard,
    SliceFindings,
    SourceGrid,
    StudyMaps,
)
from jcs_jax.errors import InputError
from jcs_jax.memory import let_go, paged_zeros, planes
from jcs_jax.preprocessing import Preprocessing
from jcs_jax.study.lungs import Lungs, find_lungs
from jcs_jax.study.volume import Volume

LEAST_LUNG_AREA = 100.0  # mm2 on a slice, from which it counts as lung-bearing
MAP_REDUCTION = 8  # of the slice's side in kept activation maps where the network crops its input

Track = Callable[[Iterable[int]], Iterable[int]]


@dataclasses.dataclass
class _Slices:
    """What the stages leave of all slices.

    Attributes:
      log_odds: (S,), of infection; None without a class head.
      probability: (S,), of infection, as the network gave it; None without a class head.
      features: (S, C), pooled; None without a class head.
      activation: (S, h, w), coarse, on the network's frame; None without a class head.
      mask: (S, H, W); None without segmentation.
      segmented: (S,), which slices went through the second stage.
    """

    log_odds: Float[np.ndarray, " s"] | None
    probability: Float[np.ndarray, " s"] | None
    features: Float[np.ndarray, "s c"] | None
    activation: Float[np.ndarray, "s i j"] | None
    mask: Bool[np.ndarray, "s h w"] | None
    segmented: Bool[np.ndarray, " s"]


class StudyPredictor:
    """Diagnoses volumes.

    Args:
      predictor: of the network that segments, or of one that only classifies.
      screening: of the network that classifies slices, where it is another one.
      segment_all: let the second stage see slices that aren't positive, too.

    Attributes:
      seconds: that each stage took in the last diagnosis, by its name.

    Raises:
      InputError: `screening` has no class head.
    """

    def __init__(self, predictor: Predictor, screening: Predictor | None = None, *, segment_all: bool = False):
        if screening is not None and not screening.stages.classifies:
            raise InputError(f"{screening.card.checkpoint}: has no class head, so it can't screen slices; give another")
        self._predictor, self._screening = predictor, screening or predictor
        self._segment_all = segment_all or not self._screening.stages.classifies
        self.seconds: dict[str, float] = {}

    @property
    def cards(self) -> tuple[ModelCard, ModelCard | None]:
        """Which network segments, and which one screens if it is another."""
        return self._predictor.card, None if self._screening is self._predictor else self._screening.card

    def diagnose(
        self, volume: Volume, case: str, *, notes: tuple[str, ...] = (), track: Track = iter
    ) -> tuple[Diagnosis, StudyMaps]:
        """Diagnoses one volume; beside it, memory holds two batches and, unless they are paged, the maps.

        Args:
          volume: of the chest.
          case: its name.
          notes: what a reader must know of how the case was put together.
          track: passes the numbers of slices on and counts them.

        Returns:
          The numbers, and the maps they were measured on.

        Raises:
          InputError: no lungs found, or an answer of the network that is not finite.
        """
        self.seconds = {}
        with self._timed("lungs"):
            lungs = find_lungs(volume, name=case)
        with self._timed("networks"):
            slices = self._run(volume, track)
        geometry = Geometry(volume.affine, volume.heights, volume.pixel_spacing, volume.voxel_volumes)
        with self._timed("lesions"):
            report = labels = None
            if slices.mask is not None:
                activation = None if slices.activation is None else self._full_activation(slices, volume)
                near, left_out = keep_near_lungs(slices.mask, volume, lungs)
                report, labels = measure_lesions(near, volume, lungs, activation)
                report = dataclasses.replace(report, notes=(*report.notes, *left_out))
                for index in np.flatnonzero(slices.segmented):  # the rest is empty, and takes no memory yet
                    np.greater(labels[index], 0, out=slices.mask[index])  # without what was left out of the report
                    let_go(slices.mask, labels)
            lung_bearing = _lung_bearing(lungs, geometry.pixel_area)
            findings = self._findings(volume, lung_bearing, slices, geometry)
        decision, told = self._decide(volume, lung_bearing, slices)
        diagnosis = Diagnosis(
            case=case,
            model=self._predictor.card,
            slices=findings,
            case_notes=(*notes, *volume.notes, *lungs.notes, *told),
            source="nifti" if volume.read_headers is None else "dicom",
            screening_model=self.cards[1],
            decision=decision,
            lesions=report,
            geometry=geometry,
        )
        kept = None if slices.activation is None else self._kept_activation(slices.activation, volume)
        return diagnosis, StudyMaps(volume.hounsfield, lungs.labels, slices.mask, labels, kept, geometry)

    @contextlib.contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - start

    def _run(self, volume: Volume, track: Track) -> _Slices:
        """Both stages, batch by batch; positive slices wait until they fill one."""
        first, second = self._screening, self._predictor
        shape = volume.hounsfield.shape
        mask = paged_zeros(shape, bool) if second.stages.segments else None
        segmented = np.zeros(shape[0], bool)
        waiting: list[tuple[int, Mapping[str, Any]]] = []
        answers: list[Screening] = []
        numbers = iter(track(range(shape[0])))
        for size, inputs in read_ahead(_batches(volume, first)):
            batch = list(itertools.islice(numbers, size))
            found: list[Screening | None] = [None] * len(batch)
            if first.stages.classifies:
                screened = first.stages.screen(inputs)
                found = [*screened]
                answers += [one._replace(trunk={}) for one in screened]
            if mask is None:
                continue
            for index, one in zip(batch, found, strict=True):
                if self._segment_all or (one is not None and one.probability >= first.preset.class_threshold):
                    waiting.append((index, one.trunk if one is not None and first is second else {}))
            while len(waiting) >= second.batch_size:
                self._segment(volume, waiting[: second.batch_size], mask, segmented)
                del waiting[: second.batch_size]
        if waiting and mask is not None:
            self._segment(volume, waiting, mask, segmented)
        if not answers:
            return _Slices(None, None, None, None, mask, segmented)
        activation = np.stack([np.asarray(one.activation) for one in answers])
        features = np.stack([np.asarray(one.features) for one in answers])
        log_odds = activation.mean(axis=(1, 2), dtype=np.float64)
        probability = np.array([one.probability for one in answers])
        return _Slices(log_odds, probability, features, activation, mask, segmented)

    def _segment(
        self,
        volume: Volume,
        waiting: list[tuple[int, Mapping[str, Any]]],
        mask: Bool[np.ndarray, "s h w"],
        segmented: Bool[np.ndarray, " s"],
    ) -> None:
        """The second stage of one batch, written into `mask`."""
        preset = self._predictor.preset
        inputs = [_input(volume, index, preset.preprocessing) for index, _ in waiting]
        probabilities = self._predictor.stages.segment(inputs, [trunk for _, trunk in waiting])
        for (index, _), probability in zip(waiting, probabilities, strict=True):
            own = preset.preprocessing.to_source(probability, mask.shape[1:])
            mask[index] = own >= preset.mask_threshold
            segmented[index] = True
        let_go(mask, volume.hounsfield)

    def _full_activation(self, slices: _Slices, volume: Volume) -> Callable[[int], Float[np.ndarray, "h w"]]:
        """The activation map of one slice at its own size."""
        preprocessing, maps = self._screening.preset.preprocessing, slices.activation
        shape = (volume.hounsfield.shape[1], volume.hounsfield.shape[2])
        return lambda index: preprocessing.to_source(np.asarray(maps)[index], shape)

    def _kept_activation(self, maps: Float[np.ndarray, "s i j"], volume: Volume) -> Float[np.ndarray, "s i j"]:
        """Coarse maps over the whole slice: as they are where the network sees all of it."""
        preprocessing = self._screening.preset.preprocessing
        if preprocessing.geometry == "stretch":
            return maps
        height, width = (max(1, side // MAP_REDUCTION) for side in volume.hounsfield.shape[1:])
        return np.stack([preprocessing.to_source(one, (height, width)) for one in maps])

    def _findings(
        self, volume: Volume, lung_bearing: Bool[np.ndarray, " s"], slices: _Slices, geometry: Geometry
    ) -> tuple[SliceFindings, ...]:
        full = None if slices.activation is None else self._full_activation(slices, volume)
        found = []
        for index in range(len(volume.hounsfield)):
            mask = None if slices.mask is None or not slices.segmented[index] else slices.mask[index]
            infected = None if slices.probability is None else float(slices.probability[index])
            agreement = None
            if mask is not None and full is not None and mask.any():
                agreement = MapAgreement.measure(full(index), mask)
            found.append(
                SliceFindings(
                    name="",
                    shape=(volume.hounsfield.shape[1], volume.hounsfield.shape[2]),
                    class_probability=infected,
                    positive=None if infected is None else infected >= self._screening.preset.class_threshold,
                    lesion_share=None if mask is None else float(mask.mean()),
                    agreement=agreement,
                    left_out=slices.mask is not None and mask is None,
                    height_mm=float(volume.heights[index]),
                    lung_bearing=bool(lung_bearing[index]),
                    lesion_area_mm2=None if mask is None else float(mask.sum() * geometry.pixel_area),
                )
            )
            let_go(slices.mask)
        return tuple(found)

    def _decide(
        self, volume: Volume, lung_bearing: Bool[np.ndarray, " s"], slices: _Slices
    ) -> tuple[Decision | None, list[str]]:
        """The decision, and what must be known of it."""
        if slices.log_odds is None or slices.probability is None or slices.features is None:
            return None, []
        preset = self._screening.preset
        distances = None if preset.familiar is None else preset.familiar.distance(slices.features[lung_bearing])
        notes, doubts = familiarity(distances, preset.familiar)
        decision = decide(
            slices.log_odds,
            slices.probability >= preset.class_threshold,
            preset.patient,
            extents=volume.slice_thickness,
            lung_bearing=lung_bearing,
            millimetres=True,
            doubts=doubts,
        )
        return decision, [*([] if preset.patient.chosen_on else [DEFAULT_RULE]), *notes]


def source_grid(volume: Volume, *, headers: bool) -> SourceGrid:
    """Where results of a volume go in its source.

    Args:
      volume: as it was read.
      headers: read the DICOM headers again, if it was DICOM.
    """
    read = volume.read_headers() if headers and volume.read_headers is not None else None
    return SourceGrid(
        volume.orientation.undo,
        volume.orientation.undo_affine(volume.affine, volume.hounsfield.shape),
        None if read is None else (read.datasets, read.frames),
    )


def _batches(volume: Volume, predictor: Predictor) -> Iterator[tuple[int, list[Float[np.ndarray, "h w 3"]]]]:
    """Batch by batch how many slices, and these as the network takes them; none where it has no class head."""
    count = len(volume.hounsfield)
    for start in range(0, count, predictor.batch_size):
        batch = range(start, min(start + predictor.batch_size, count))
        screened = batch if predictor.stages.classifies else ()
        yield len(batch), [_input(volume, index, predictor.preset.preprocessing) for index in screened]
        let_go(volume.hounsfield)


def _input(volume: Volume, index: int, preprocessing: Preprocessing) -> Float[np.ndarray, "h w 3"]:
    return preprocessing.network_input(preprocessing.window(volume.hounsfield[index]))


def _lung_bearing(lungs: Lungs, pixel_area: float) -> Bool[np.ndarray, " s"]:
    return np.array([np.count_nonzero(plane) for plane in planes(lungs.labels)]) * pixel_area >= LEAST_LUNG_AREA
