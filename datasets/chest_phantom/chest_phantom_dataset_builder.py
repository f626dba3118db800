"""TFDS builder of a synthetic chest phantom: infected and uninfected patients with known lesions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import tensorflow_datasets as tfds
from etils import epath

from jcs_datasets.chest_phantom.geometry import FIELD_OF_VIEW
from jcs_datasets.chest_phantom.location import describe_locations
from jcs_datasets.chest_phantom.phantom import make_patient
from jcs_datasets.common.contract import slice_features, slice_metadata
from jcs_datasets.common.records import Record, hu16_example


@dataclasses.dataclass(eq=False, kw_only=True)
class ChestPhantomConfig(tfds.core.BuilderConfig):
    """How much is made.

    Attributes:
      train: number of patients to train on; every other patient of a split is infected.
      validation: number of patients to choose by.
      test: number of patients to score.
      slices: per patient.
      size: rows and columns.
      seed: another seed makes other patients.
    """

    train: int
    validation: int
    test: int
    slices: int
    size: int
    seed: int = 0


class Builder(tfds.core.GeneratorBasedBuilder):
    """Synthetic chest CT in HU; needs no source."""

    VERSION = tfds.core.Version("1.2.0")
    RELEASE_NOTES = {  # noqa: RUF012  TFDS's own convention
        "1.0.0": "First phantom.",
        "1.1.0": "Lungs, digest and size of each slice; count, area and location of its lesions.",
        "1.2.0": "Millimetres between rows and columns.",
    }
    BUILDER_CONFIGS = [  # noqa: RUF012  TFDS's own convention
        ChestPhantomConfig(
            name="small",
            description="32 patients of 4 slices, 192 x 192: enough for a first training run.",
            train=20,
            validation=4,
            test=8,
            slices=4,
            size=192,
        ),
        ChestPhantomConfig(
            name="tiny",
            description="8 patients of 2 slices, 96 x 96: for tests.",
            train=4,
            validation=2,
            test=2,
            slices=2,
            size=96,
        ),
    ]
    # Said outright: TFDS cannot find the folder of an editable install without datasets/__init__.py.
    code_path = epath.Path(__file__)
    pkg_dir_path = code_path.parent

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=slice_features("hu16"),
            disable_shuffling=True,
            metadata=slice_metadata(
                "hu16",
                licence="Apache-2.0, made by this project's code",
                warning="synthetic phantom, not a patient: a score on it says nothing about people",
                label_policy="label is 1 where the patient is infected and the slice shows an opacity, else 0",
                split_note="patients are disjoint",
                lesion_note=(
                    "lesion_location names side, third of the lungs' height and peripheral (outer third) or central; "
                    "it is empty where lesion_count is 0"
                ),
                field_of_view_mm=str(FIELD_OF_VIEW),
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[str, dict]]]:
        del dl_manager  # nothing is downloaded
        config: ChestPhantomConfig = self.builder_config
        ends = config.train, config.train + config.validation, config.train + config.validation + config.test
        return {
            "train": self._generate_examples(range(ends[0])),
            "validation": self._generate_examples(range(ends[0], ends[1])),
            "test": self._generate_examples(range(ends[1], ends[2])),
        }

    def _generate_examples(self, numbers: range) -> Iterator[tuple[str, dict]]:
        config: ChestPhantomConfig = self.builder_config
        for number in numbers:
            infected = number % 2 == 0
            phantom = make_patient((config.seed, number), infected=infected, slices=config.slices, size=config.size)
            patient = f"phantom-{number:03d}"
            for index in range(config.slices):
                name = f"{patient}-slice-{index:02d}"
                lesions, lungs = phantom.lesions[index], phantom.lungs[index]
                record = Record(
                    name=name,
                    label=int(lesions.any()),
                    patient=patient,
                    slice_index=index,
                    source="phantom",
                    lesion_location=describe_locations(lesions, lungs, phantom.heights[index]),
                    spacing=phantom.spacing[1:],
                )
                yield name, hu16_example(record, phantom.hounsfield[index], lesions, lungs)
