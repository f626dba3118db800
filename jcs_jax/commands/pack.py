"""`jcs pack`: a model folder becomes two files that are easy to copy, publish and ship."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from jcs_jax.errors import InputError
from jcs_jax.files import require_folder

USAGE = """usage: jcs pack --checkpoint DIR --output DIR [--dtype float32|float16] [--fold_norms] [--overwrite]

Writes a model again as model.json and variables.safetensors: the same network, thresholds and provenance. Every verb
reads such a folder as it reads others. float16 halves the file and rounds the weights; how far is told. --fold_norms
makes the norms of the reference's networks part of their convolutions: fewer steps for programs that run them."""


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("checkpoint", None, "Model folder, or the name of a shipped model.", flag_values=values)
    flags.DEFINE_string("output", None, "Model folder to write.", flag_values=values)
    flags.DEFINE_enum("dtype", "float32", ["float32", "float16"], "Precision of the weights.", flag_values=values)
    flags.DEFINE_bool("fold_norms", False, "Norms become part of the convolutions before them.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Replace the output folder if it exists.", flag_values=values)


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    missing = [f"--{name}" for name in ("checkpoint", "output") if not getattr(values, name)]
    if missing or arguments:
        problem = f"missing {', '.join(missing)}" if missing else f"'{arguments[0]}' belongs to no flag"
        raise InputError(f"{problem}; see jcs pack --help")
    from rich.console import Console

    from jcs_jax.checkpoints import require_free
    from jcs_jax.packed import pack_model

    output = Path(values.output).expanduser()
    require_folder(output, purpose="the model")
    require_free(output, overwrite=values.overwrite)
    packed = pack_model(values.checkpoint, output, dtype=values.dtype, fold=values.fold_norms)
    if values.dtype == "float32":
        rounding = "no value rounded"
    elif packed.rounded:
        rounding = f"largest rounding {packed.rounding:.3g}, in {packed.rounded}"
    else:
        rounding = "every value fits"
    Console(soft_wrap=True, highlight=False, markup=False).print(
        f"wrote {output}: {packed.name}, {packed.size / 1e6:.2f} MB as {values.dtype}; {rounding}"
    )
    return 0
