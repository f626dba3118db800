"""Running a TFDS builder so that its result appears whole or not at all, and saying what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import shutil
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from jcs_jax.data.examples import Source
from jcs_jax.data.index import stored_record, write_index
from jcs_jax.data.sources import INFO_FILE, open_metadata, stored_shards
from jcs_jax.errors import InputError
from jcs_jax.files import atomic_directory

SOURCE_FILE = "source.sha256"


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
    options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Prepared:
    """Builds a data set as ArrayRecord files.

    Args:
      builder_class: a TFDS builder with named configs.
      data_dir: holds prepared data sets; created if need be.
      config: one of the builder's; None for its default.
      source: the folder or file with the data set's own files, for builders that need one.
      options: of the builder, by name; those that it doesn't have are refused.
      overwrite: build again where the data set is there already; the old one stays until the new one is whole.

    Returns:
      Where it is. Interrupted or failed, it leaves `data_dir` as it was.

    Raises:
      InputError: no such config or option; `data_dir` is a file; it is there already, built with other options or
        from another source.
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
        _check_same_options(builder_class, folder, options or {})
        _check_same_source(folder, source)
        return Prepared(dataset, folder, kept=True)
    with _new_parents_removed_on_error(folder.parent), atomic_directory(folder) as staging:
        build_root = staging / "build"
        _build(builder_class, build_root, config, source, options, downloads=root / "downloads")
        for file in (build_root / folder.relative_to(root)).iterdir():
            file.replace(staging / file.name)
        shutil.rmtree(build_root)
        write_index(staging, {file: list(map(stored_record, stored)) for file, stored in stored_shards(staging)})
        (staging / SOURCE_FILE).write_text(_source_digest(source), encoding="ascii")
    return Prepared(dataset, folder, kept=False)


def summarise(source: Source) -> SplitSummary:
    """Counts a split from its index, without decoding a picture."""
    records = list(source.records())
    shares = [record.lesion_area / (record.height * record.width) for record in records if record.lesion_area >= 0]
    shown = [share for share in shares if share > 0]
    return SplitSummary(
        slices=len(records),
        patients=len({record.patient for record in records} - {""}),
        infected=sum(record.label == 1 for record in records),
        uninfected=sum(record.label == 0 for record in records),
        foreground=statistics.median(shown) if shown else float("nan"),
        empty_masks=shares.count(0.0),
    )


def _check_same_options(
    builder_class: type[tfds.core.DatasetBuilder], folder: Path, options: Mapping[str, Any]
) -> None:
    """Refuses to pass off a data set that was built with other options as the one that is asked for."""
    built = json.loads(str(open_metadata(folder).get("options", "{}")))
    asked = {name: value for name, value in options.items() if name not in getattr(builder_class, "NOT_IN_RESULT", ())}
    if options.get("manifest"):
        raise InputError(f"{folder}: is there already, so no manifest is made; add --overwrite to build it again")
    if built != asked:
        before, now = (" ".join(f"--{name}={value}" for name, value in given.items()) for given in (built, asked))
        raise InputError(
            f"{folder}: was built with {before or 'no options'}, not with {now or 'none'}; add --overwrite to build "
            "it again, or name another --data_dir"
        )


def _check_same_source(folder: Path, source: str | Path | None) -> None:
    """Refuses to pass off data of one source as those of another, or of an older state of the same list."""
    file = folder / SOURCE_FILE
    if source is not None and file.is_file() and file.read_text(encoding="ascii") != _source_digest(source):
        raise InputError(
            f"{folder}: was built from another source than {source}, or from an older state of it; add --overwrite to "
            "build it again, or leave out --source to keep it"
        )


def _source_digest(source: str | Path | None) -> str:
    """SHA-256 of where the source lies and, of a list, what it says; empty without a source."""
    if source is None:
        return ""
    path = Path(source).expanduser().resolve()
    listed = path.read_bytes() if path.is_file() else b""
    return hashlib.sha256(str(path).encode(errors="surrogateescape") + b"\0" + listed).hexdigest()


def _build(
    builder_class: type[tfds.core.DatasetBuilder],
    data_dir: Path,
    config: str,
    source: str | Path | None,
    options: Mapping[str, Any] | None,
    *,
    downloads: Path,
) -> None:
    """Runs the builder quietly: TFDS announces itself on stdout and draws a bar for each file.

    What a builder downloads goes into the folder `downloads`, outside of the staging, and stays there.
    """
    tfds.disable_progress_bar()
    manual_dir = Path(source).expanduser() if source is not None else None
    download_config = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
    if options and not hasattr(builder_class, "OPTIONS"):
        raise InputError(f"{builder_class.name}: has no option --{next(iter(options))}; it has none")
    own = {"options": dict(options)} if options else {}
    kept = {"download_dir": downloads} if options and options.get("download") else {}
    with contextlib.redirect_stdout(io.StringIO()):
        builder = builder_class(data_dir=data_dir, config=config, file_format="array_record", **own)
        builder.download_and_prepare(download_config=download_config, **kept)


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
