"""TFDS builder of COVID-CS: stored first-stage features with masks or labels, or the slices themselves."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from absl import logging
from etils import epath

from jcs_datasets.common.beam_shards import Task, require_beam, run_tasks
from jcs_datasets.common.builder import SourceBuilder
from jcs_datasets.common.contract import slice_features, slice_metadata, stage_features
from jcs_datasets.common.shards import SHARD_BYTES, name_shards
from jcs_datasets.covid_cs.examples import describe_zeros, make_example
from jcs_datasets.covid_cs.forms import Form, Slice
from jcs_datasets.covid_cs.layout import read_layout

_LABEL_POLICIES = {
    "segmentation": "every annotated slice is of an infected patient, so label is 1, also where no lesion shows",
    "classification": "label is the second column of the lists",
    "pictures": "label is the patient's, from patients.csv, also where a slice shows no lesion; unknown without it",
}
_PATIENT_NOTE = (
    "patient and slice_index are taken from slice names of the form PATIENT_NUMBER where every name has it; "
    "annotations.csv has the last word"
)
_SLICE_NOTE = (
    "slice_index is the number in the slice's name; whether it counts from the apex of the lungs is not published"
)


@dataclasses.dataclass(eq=False, kw_only=True)
class CovidCsConfig(tfds.core.BuilderConfig):
    """One of the forms in which COVID-CS is handed out.

    Attributes:
      form: what its lists and files look like.
    """

    form: Form


class Builder(SourceBuilder):
    """COVID-CS from a local copy in the released layout, given as `manual_dir`.

    Lists, names, tables and the header of every file are checked before anything is written; a file whose values
    are damaged ends the build. Either raises `SourceError`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Stored features with masks or labels, and slices."}  # noqa: RUF012  TFDS's convention
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir must be the folder COVID-CS with train.txt, test.txt and the files they name; see README.md."
    )
    OPTIONS = ("beam",)
    BUILDER_CONFIGS = [  # noqa: RUF012  TFDS's own convention
        CovidCsConfig(
            name="segmentation_features",
            description="Annotated slices: masks, and both networks' first stages for slices of 512 x 512.",
            form=Form(content="segmentation", vgg_side=512, res2net_side=256, mask_sides=(512,)),
        ),
        CovidCsConfig(
            name="segmentation_features_half",
            description="Annotated slices: masks, and both networks' first stages for slices of 256 x 256.",
            form=Form(content="segmentation", vgg_side=256, res2net_side=128, mask_sides=(256, 512)),
        ),
        CovidCsConfig(
            name="classification_features",
            description="Labelled slices: the stem of Res2Net for slices of 224 x 224.",
            form=Form(content="classification", res2net_side=112),
        ),
        CovidCsConfig(
            name="images",
            description="The slices themselves, for people who have an agreement with the owners.",
            form=Form(content="pictures"),
        ),
    ]
    # Said outright: TFDS cannot find the folder of an editable install without datasets/__init__.py.
    code_path = epath.Path(__file__)
    pkg_dir_path = code_path.parent

    def _info(self) -> tfds.core.DatasetInfo:
        form = self._form
        stored = form.res2net_side is not None
        return self.dataset_info_from_configs(
            features=(
                stage_features(vgg_side=form.vgg_side, res2net_side=form.res2net_side)
                if stored
                else slice_features("gray8")
            ),
            homepage="https://github.com/yuhuan-wu/JCS",
            disable_shuffling=True,
            metadata=slice_metadata(
                "features" if stored else "gray8",
                licence="as the owners of COVID-CS state it with your copy; not part of this project",
                label_policy=_LABEL_POLICIES[form.content],
                split_note="the lists as they were published",
                patient_note=_PATIENT_NOTE,
                slice_note=_SLICE_NOTE,
            ),
        )

    @property
    def _form(self) -> Form:
        return self.builder_config.form

    def read_source(self, source: Path) -> None:
        """Reads lists and tables and checks the header of every file they name."""
        if self.options.get("beam"):
            require_beam()
        self._layout = read_layout(source, self._form)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[str, dict]]]:
        del dl_manager  # nothing is downloaded, and the source has been read
        return {split: self._generate_examples(slices) for split, slices in self._layout.splits.items()}

    def _generate_examples(self, slices: Sequence[Slice]) -> Iterator[tuple[str, dict[str, Any]]]:
        for item in slices:
            example, counts = make_example(self._form, item)
            self._counts.update(counts)
            yield item.record.name, example

    def _generate_splits(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig
    ) -> Sequence[tfds.core.SplitInfo]:
        self._counts: Counter[str] = Counter()
        if self.options.get("beam"):
            splits = self._generate_splits_with_beam(download_config)
        else:
            splits = super()._generate_splits(dl_manager, download_config)
        self._state_what_was_found()
        return splits

    def _generate_splits_with_beam(self, download_config: tfds.download.DownloadConfig) -> list[tfds.core.SplitInfo]:
        """The same examples in the same order, spread over other files; every worker writes whole ones."""
        step = max(1, SHARD_BYTES // self._form.example_bytes)
        tasks = {
            split: [
                Task(f"{self.shard_prefix(split)}-{start}", tuple(slices[start : start + step]))
                for start in range(0, len(slices), step)
            ]
            for split, slices in self._layout.splits.items()
        }
        written = iter(
            run_tasks(
                list(itertools.chain(*tasks.values())),
                self.info.features,
                self._example_writer(),
                functools.partial(make_example, self._form),
                download_config,
            )
        )
        splits = []
        for split, parts in tasks.items():
            results = list(itertools.islice(written, len(parts)))
            shards = list(itertools.chain(*(result.shards for result in results)))
            self._counts.update(sum((result.tally for result in results), Counter()))
            splits.append(name_shards(self._get_filename_template(split_name=split), split, shards))
        return splits

    def _state_what_was_found(self) -> None:
        """Writes into the metadata what only the files could tell."""
        warnings = list(self._layout.warnings)
        if self._counts:
            note, warning = describe_zeros(self._counts)
            folder = f" from {self._layout.features_folder}/" if self._layout.features_folder else ""
            self.info.metadata["features_note"] = f"features{folder}; {note}"
            warnings += [warning] if warning else []
        for warning in warnings:
            logging.warning("%s: %s", self.info.full_name, warning)
        self.info.metadata["warning"] = "; ".join(warnings)
