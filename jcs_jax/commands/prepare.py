"""`jcs prepare`: builds a data set from files you have."""

from __future__ import annotations

import importlib
import math
import pkgutil
from typing import TYPE_CHECKING

from absl import flags

from jcs_jax.errors import InputError

if TYPE_CHECKING:
    from jcs_jax.data.preparation import Prepared

USAGE = """usage: jcs prepare NAME --data_dir DIR [--source PATH] [--config NAME] [--overwrite] [options of NAME]

Builds a data set that `jcs train`, `jcs evaluate` and `jcs audit` read. NAME is one of the builders; ct_manifest
takes slices of your own from a CSV file or from a folder of class folders."""
_NOTES = (
    "split_note",
    "patient_note",
    "slice_note",
    "features_note",
    "conversion_note",
    "label_policy",
    "licence",
    "research_use_only",
)
_OPTIONS = ("folds", "seed", "download", "mirror", "beam", "manifest")


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("source", None, "Folder or file with the data set's own files.", flag_values=values)
    flags.DEFINE_string("data_dir", None, "Folder that holds prepared data sets.", flag_values=values)
    flags.DEFINE_string("config", None, "Variant; without it, the data set's default.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Build again what is there already.", flag_values=values)
    flags.DEFINE_integer("folds", None, "Number of folds to split patients into.", lower_bound=2, flag_values=values)
    flags.DEFINE_integer("seed", None, "Of the assignment to splits.", lower_bound=0, flag_values=values)
    flags.DEFINE_bool("download", None, "Fetch the files from their public home first.", flag_values=values)
    flags.DEFINE_string("mirror", None, "Address of a copy to fetch them from instead.", flag_values=values)
    flags.DEFINE_bool("beam", None, "Build with Apache Beam, for very large sets (extra `beam`).", flag_values=values)
    flags.DEFINE_string("manifest", None, "Also write the manifest, with its splits, to this CSV.", flag_values=values)


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    package = importlib.import_module("jcs_datasets")  # a package of its own: loaded by name, never imported
    known = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.name != "common")
    if len(arguments) != 1 or arguments[0] not in known:
        raise InputError(f"name one data set of {', '.join(known)}; {USAGE.splitlines()[0]}")
    if not values.data_dir:
        raise InputError("--data_dir is missing; name the folder that is to hold prepared data sets")
    from jcs_jax.data import preparation

    builder_class = importlib.import_module(f"jcs_datasets.{arguments[0]}").Builder
    errors = importlib.import_module("jcs_datasets.common.errors")
    options = {name: values[name].value for name in _OPTIONS if values[name].value is not None}
    try:
        prepared = preparation.prepare(
            builder_class,
            data_dir=values.data_dir,
            config=values.config,
            source=values.source,
            options=options,
            overwrite=values.overwrite,
        )
    except errors.SourceError as error:
        raise InputError(str(error)) from error
    _show(prepared, values.data_dir)
    return 0


def _show(prepared: Prepared, data_dir: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from jcs_jax.data import preparation, sources

    table = Table("split", "slices", "patients", "label 1", "label 0", "no lesion", "lesion share", box=box.SIMPLE)
    for split in sources.split_sizes(data_dir, prepared.dataset):
        source = sources.open_source(data_dir, prepared.dataset, split)
        row = preparation.summarise(source)
        counts = (row.slices, row.patients or "unknown", row.infected, row.uninfected, row.empty_masks)
        share = "-" if math.isnan(row.foreground) else f"{row.foreground:.1%}"
        table.add_row(split, *map(str, counts), share)
    console = Console(soft_wrap=True, highlight=False)
    console.print(table, "lesion share: of the picture, in the median slice that shows a lesion", sep="")
    for key in _NOTES:
        if source.info.get(key):
            console.print(f"{key.replace('_', ' ')}: {source.info[key]}", markup=False)
    if source.info["warning"]:
        console.print(f"WARNING: {source.info['warning']}", style="bold red", markup=False)
    state = "kept as it was (--overwrite rebuilds)" if prepared.kept else "written"
    console.print(f"{prepared.dataset}: {state}: {prepared.folder}", markup=False)
    data_flags = f"--config.data.data_dir={data_dir} --config.data.dataset={prepared.dataset}"
    console.print(f"Next: jcs train --config=FILE.py --workdir=DIR {data_flags}", markup=False)
