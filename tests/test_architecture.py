"""The house keeps its order: no circles, no imports upwards, and the walls of docs/architecture.md.

Every import statement counts, whether at the top, inside a function, or for types alone (TYPE_CHECKING).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## What may import what")[2].partition("\n## ")[0]
LAYERS = [re.findall(r"`([\w.]+)`", line) for line in re.findall(r"^\d+\. (.*)$", SECTION, re.MULTILINE)]

Graph = Mapping[str, AbstractSet[str]]


@cache
def modules() -> dict[str, Path]:
    """`engine`, `cli.edit`, `hub` for a folder's face, and `stedit` for the package's."""
    paths = sorted((ROOT / "stedit").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT / "stedit").with_suffix("").parts) for path in paths]
    return {re.sub(r"\.?__init__$", "", name) or "stedit": path for name, path in zip(names, paths, strict=True)}


def imports(source: str) -> Iterator[str]:
    """Every name that a module imports, in full: `torch`, `stedit.hub.find.find_bundle`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import hides what it imports"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(name: str, known: AbstractSet[str]) -> str | None:
    """The module of stedit that an imported name is in, or None if it is another project's."""
    if name.partition(".")[0] != "stedit":
        return None
    inner = name.partition(".")[2]
    while inner and inner not in known:
        inner = inner.rpartition(".")[0]
    return inner or "stedit"


@cache
def graph() -> Graph:
    """Module -> the modules of stedit that it imports, and the faces of other folders that Python runs for them."""
    known = modules().keys()
    edges = {}
    for module, path in modules().items():
        found = {inner for name in imports(path.read_text("utf-8")) if (inner := module_of(name, known))}
        faces = {".".join(parts[:end]) for parts in (name.split(".") for name in found) for end in range(1, len(parts))}
        edges[module] = found | {face for face in faces if not f"{module}.".startswith(f"{face}.")} - {module}
    return edges


def folder(module: str) -> str:
    """The folder of a module; a module at the top is its own."""
    if modules()[module].name == "__init__.py":
        return module
    return module.rpartition(".")[0] or module


def by_folder(modules_: Graph) -> Graph:
    folders: dict[str, set[str]] = {}
    for module, imported in modules_.items():
        folders.setdefault(folder(module), set()).update(map(folder, imported))
    return {name: imported - {name} for name, imported in folders.items()}


def circle(edges: Graph) -> list[str]:
    """The names of one circle, the first of them again at the end; [] if there is none."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for following in sorted(edges.get(name, ())):
            if found := visit(following, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(edges) if (found := visit(name, []))), [])


def layer(module: str) -> tuple[int, str]:
    """The number of a module's layer, counted from the top, and the folder of the list that it belongs to."""
    numbers = {name: number for number, names in enumerate(LAYERS) for name in names}
    name = module
    while name and name not in numbers:
        name = name.rpartition(".")[0]
    assert name, f"{module} is in no layer of docs/architecture.md"
    return numbers[name], name


def climbs(edges: Graph) -> list[str]:
    """Every import of a layer above, or of another folder of the same layer."""
    found = []
    for module, imported in edges.items():
        number, room = layer(module)
        for other in imported:
            other_number, other_room = layer(other)
            if other_number < number or (other_number == number and other_room != room):
                found.append(f"{module} imports {other}")
    return found


def external(room: str) -> dict[str, set[str]]:
    """Module -> the packages of others that it imports, for the modules of a folder."""
    return {
        module: {name.partition(".")[0] for name in imports(path.read_text("utf-8"))} - {"stedit"}
        for module, path in modules().items()
        if f"{module}.".startswith(f"{room}.") or not room
    }


def test_no_circle_of_modules() -> None:
    assert circle(graph()) == []


def test_no_circle_of_folders() -> None:
    assert circle(by_folder(graph())) == []


def test_no_import_of_a_layer_above_or_beside() -> None:
    assert climbs(graph()) == []


def test_every_layer_is_there() -> None:
    known = modules().keys()
    assert [name for names in LAYERS for name in names if name not in known] == []
    assert len({name for names in LAYERS for name in names}) == sum(map(len, LAYERS)) >= len(LAYERS) > 10


def test_every_folder_is_on_the_map() -> None:
    drawn = set(re.findall(r"^ +(\w+)(?:/|\.py) ", PAGE, flags=re.MULTILINE))
    rooms = {module.rpartition(".")[2] for module, path in modules().items() if path.name == "__init__.py"} - {"stedit"}
    assert rooms <= drawn


def test_models_know_no_file() -> None:
    inside = {module: imported for module, imported in graph().items() if module.startswith("models")}
    assert {other for imported in inside.values() for other in imported if not other.startswith("models")} == set()
    files = {"PIL", "huggingface_hub", "io", "json", "os", "pathlib", "pickle", "safetensors", "shutil", "zipfile"}
    assert {module: found for module, names in external("models").items() if (found := names & files)} == {}


def test_storage_knows_no_network() -> None:
    inside = {module: imported for module, imported in graph().items() if module.startswith("storage")}
    networks = {other for imported in inside.values() for other in imported if other.startswith("models")}
    assert networks == {"models", "models.config"}
    assert external("models")["models"] == set()
    assert external("models")["models.config"] <= {"__future__", "dataclasses", "math", "re", "typing"}


def test_only_the_command_line_knows_the_terminal() -> None:
    terminal = {"typer", "rich", "click"}
    assert [m for m, names in external("").items() if not m.startswith("cli") and names & terminal] == []
    assert [m for m, imported in graph().items() if not m.startswith("cli") and any(map(is_cli, imported))] == [
        "__main__"
    ]


def is_cli(module: str) -> bool:
    return f"{module}.".startswith("cli.")


def test_the_command_line_knows_no_tensor() -> None:
    assert [module for module, names in external("cli").items() if "torch" in names] == []


def test_a_face_is_short() -> None:
    lengths = {m: len(p.read_text("utf-8").splitlines()) for m, p in modules().items() if p.name == "__init__.py"}
    assert {module: length for module, length in lengths.items() if length > 100} == {}


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c", "b"]),
        ({"a": {"a"}}, ["a", "a"]),
    ],
)
def test_a_circle_is_found(edges: Graph, expected: list[str]) -> None:
    assert circle(edges) == expected


def test_an_import_upwards_is_found() -> None:
    edges = {"storage.bundle": {"errors", "hub.find"}, "editing.label": {"inversion.options", "editing.layers"}}
    assert climbs(edges) == ["storage.bundle imports hub.find", "editing.label imports inversion.options"]


def test_lazy_imports_and_those_for_types_are_seen() -> None:
    source = "if TYPE_CHECKING:\n    from stedit.engine import Engine\ndef f():\n    import stedit.hub.find as find\n"
    assert [module_of(name, modules().keys()) for name in imports(source)] == ["engine", "hub.find"]
