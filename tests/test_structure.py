"""The structure of the package: what may import what, how long files and functions are, how many files a new part touches."""

import ast
import re
from pathlib import Path

import pytest

import gridflow

ROOT = Path(gridflow.__file__).parent

FLOORS = [
    [
        "caches",
        "classic",
        "compiled",
        "errors",
        "files",
        "hdf5",
        "html",
        "interrupts",
        "launched",
        "log",
        "memory",
        "netcdf",
        "output.axes",
        "output.checks",
        "output.reader",
        "output.schema",
        "paths",
        "threads",
    ],
    ["space"],
    ["slabs"],
    ["sums"],
    ["energy"],
    ["flow"],
    ["problem"],
    ["scheme", "exact", "particles.cloud", "particles.dynamics", "particles.integrator", "particles.proximal", "particles.spec"],
    ["output.layout", "output.ugrid"],
    ["case"],
    ["output", "accessor", "particles.simulation", "progress"],
    ["restart", "run", "run_files", "slabs.problem", "solver"],
    ["verdict"],
    ["sweeps"],
    ["reports"],
    ["doctor", "preview"],
    ["cli", "commands", "messages", "__main__"],
    ["docs"],
]
"""From the ground up; a module stands on the floor of its longest prefix, and imports from its own and from lower floors."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py")) if path.name != "__init__.py"}


def imports_of(path: Path) -> set[str]:
    """Modules of gridflow that a file imports anywhere: at its top, in functions, and for types alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("gridflow."):
            module = node.module.removeprefix("gridflow.")
            found |= {module} if module in MODULES else {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("gridflow.") for alias in node.names if alias.name.startswith("gridflow.")}
    return found & set(MODULES)


GRAPH = {name: imports_of(path) for name, path in MODULES.items()}


def floor_of(module: str) -> int:
    fits = [(len(prefix), k) for k, floor in enumerate(FLOORS) for prefix in floor if f"{module}.".startswith(f"{prefix}.")]
    assert fits, f"gridflow/{module.replace('.', '/')}.py stands on no floor; add it to FLOORS"
    return max(fits)[1]


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module."""
    reached = {name: set() for name in graph}
    for name in graph:
        todo = list(graph[name])
        while todo:
            other = todo.pop()
            if other not in reached[name]:
                reached[name].add(other)
                todo += graph[other]
    components = {frozenset(b for b in reached[a] if a in reached[b]) for a in graph if a in reached[a]}
    return [sorted(c) for c in components]


def test_a_circle_is_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_no_modules_import_each_other_in_a_circle():
    assert circles(GRAPH) == []


def test_imports_go_down():
    up = [f"{a} → {b}" for a, found in GRAPH.items() for b in found if floor_of(b) > floor_of(a)]
    assert up == []


def test_every_module_is_used():
    """Somebody imports it, or it is where a program starts, or mkdocs.yml names it."""
    named = {f"docs.{name}" for name in ("pages_from_sources", "docstrings_as_markdown")}
    used = set().union(*GRAPH.values()) | {"__main__", "cli", *gridflow._HOME.values(), *named}
    assert sorted(set(MODULES) - used) == []


def test_files_and_functions_are_short():
    """One module, one idea; a function fits a screen."""
    long_files = [name for name, path in MODULES.items() if len(path.read_text(encoding="utf-8").splitlines()) > 300]
    assert len(long_files) <= 4, long_files
    long_functions = [
        f"{name}.{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno + 1 > 60
    ]
    assert long_functions == []


@pytest.mark.parametrize("name", MODULES)
def test_public_names_say_what_they_are(name):
    """Every module, class and function that others may use has a docstring."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), name
    missing = [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert missing == []


def test_members_are_declared_not_probed():
    """No `getattr(x, name, default)` and no `hasattr`: what a part may offer has a default in its base class."""
    probes = [
        f"{name}: {ast.unparse(node)}"
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and (node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) > 2))
    ]
    assert probes == []


def test_netcdf_has_one_door():
    """Neither netCDF nor HDF5 is safe for threads: `gridflow.netcdf` has the lock that every use of them holds."""
    uses = re.compile(r"netCDF4\.Dataset\(|\.(to_netcdf|open_dataset|load_dataset|open_mfdataset|open_dataarray)\(")
    assert {name for name, path in MODULES.items() if uses.search(path.read_text(encoding="utf-8"))} == {"netcdf"}


def test_compiled_functions_are_kept_in_one_way():
    """numba's own cache compares one source file, and may run old code after an update; `gridflow.compiled.kernel` does not."""
    own = [
        f"{name}: {ast.unparse(node)}"
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and re.search(r"jit$|vectorize$", ast.unparse(node.func))
        if "cache" in [keyword.arg for keyword in node.keywords]
    ]
    assert own == []
