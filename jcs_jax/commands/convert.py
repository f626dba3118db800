"""`jcs convert`: a released PyTorch weight file becomes a model folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from absl import flags

from jcs_jax.errors import InputError

USAGE = """usage: jcs convert FILE --model NAME --output DIR [--part vgg|res2net] [--norm frozen|batch] [--overwrite]

Reads a .pth file (of any age) or safetensors without PyTorch and without executing anything in it. Every
parameter must fit. --part takes just one encoder from FILE (ImageNet weights); the rest is initialised."""


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("model", None, "Network: classifier, segmenter or joint.", flag_values=values)
    flags.DEFINE_string("output", None, "Model folder to write.", flag_values=values)
    flags.DEFINE_enum("part", None, ["vgg", "res2net"], "The encoder that FILE holds.", flag_values=values)
    flags.DEFINE_enum("norm", None, ["frozen", "batch"], "Norm, if not the preset's.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Replace the output folder if it exists.", flag_values=values)


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    if len(arguments) != 1 or not values.model or not values.output:
        raise InputError("name one weight file, --model and --output; see jcs convert --help")
    file, output = Path(arguments[0]), Path(values.output)
    from rich.console import Console

    from jcs_jax.checkpoints import require_free, save_model
    from jcs_jax.convert import model_from_file

    require_free(output, overwrite=values.overwrite)
    options = {"norm": values.norm} if values.norm else {}
    variables, preset = model_from_file(file, values.model, part=values.part, **options)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    provenance = {"converted_from": file.name, "sha256": digest, "part": values.part or "whole network"}
    save_model(output, variables, preset, provenance=provenance)
    Console(soft_wrap=True).print(f"wrote {output}: {preset.name} from {file.name}", highlight=False)
    return 0
