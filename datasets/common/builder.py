"""The base of builders that read files which the user has: checked whole before anything is written."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.shards import name_shards, write_shards


class SourceBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder whose source is given as `manual_dir`, and which may take options of its own.

    Every example is written at once, in the order in which the generators yield them, so that a data set may be
    larger than memory.

    A subclass says in `SOURCE_MEANING` what its source is and in `OPTIONS` which options it has, and reads and
    checks the source in `read_source`. Options that change the result stand in the metadata as `options`, JSON.

    Args:
      options: values by name; those left out have the builder's defaults.
      **tfds_arguments: data_dir, config, file_format, as in TFDS.

    Raises:
      SourceError: an option that the builder doesn't have.
    """

    SOURCE_MEANING = "folder with the data set's own files"
    OPTIONS: tuple[str, ...] = ()
    NOT_IN_RESULT = ("beam", "download", "manifest", "mirror")  # options that don't change what is built

    def __init__(self, *, options: Mapping[str, Any] | None = None, **tfds_arguments: Any):
        self.options = dict(options or {})
        for name in self.options:
            if name not in self.OPTIONS:
                has = f"it has {', '.join(f'--{option}' for option in self.OPTIONS)}" if self.OPTIONS else "it has none"
                raise SourceError(f"{self.name}: has no option --{name}; {has}")
        super().__init__(**tfds_arguments)

    def read_source(self, source: Path) -> None:
        """Reads and checks the source, keeping what `_split_generators` needs.

        Raises:
          SourceError: the first thing that is wrong with it.
        """
        raise NotImplementedError

    def locate_source(self, manual_dir: Path | None) -> Path:
        """The source to read: the one given; a builder that can download it may make another answer.

        Raises:
          SourceError: there is none.
        """
        if manual_dir is None:
            raise SourceError(f"{self.name}: no source given; name the {self.SOURCE_MEANING} with --source")
        return manual_dir

    def download_and_prepare(
        self, *, download_config: tfds.download.DownloadConfig | None = None, **arguments: Any
    ) -> None:
        """As in TFDS, after checking the source, so that a bad one leaves nothing behind.

        Args:
          download_config: its `manual_dir` is the source.
          **arguments: passed on to TFDS.

        Raises:
          SourceError: the first thing that is wrong with the source.
        """
        config = download_config or tfds.download.DownloadConfig()
        if not self.data_path.exists() or config.download_mode.overwrite_dataset:
            manual_dir = Path(config.manual_dir).expanduser() if config.manual_dir else None
            self.read_source(self.locate_source(manual_dir))
            kept = {name: value for name, value in self.options.items() if name not in self.NOT_IN_RESULT}
            self.info.metadata["options"] = json.dumps(kept, sort_keys=True)
        super().download_and_prepare(download_config=config, **arguments)

    def shard_prefix(self, split: str) -> Path:
        """Path of a split's files until they have their final names."""
        return Path(self.data_path) / f"unnamed-{split}"

    def _generate_splits(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig
    ) -> Sequence[tfds.core.SplitInfo]:
        generators = self._split_generators(dl_manager)
        return [
            self._write_split(split, itertools.islice(examples, download_config.max_examples_per_split))
            for split, examples in generators.items()
        ]

    def _write_split(self, split: str, examples: Iterator[tuple[str, Mapping[str, Any]]]) -> tfds.core.SplitInfo:
        unkeyed = (example for _, example in examples)
        shards = write_shards(self.shard_prefix(split), self.info.features, self._example_writer(), unkeyed)
        return name_shards(self._get_filename_template(split_name=split), split, shards)
