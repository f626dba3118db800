"""From a mask of opacities to lesions with a size, a density and a place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt16
from scipy import ndimage

from jcs_jax.diagnosis.lesion_involvement import Involvement
from jcs_jax.diagnosis.lesion_place import LABELS, ZONES, LungMap
from jcs_jax.diagnosis.lesion_shape import Frame, Region, largest_diameter
from jcs_jax.diagnosis.pieces import Box, Pieces, parts
from jcs_jax.diagnosis.result.lesions import Kind, Lesion, LesionReport, Side
from jcs_jax.memory import let_go, paged_zeros, planes
from jcs_jax.study.lungs import Lungs
from jcs_jax.study.volume import Volume

SMALLEST = 4.0  # mm3, a ball of 2 mm: less is a speck of the mask; a lesion of 5 mm has 65
MOST_LESIONS = 65535  # that 16 bits can number
# HU from which an opacity is consolidation and no longer ground glass. Source: the limit of eight that told COVID-19
# pneumonia best, BMC Infectious Diseases 2021, doi 10.1186/s12879-021-06556-z.
CONSOLIDATED_FROM = -300.0
GROUND_GLASS_BELOW, CONSOLIDATION_FROM = 0.25, 0.75  # consolidated share of a lesion's volume


def measure_lesions(
    mask: Bool[np.ndarray, "s h w"],
    volume: Volume,
    lungs: Lungs,
    activation: Callable[[int], Float[np.ndarray, "h w"]] | None = None,
) -> tuple[LesionReport, UInt16[np.ndarray, "s h w"]]:
    """Measures the opacities of a volume.

    A lesion is a 26-connected piece of the mask; slices next to each other in the stack touch, also across a gap that
    missing slices left. Pieces below 4 mm3 are left out, with a note.

    Args:
      mask: (S, H, W), opacities.
      volume: that it was drawn on.
      lungs: of that volume, at least one.
      activation: gives a slice's signed activation map, positive where it speaks for infection; None without one.

    Returns:
      The report, and (S, H, W) uint16 with each lesion's number, 0 outside.

    Raises:
      ValueError: shapes differ, or there is no lung.
    """
    if not mask.shape == volume.hounsfield.shape == lungs.labels.shape:
        raise ValueError(f"mask {mask.shape}, volume {volume.hounsfield.shape} and lungs {lungs.labels.shape} differ")
    lung_map = LungMap(volume, lungs)
    involvement = Involvement(volume, lung_map)
    labels, count, notes = _numbered(mask, volume)
    measure = _Measure(volume, lungs, lung_map, Frame.of(volume))
    lesions = []
    for number, box in enumerate(_boxes(labels) if count else (), start=1):
        lesion, counts = measure.lesion(number, Region(labels, number, box))
        involvement.add(counts, lesion.side, lesion.first_slice)
        lesions.append(lesion)
    if activation is not None and lesions:
        shares = _activation_shares(labels, count, activation)
        lesions = [
            dataclasses.replace(lesion, activation_share=float(share))
            for lesion, share in zip(lesions, shares, strict=True)
        ]
    report = LesionReport(
        tuple(lesions), involvement.lungs(), involvement.severity_score(), (*involvement.notes(), *notes)
    )
    return report, labels


def _numbered(mask: Bool[np.ndarray, "s h w"], volume: Volume) -> tuple[UInt16[np.ndarray, "s h w"], int, list[str]]:
    """The mask's pieces, numbered by volume and, of equals, from the feet up, backwards and to the left; how many."""
    labels, pieces, frame = paged_zeros(mask.shape, np.uint16), Pieces(mask), Frame.of(volume)
    sizes, volumes, *sums = _sums(pieces, volume.voxel_volumes, frame.heights)
    means = [values / np.maximum(sizes, 1) for values in sums]
    places = np.round(frame.place(*means), 3)
    order = np.lexsort([places[:, 0], places[:, 1], places[:, 2], -np.round(volumes, 3)])
    order = order[(order > 0) & (volumes[order] >= SMALLEST)][:MOST_LESIONS]
    numbers = np.zeros(pieces.count + 1, np.uint16)
    numbers[order] = np.arange(1, len(order) + 1)
    for box, found in pieces:
        labels[box] = numbers[found]
        let_go(labels)
    notes, left_out = [], pieces.count - len(order)
    if left_out:
        lost = max(0.0, float(volumes.sum() - volumes[order].sum()))
        notes.append(
            f"{left_out} speck{'s' * (left_out > 1)} of the mask left out, {lost / 1000:.3f} ml in all: each is "
            f"smaller than {SMALLEST:g} mm3 or beyond the {MOST_LESIONS} largest"
        )
    return labels, len(order), notes


