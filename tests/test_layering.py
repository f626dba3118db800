"""The layers of docs/architecture.md: no module imports from above, and nothing unsafe is imported or called."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from imports import ROOT, Import, attributes, calls, imports, python_files

# Layer -> what it may import of jcs_jax, beside itself and the neutral modules.
NEUTRAL = {"jcs_jax", "dicom_headers", "errors", "files", "memory", "notice", "preprocessing"}
MAY_IMPORT = {
    "dicom_headers": set(),
    "errors": set(),
    "files": set(),
    "memory": set(),
    "notice": set(),
    "preprocessing": set(),
    "nn": set(),
    "models": {"nn"},
    "losses": set(),
    "metrics": set(),
    "explain": set(),
    "array_file": set(),
    "shipped": set(),
    "described_folder": set(),
    "remembered": set(),
    "checkpoints": {"array_file", "described_folder", "models", "remembered", "shipped"},
    "packed": {"array_file", "checkpoints", "models", "shipped"},
    "ensembles": {"checkpoints", "models", "shipped"},
    "convert": {"models"},
    "data": set(),
    "audit": {"data"},
    "training": {
        "checkpoints",
        "data",
        "explain",
        "losses",
        "metrics",
        "models",
        "report.colormap",
        "report.overlay",
        "shipped",
    },
    "evaluation": {"checkpoints", "data", "diagnosis", "explain", "metrics", "models", "report"},
    "study": set(),
    "sweep": {"training"},
    "engines": {"described_folder", "models"},
    "diagnosis": {"checkpoints", "engines", "explain", "models", "remembered", "study"},
    "export": {"checkpoints", "described_folder", "diagnosis.programs", "engines", "models", "nn", "shipped"},
    "report": {"diagnosis.result"},
    "doctor": {"data", "evaluation", "metrics", "models", "report.overlay", "training"},
    "batch": {"data", "diagnosis", "metrics", "models", "report", "study"},
    "benchmark": {"diagnosis.programs", "engines", "export", "models", "training"},
    "compile_cache": set(),
    "cli": {"compile_cache", "training"},
}
ABOVE_ALL = {"commands"}
UNSAFE = {"cloudpickle", "dill", "joblib", "marshal", "shelve", "tensorflow", "torch"}
UNPICKLER = "jcs_jax/convert/restricted_pickle"
LIBRARY = python_files("jcs_jax")
BUILDERS = python_files("datasets")
EXPERIMENTS = python_files("experiments")
SHIPPED = [*LIBRARY, *BUILDERS, *EXPERIMENTS]


def _layer(path: Path) -> str:
    return path.relative_to(ROOT / "jcs_jax").parts[0].removesuffix(".py")


def _faults(layer: str, found: list[Import]) -> list[str]:
    allowed = MAY_IMPORT[layer] | {layer} | NEUTRAL
    faults = []
    for file, line, module in found:
        package, _, rest = module.partition(".")
        if package != "jcs_jax":
            continue
        parts = rest.split(".") if rest else ["jcs_jax"]
        if parts[0] not in allowed and ".".join(parts[:2]) not in allowed:
            faults.append(f"{file}:{line}: {layer} imports {module}")
    return faults


def _third_party(found: list[Import]) -> set[str]:
    return {module.partition(".")[0] for _, _, module in found}


def test_every_module_of_the_library_belongs_to_a_layer():
    layers = {_layer(path) for path in LIBRARY} - {"__init__"}
    assert layers == MAY_IMPORT.keys() | ABOVE_ALL


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_layer_imports_nothing_from_above(layer):
    found = [one for path in LIBRARY if _layer(path) == layer for one in imports(path)]
    assert _faults(layer, found) == []


def test_the_walk_finds_an_upward_import_inside_a_function(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text(
        "def f():\n    from jcs_jax.training.loop import train\n    from jcs_jax import load_model\n    return train"
    )
    assert _faults("nn", imports(path)) == [
        "bad.py:2: nn imports jcs_jax.training.loop",
        "bad.py:3: nn imports jcs_jax.checkpoints",
    ]


def test_the_library_and_the_data_set_builders_never_import_each_other():
    assert [
        one for path in LIBRARY for one in imports(path) if one.module.startswith(("jcs_datasets", "datasets"))
    ] == []
    assert [one for path in BUILDERS for one in imports(path) if one.module.startswith("jcs_jax")] == []


def test_reports_and_studies_need_no_network_library():
    networks = {"jax", "jaxlib", "flax", "optax", "orbax", "chex"}
    for layer in ("report", "study", "data", "audit", "preprocessing"):
        for path in LIBRARY:
            if _layer(path) == layer:
                assert not _third_party(imports(path)) & networks, path


def test_reports_need_few_libraries():
    found = {name for path in LIBRARY if _layer(path) == "report" for name in _third_party(imports(path))}
    assert found - sys.stdlib_module_names <= {
        "jaxtyping", "jcs_jax", "nibabel", "numpy", "PIL", "pydicom", "rich",
    }  # fmt: skip


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_file_imports_and_calls_nothing_unsafe(path):
    found = imports(path)
    assert not _third_party(found) & UNSAFE
    used = {name for module, name in attributes(path) if module == "pickle"}
    if path.relative_to(ROOT).as_posix().startswith(UNPICKLER):
        assert not used & {"load", "loads", "Unpickler"}
    else:
        assert used <= {"UnpicklingError"}
        assert not _third_party(found) & {"_pickle", "pickletools"}
    assert [call for call in calls(path) if call[1] in {"eval", "exec", "compile", "print", "__import__"}] == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_file_keeps_the_house_rules_of_syntax(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: assert"
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"line {node.lineno}: bare except"
        if isinstance(node, ast.ImportFrom):
            assert node.names[0].name != "*", f"line {node.lineno}: star import"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            length = node.end_lineno - node.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)
            assert length <= 50, f"{node.name} has {length} lines beside its docstring"
