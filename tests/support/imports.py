"""What Python files import and call, read from their syntax without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jcs_jax

ROOT = Path(__file__).parents[2]


class Import(NamedTuple):
    """One imported module: `from a.b import c` is `a.b.c` where that is a module of ours, else `a.b`."""

    file: str
    line: int
    module: str


def python_files(folder: str) -> list[Path]:
    """All of them below a folder of the repository."""
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> list[Import]:
    """Every import of a file, at any depth of its code."""
    file = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    return [Import(file, line, module) for line, module in _imported(ast.parse(path.read_text(encoding="utf-8")))]


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """(line, name) of every call of a plain name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.lineno, node.func.id


def attributes(path: Path) -> Iterator[tuple[str, str]]:
    """(name, attribute) of every `name.attribute`, and of every `from name import attribute`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((str(node.module), alias.name) for alias in node.names)


def _imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise AssertionError(f"line {node.lineno}: imports are absolute here")
            yield from ((node.lineno, _module(str(node.module), alias.name)) for alias in node.names)


def _module(package: str, name: str) -> str:
    """`package.name` if that is a module, the home of a public name of jcs_jax, else the package."""
    folder = ROOT / package.replace("jcs_datasets", "datasets").replace(".", "/")
    if (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file():
        return f"{package}.{name}"
    if package == "jcs_jax" and name in jcs_jax.__all__:
        return getattr(jcs_jax, name).__module__
    return package
