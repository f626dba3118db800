"""`jcs export`: a model folder becomes programs for CPU engines and for serving."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from jcs_jax.errors import InputError
from jcs_jax.files import require_folder

USAGE = """usage: jcs export --checkpoint DIR --output DIR [--formats onnx,stablehlo] [--overwrite]

Writes a network as programs that need no JAX: screen, which classifies slices, and segment, which draws opacities. As
ONNX they are what `jcs diagnose --engine openvino` and `--engine onnxruntime` run, and every file is run once and
compared with JAX before it is kept. As StableHLO they are for servers that load jax.export's files. Batches can have
any size; export.json tells how slices become input, and the thresholds. Needs the extra: pip install 'jcs-jax[onnx]'"""


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("checkpoint", None, "Model folder, or the name of a shipped model.", flag_values=values)
    flags.DEFINE_string("output", None, "Folder to write.", flag_values=values)
    flags.DEFINE_list("formats", ["onnx"], "Forms of the programs: onnx, stablehlo.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Replace the output folder if it exists.", flag_values=values)


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    missing = [f"--{name}" for name in ("checkpoint", "output") if not getattr(values, name)]
    if missing or arguments:
        problem = f"missing {', '.join(missing)}" if missing else f"'{arguments[0]}' belongs to no flag"
        raise InputError(f"{problem}; see jcs export --help")
    from rich.console import Console

    from jcs_jax.described_folder import require_free
    from jcs_jax.engines.exported import EXPORT_DESCRIPTION

    try:
        from jcs_jax.export.folder import export_model
        from jcs_jax.export.programs import FORMS
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise InputError("onnx: exporting is an extra; pip install 'jcs-jax[onnx]'") from error
    if not values.formats or set(values.formats) - set(FORMS):
        raise InputError(f"--formats={','.join(values.formats)}: choose from {','.join(FORMS)}")
    output = Path(values.output).expanduser()
    require_folder(output, purpose="the exported model")
    require_free(output, description=EXPORT_DESCRIPTION, kind="exported model", overwrite=values.overwrite)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for program in export_model(values.checkpoint, output, values.formats):
        told = "" if program.difference is None else f", within {program.difference:.1g} of JAX"
        console.print(f"wrote {output / program.file}: {program.size / 1e6:.1f} MB{told}")
    return 0