def _sums(
    pieces: Pieces, voxels: Float[np.ndarray, " s"], heights: Float[np.ndarray, " s"]
) -> Float[np.ndarray, "5 n"]:
    """Of each piece, and of 0 what no piece holds: voxels, mm3, and sums of heights, rows and columns."""
    sums = np.zeros((5, pieces.count + 1))
    for box, numbers in pieces:
        for part in parts(numbers.shape):
            found = np.nonzero(numbers[part])
            which = numbers[part][found]
            slices, rows, columns = (index + side.start for index, side in zip(found, box, strict=True))
            slices += part.start
            summed = (None, voxels[slices], heights[slices], rows, columns)
            sums += [np.bincount(which, values, pieces.count + 1) for values in summed]
    return sums


def _boxes(labels: UInt16[np.ndarray, "s h w"]) -> list[Box]:
    """The box of every number, from 1 on."""
    found: dict[int, Box] = {}
    for part in parts(labels.shape):
        for number, box in enumerate(ndimage.find_objects(labels[part]), start=1):
            if box is not None:
                here = (slice(part.start + box[0].start, part.start + box[0].stop), *box[1:])
                found[number] = _around(found.get(number, here), here)
        let_go(labels)
    return [found[number] for number in sorted(found)]


def _around(one: Box, other: Box) -> Box:
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))


@dataclasses.dataclass(frozen=True)
class _Measure:
    """What lesions are measured with."""

    volume: Volume
    lungs: Lungs
    lung_map: LungMap
    frame: Frame

    def lesion(self, number: int, region: Region) -> tuple[Lesion, dict[int, Int[np.ndarray, " s"]]]:
        """One lesion, and its pixels on each slice by the label of the lungs."""
        box, corner = region.box, region.corner
        voxels, heights = self.volume.voxel_volumes[box[0]], self.frame.heights[box[0]]
        hounsfield, labels = self.volume.hounsfield[box], self.lungs.labels[box]
        by_lung = {label: np.zeros(len(voxels), np.int64) for label in (0, *LABELS.values())}
        counts, dense, sums = np.zeros(len(voxels), np.int64), 0.0, np.zeros(4)  # of heights, rows, columns, HU
        for part, there in region:
            slices, rows, columns = np.nonzero(there)
            weights = voxels[part][slices]
            values = hounsfield[part][there].astype(np.float64)
            dense += weights[values >= CONSOLIDATED_FROM].sum()
            sums += [weights @ one for one in (heights[part][slices], rows + corner[1], columns + corner[2], values)]
            lungs = labels[part][there]
            for label, pixels in by_lung.items():
                pixels[part] = np.bincount(slices[lungs == label], minlength=len(pixels[part]))
            counts[part] = np.bincount(slices, minlength=len(counts[part]))
            let_go(hounsfield, labels)
        total = float(counts @ voxels)
        centre, consolidated = sums[:3] / total, float(dense / total)
        side = self._side({label: float(pixels @ voxels) for label, pixels in by_lung.items()}, centre)
        area = voxels / self.frame.thickness[box[0]]
        lesion = Lesion(
            number=number,
            volume_ml=total / 1000,
            largest_diameter_mm=largest_diameter(region, self.frame),
            mean_hu=float(sums[3] / total),
            consolidated_share=consolidated,
            kind=_kind(consolidated),
            side=side,
            zone=ZONES[int(self.lung_map.zone(centre[0], side))],
            depth=self.lung_map.depth(centre, side),
            first_slice=corner[0],
            areas_mm2=tuple(float(one) for one in counts * area),
        )
        return lesion, by_lung

    def _side(self, volumes: dict[int, float], centre: Float[np.ndarray, " 3"]) -> Side:
        """The lung that holds most; the nearest where none holds anything."""
        held = {side: volumes[LABELS[side]] for side in self.lung_map.sides}
        most = max(held, key=lambda side: held[side])
        return most if held[most] > 0 else self.lung_map.nearest_side(centre)


def _kind(consolidated_share: float) -> Kind:
    if consolidated_share < GROUND_GLASS_BELOW:
        return "ground glass"
    return "consolidation" if consolidated_share >= CONSOLIDATION_FROM else "mixed"


def _activation_shares(
    labels: UInt16[np.ndarray, "s h w"], count: int, activation: Callable[[int], Float[np.ndarray, "h w"]]
) -> Float[np.ndarray, " n"]:
    """Of each lesion the share of pixels with a positive activation, slice by slice."""
    pixels, positive = np.zeros(count + 1), np.zeros(count + 1)
    for index, plane in enumerate(planes(labels)):
        there = plane > 0
        if there.any():
            numbers = plane[there]
            pixels += np.bincount(numbers, minlength=count + 1)
            positive += np.bincount(numbers, activation(index)[there] > 0, count + 1)
    return positive[1:] / pixels[1:]
