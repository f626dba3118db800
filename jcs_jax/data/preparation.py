"""Running a TFDS builder so that its result appears whole or not at all, and saying what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from jcs_jax.data.sources import INFO_FILE, PreparedSource
from jcs_jax.errors import InputError
from jcs_jax.files import atomic_directory


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A data set on disk.

    Attributes:
      dataset: its name for `open_source`: `name/config`.
      folder: where it lies.
      kept: it was there before and nothing was built.
    """

    dataset: str
    folder: Path
    kept: bool


@dataclasses.dataclass(frozen=True)
class SplitSummary:
    """A split in numbers.

    Attributes:
      slices: how many.
      patients: how many are known.
      infected: slices labelled 1.
      uninfected: slices labelled 0.
      foreground: median share of the picture that is lesion, over the slices that show one; nan without any.
      empty_masks: slices whose mask is all background.
    """

    slices: int
    patients: int
    infected: int
    uninfected: int
    foreground: float
    empty_masks: int


def prepare(
    builder_class: type[tfds.core.DatasetBuilder],
    *,
    data_dir: str | Path,
    config: str | None = None,
    source: str | Path | None = None,
    overwrite: bool = False,
) -> Prepared:
    """Builds a data set as ArrayRecord files.

    Args:
      builder_class: a TFDS builder with named configs.
      data_dir: holds prepared data sets; created if need be.
      config: one of the builder's; None for its default.
      source: the folder with the data set's files, for builders that need one.
      overwrite: build again where the data set is there already; the old one stays until the new one is whole.

    Returns:
      Where it is. Interrupted or failed, it leaves `data_dir` as it was.

    Raises:
      InputError: no such config; `data_dir` is a file.
      ValueError: the builder's own, for a bad source.
    """
    configs = builder_class.builder_configs
    config = config or builder_class.default_builder_config.name
    if config not in configs:
        raise InputError(f"{builder_class.name}: has no config '{config}'; choose one of {', '.join(configs)}")
    root = Path(data_dir).expanduser()
    if root.exists() and not root.is_dir():
        raise InputError(f"{root}: is a file; --data_dir must be a folder")
    dataset = f"{builder_class.name}/{config}"
    folder = root / dataset / str(configs[config].version or builder_class.VERSION)
    if (folder / INFO_FILE).is_file() and not overwrite:
        return Prepared(dataset, folder, kept=True)
    with _new_parents_removed_on_error(folder.parent), atomic_directory(folder) as staging:
        build_root = staging / "build"
        _build(builder_class, build_root, config, source)
        for file in (build_root / folder.relative_to(root)).iterdir():
            file.replace(staging / file.name)
        shutil.rmtree(build_root)
    return Prepared(dataset, folder, kept=False)


def summarise(source: PreparedSource) -> SplitSummary:
    """Counts a split, reading all of it."""
    examples = list(source)
    shares = [float(example.mask.mean()) for example in examples if example.mask is not None]
    shown = [share for share in shares if share > 0]
    return SplitSummary(
        slices=len(examples),
        patients=len({example.patient for example in examples} - {""}),
        infected=sum(example.label == 1 for example in examples),
        uninfected=sum(example.label == 0 for example in examples),
        foreground=statistics.median(shown) if shown else float("nan"),
        empty_masks=shares.count(0.0),
    )


def _build(
    builder_class: type[tfds.core.DatasetBuilder], data_dir: Path, config: str, source: str | Path | None
) -> None:
    """Runs the builder quietly: TFDS announces itself on stdout and draws a bar for each file."""
    tfds.disable_progress_bar()
    manual_dir = Path(source).expanduser() if source is not None else None
    options = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
    with contextlib.redirect_stdout(io.StringIO()):
        builder = builder_class(data_dir=data_dir, config=config, file_format="array_record")
        builder.download_and_prepare(download_config=options)


@contextlib.contextmanager
def _new_parents_removed_on_error(folder: Path) -> Iterator[None]:
    """Takes back the folders that had to be made for `folder`, as far as they are empty, when the block raises."""
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        for path in absent:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise
