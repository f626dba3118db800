"""`jcs VERB`: looks the verb up, parses its flags and turns errors into one line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from absl import flags, logging

from jcs_jax.compile_cache import cache_settings
from jcs_jax.errors import InputError
from jcs_jax.notice import RESEARCH_USE

# Verb -> one line for `jcs --help`. Each is a module under jcs_jax.commands with USAGE, define_flags and run.
VERBS = {
    "demo": "diagnose synthetic studies; with --train, train a network for it first",
    "prepare": "build a data set from files you have",
    "audit": "find leaks between splits, and what confounds the classes",
    "doctor": "find out why a training run would fail, before it is started",
    "train": "train from a config file",
    "sweep": "run a grid of configs and tabulate the results",
    "evaluate": "measure a checkpoint on prepared data",
    "calibrate": "choose a patient's threshold and temperature on validation data",
    "diagnose": "decision, activation maps, masks and measured lesions for CT studies",
    "convert": "read released PyTorch weights into a checkpoint",
    "export": "write a checkpoint as programs that run without JAX, faster on a CPU",
    "benchmark": "time networks on this machine, alone or beside another program",
    "pack": "write a checkpoint as two files, in half the size if wanted",
    "ensemble": "join checkpoints of one kind into one that averages their answers",
}
DEBUG_HELP = "Show the whole traceback of an error."
DONE, SOME_FAILED, BAD_INPUT = 0, 1, 2


def _overview() -> str:
    verbs = "\n".join(f"  {verb:<11}{line}" for verb, line in VERBS.items())
    return f"usage: jcs VERB [--flags] [arguments]\n\n{verbs}\n\njcs VERB --help shows a verb's flags. {RESEARCH_USE}\n"


def _parse(values: flags.FlagValues, verb: str, arguments: list[str]) -> list[str]:
    """Parses the flags and returns the other arguments; whatever a flag's parser raises is bad usage."""
    command_line, sys.argv = sys.argv, [f"jcs {verb}", *arguments]  # config flags find their overrides there
    try:
        return values(sys.argv)[1:]
    except flags.Error as error:
        said, _, trace = str(error).partition("Traceback (most recent call last):")
        if not trace:
            raise
        last = trace.strip().splitlines()[-1].partition(": ")  # of a config file that raised
        raise InputError(
            f"{said.replace(': Error whilst parsing config file', '').strip()} {last[2] or last[0]}"
        ) from error
    except Exception as error:  # a config file is Python: it and its overrides raise what they like
        from jcs_jax.training.config_files import check_names  # noqa: PLC0415  loads ml_collections, which --help can do without

        check_names(arguments)
        reason = " ".join(map(str, error.args)).replace("\\n", " ").replace("\\'", "'")  # some hold a repr
        cure = f"correct the flag or the file it names, see jcs {verb} --help"
        raise InputError(f"the flags can't be read ({type(error).__name__}: {reason}); {cure}") from error
    finally:
        sys.argv = command_line


def main(argv: Sequence[str]) -> int:
    """Runs one verb.

    Args:
      argv: the arguments after the program's name.

    Returns:
      The exit code: 0 done, 1 some case failed, 2 bad usage or bad input.
    """
    if not argv or argv[0] in ("-h", "--help", "help"):
        sys.stdout.write(_overview())
        return DONE if argv else BAD_INPUT
    verb, *rest = argv
    if verb not in VERBS:
        sys.stderr.write(f"jcs: unknown verb '{verb}'; choose one of {', '.join(VERBS)}\n")
        return BAD_INPUT
    command = importlib.import_module(f"jcs_jax.commands.{verb}")
    values = flags.FlagValues()
    flags.DEFINE_bool("debug", False, DEBUG_HELP, flag_values=values)
    command.define_flags(values)
    if any(argument in ("-h", "--help") for argument in rest):
        own = values.module_help(command.__name__).strip().partition("\n")[2]
        sys.stdout.write(f"{command.USAGE}\n\nflags:\n{own}\n  --[no]debug: {DEBUG_HELP}\n{RESEARCH_USE}\n")
        return DONE
    debug = "--debug" in rest
    try:
        positional = _parse(values, verb, rest)
        if not flags.FLAGS.is_parsed():
            flags.FLAGS(["jcs"])  # Grain and Orbax read flags of their own
        logging.use_absl_handler()
        return command.run(values, positional)
    except (InputError, flags.Error) as error:
        if debug:
            raise
        sys.stderr.write(f"jcs {verb}: {' '.join(str(error).split())}\n")
        return BAD_INPUT
    except KeyboardInterrupt:
        sys.stderr.write(f"jcs {verb}: stopped by the user\n")
        return SOME_FAILED
    except Exception as error:  # the last door: no traceback without --debug
        if debug:
            raise
        message = " ".join(str(error).split())[:500]
        sys.stderr.write(f"jcs {verb}: unexpected {type(error).__name__}: {message} (--debug shows where)\n")
        return SOME_FAILED


def console_main() -> None:
    """The entry point of the installed `jcs` script; what JAX compiles is kept for the next run."""
    os.environ.update(cache_settings(os.environ))
    sys.exit(main(sys.argv[1:]))
