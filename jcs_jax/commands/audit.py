"""`jcs audit`: finds what leaks between splits, and what tells the classes apart beside disease."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from jcs_jax.cli import DONE, SOME_FAILED
from jcs_jax.errors import InputError
from jcs_jax.files import require_folder, write_atomically

USAGE = """usage: jcs audit DATA... [--data_dir DIR] [--output DIR]

DATA is a prepared data set (name or name/config, with --data_dir, or its folder), a CSV manifest, or a folder of
class folders. Every split of every DATA is a part: reported are patients, exact pictures and changed copies
(flipped, turned, cropped, resized, re-encoded) in two parts, trivial features that tell the classes apart, and
empty or full masks. Exit code 1: something leaks."""
_JSON, _PAGE = "audit.json", "audit.html"


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("data_dir", None, "Folder that holds prepared data sets.", flag_values=values)
    flags.DEFINE_string("output", None, f"Folder for {_JSON} and {_PAGE}.", flag_values=values)


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    if not arguments:
        raise InputError("name at least one data set, CSV manifest or folder; see jcs audit --help")
    output = Path(values.output).expanduser() if values.output else None
    if output:
        require_folder(output, purpose="the reports")
    from rich.console import Console

    from jcs_jax.audit import audit, open_parts
    from jcs_jax.audit.html_report import audit_page
    from jcs_jax.audit.json_report import audit_report, to_text
    from jcs_jax.audit.terminal_report import print_report

    with Console(stderr=True).status("auditing"), open_parts(arguments, values.data_dir) as parts:
        found = audit(parts)
    print_report(found)
    if output:
        write_atomically(output / _JSON, to_text(audit_report(found)))
        written = write_atomically(output / _PAGE, audit_page(found))
        Console(soft_wrap=True, highlight=False).print(f"wrote {written} and {_JSON}", markup=False)
    return SOME_FAILED if any(found.leaks.values()) else DONE
