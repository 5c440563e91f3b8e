"""A class name stands once, and nothing is there that nobody uses."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSES = {"cres": ("cres", "reconstruction"), "collider": ("collider", "reconstruction")}
"""Packages that one program may import side by side."""
PUBLIC = {
    "export_program": "for users' own programs, see docs/howto/export.md",
    "is_held": "whether one electron is held, for users",
    "ATTRIBUTES": "what the root of a file says, as docs/formats.md lists it",
    "T2_GROUND_GROUP_PROBABILITY": "published, the spectrum of final states is compared with it",
    "T2_GROUND_GROUP_WIDTH_EV": "the same",
    "T2_MEAN_EXCITATION_EV": "the same",
}
"""Names that nothing of the project calls, with the reason why they are there."""
WORD = re.compile(r"[A-Za-z_]\w*")
READ = {".py", ".ipynb", ".yaml", ".md", ".js", ".sh", ".toml"}


def classes(source: str) -> set[str]:
    return set(re.findall(r"^\s*class (\w+)", source, re.MULTILINE))


def top_level(source: str) -> Iterator[str]:
    """Yield the functions, classes and constants of a module."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name))


def twice(sources: dict[str, str]) -> dict[str, list[str]]:
    """Return the public class names that stand in several modules."""
    places: dict[str, list[str]] = defaultdict(list)
    for place, source in sources.items():
        for name in classes(source):
            places[name].append(place)
    return {name: found for name, found in places.items() if len(found) > 1 and not name.startswith("_")}


def unused(sources: dict[str, str], others: list[str]) -> set[str]:
    """Return the top-level names that occur nowhere but where they are made."""
    count = Counter(word for text in (*sources.values(), *others) for word in WORD.findall(text))
    names = {name for source in sources.values() for name in top_level(source)}
    return {name for name in names if count[name] == 1 and not name.startswith("__")}


def modules(packages: tuple[str, ...]) -> dict[str, str]:
    paths = (path for package in packages for path in sorted((ROOT / "src" / package).rglob("*.py")))
    return {str(path.relative_to(ROOT / "src")): path.read_text() for path in paths}


@pytest.mark.parametrize("house", sorted(HOUSES))
def test_a_class_name_stands_once(house: str) -> None:
    assert not twice(modules(HOUSES[house]))


def test_everything_is_used_by_somebody() -> None:
    folders = (ROOT / name for name in ("scripts", "benchmarks", "notebooks", "configs", "docs"))
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in READ]
    files += [path for path in ROOT.iterdir() if path.suffix in READ or path.name == "Makefile"]
    found = unused(modules(("cres", "collider", "reconstruction")), [path.read_text() for path in files])
    assert found <= set(PUBLIC), "used by nothing but tests, or by nothing: remove it, or say in PUBLIC why it is there"


def test_every_command_says_mistakes_in_one_sentence() -> None:
    plain = "argparse.ArgumentParser" + "("
    files = [path for folder in ("src", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    found = {path.name for path in files if plain in path.read_text()}
    assert found == {"mutations.py", "rooms.py"}, "reconstruction.command.Parser is for all that may import it"


def test_the_checks_see_what_they_seek() -> None:
    assert twice({"a": "class Window: ...", "b": "class Window: ...\nclass Door: ..."}) == {"Window": ["a", "b"]}
    assert unused({"a": "def f(): ...\ndef g(): f()\nLIMIT = 3"}, ["text about LIMIT"]) == {"g"}
