"""Who may import whom: the table of the architecture, pinned."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "cres"
FREE_TO_ALL = {
    *("schema", "errors", "provenance", "progress"),
    *("paths", "ranges", "yaml_files", "command", "resources", "moved", "stated"),
}
MAY_IMPORT = {
    "physics": set(),
    "transforms": {"physics"},
    "simulation": {"physics", "transforms"},
    "data": {"transforms"},
    "training": {"data", "transforms", "evaluation"},
    "estimation": {"physics", "simulation", "transforms", "data", "evaluation"},
    "evaluation": {"physics"},
    # the command line: what scripts and the program `cres` do
    "commands": {"simulation", "data", "training", "estimation", "evaluation", "endpoint", "physics", "transforms"},
    "endpoint": {"physics", "evaluation"},
}
CORE_ROOMS = {
    "random": set(),
    "models": set(),
    "records": set(),
    "judging": set(),
    "training": {"random", "models", "records", "judging"},
}
"""Rooms of `reconstruction`; files beside them are its ground, which imports no room."""
FOLDERS: dict[tuple[str, str], dict[str, set[str]]] = {
    ("cres", "data"): {"pickles": set(), "eggs": {"pickles"}, "prepare": {"pickles", "eggs"}},
    ("cres", "estimation"): {
        "search": set(),
        "fit": {"search"},
        "radial": {"search", "fit"},
        "bound": set(),
        "simple": {"search"},
        "weighing": {"search", "radial"},
        "methods": {"search", "fit", "radial", "bound", "simple"},
    },
    ("reconstruction", "models"): {
        "conditioning": set(),
        "fused": set(),
        "encoders": {"conditioning", "fused"},
        "predictive": set(),
    },
    ("reconstruction", "judging"): {
        "tables": set(),
        "measures": {"tables"},
        "pictures": {"tables", "measures"},
        "report": {"tables", "measures", "pictures"},
        "sweeps": {"tables", "measures", "pictures", "report"},
    },
    ("reconstruction", "training"): {
        "network": set(),
        "learning": {"network"},
        "watching": {"learning"},
        "export": {"learning"},
        "runs": {"network", "learning", "watching"},
        "command_line": {"learning", "watching", "runs"},
        "stages": {"learning", "watching", "runs", "command_line"},
    },
}
"""Rooms with folders, each with those of the same room that it may import; files beside the folders import none."""
BESIDE = {("cres", "data"): {"prepare"}}
"""But these: what is served is as plausible as what was prepared."""
LIGHTNING_ROOMS = {"cres/training/", "reconstruction/training/", "reconstruction/records/rows.py"}


@functools.cache
def imported_modules(source: str) -> set[str]:
    """Return the dotted names of all absolute and relative imports of a module, also those inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def folders_of(room: tuple[str, str], source: str) -> set[str]:
    """Return the folders of a room that a module imports."""
    parts = (name.split(".") for name in imported_modules(source))
    return {part[2] for part in parts if part[:2] == list(room) and len(part) > 2} & set(FOLDERS[room])


def core_rooms_of(source: str) -> set[str]:
    parts = (name.split(".") for name in imported_modules(source))
    return {part[1] for part in parts if part[0] == "reconstruction" and len(part) > 1} & set(CORE_ROOMS)


def rooms_of(names: set[str]) -> set[str]:
    parts = (name.split(".") for name in names)
    return {part[1] for part in parts if part[0] == "cres" and len(part) > 1} - FREE_TO_ALL - {"__version__"}


def violations(room: str, source: str) -> set[str]:
    return rooms_of(imported_modules(source)) - MAY_IMPORT[room] - {room}


PACKAGES = {"reconstruction": set(), "cres": {"reconstruction"}, "collider": {"reconstruction"}}
"""Which of our packages a package may import: cres and collider never each other."""
COLLIDER_ROOMS: dict[str, set[str]] = {
    "showers": set(),
    "generation": set(),
    "higgs": {"generation"},
    "jets": {"generation"},
    "detectors": {"showers", "generation"},
}


def foreign(package: str, source: str) -> set[str]:
    """Return our packages that a module imports and its package may not."""
    heads = {name.split(".")[0] for name in imported_modules(source)}
    return (heads & set(PACKAGES)) - PACKAGES[package] - {package}


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_imports_only_what_is_below_it(package: str) -> None:
    folder = SOURCE.parent / package
    assert list(folder.rglob("*.py"))
    for path in sorted(folder.rglob("*.py")):
        assert not foreign(package, path.read_text()), path


def test_every_package_is_in_the_table() -> None:
    assert {path.parent.name for path in SOURCE.parent.glob("*/__init__.py")} == set(PACKAGES)
    rooms = {path.parent.name for path in (SOURCE.parent / "collider").glob("*/*.py")}
    assert rooms == set(COLLIDER_ROOMS)


def test_rooms_of_collider_import_only_what_is_before_them() -> None:
    for room, allowed in COLLIDER_ROOMS.items():
        for path in sorted((SOURCE.parent / "collider" / room).rglob("*.py")):
            parts = [name.split(".") for name in imported_modules(path.read_text())]
            rooms = {part[1] for part in parts if part[0] == "collider" and len(part) > 1}
            assert not rooms - allowed - {room, "__version__"}, path


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_only_what_the_architecture_allows(room: str) -> None:
    for path in sorted((SOURCE / room).rglob("*.py")):
        assert not violations(room, path.read_text()), path


@pytest.mark.parametrize("room", sorted(FOLDERS))
def test_folders_of_a_room_import_only_what_is_before_them(room: tuple[str, str]) -> None:
    place = SOURCE.parent.joinpath(*room)
    folders = {path.parent.name for path in place.glob("*/*.py")}
    assert folders == set(FOLDERS[room])
    for path in sorted(place.glob("*.py")) if room != ("reconstruction", "models") else ():
        if path.name != "__init__.py":  # which shows what is public
            assert not folders_of(room, path.read_text()) - BESIDE.get(room, set()), path
    for folder, allowed in FOLDERS[room].items():
        for path in sorted((place / folder).rglob("*.py")):
            assert not folders_of(room, path.read_text()) - allowed - {folder}, path


def test_pickles_have_one_door() -> None:
    for path in sorted(SOURCE.rglob("*.py")):
        if path.parent.name != "pickles":
            behind = {name for name in imported_modules(path.read_text()) if name.startswith("cres.data.pickles.")}
            assert all(name.count(".") == 3 for name in behind), path


def test_no_room_is_a_long_list_of_files() -> None:
    """A room of more than about a dozen files has folders that say what belongs together."""
    for folder in {path.parent for room in FOLDERS for path in SOURCE.parent.joinpath(*room).rglob("*.py")}:
        assert len(list(folder.glob("*.py"))) <= 17, folder


def test_rooms_of_the_core_import_only_what_is_before_them() -> None:
    core = SOURCE.parent / "reconstruction"
    assert {path.parent.name for path in core.glob("*/__init__.py")} == set(CORE_ROOMS)
    for path in sorted(core.glob("*.py")):
        assert not core_rooms_of(path.read_text()), path
    for room, allowed in CORE_ROOMS.items():
        for path in sorted((core / room).rglob("*.py")):
            assert not core_rooms_of(path.read_text()) - allowed - {room}, path


def test_every_folder_of_the_package_is_a_room() -> None:
    folders = {path.parent.name for path in SOURCE.glob("*/*.py")}  # those without programs hold data: pretrained
    assert folders <= set(MAY_IMPORT)


def test_only_training_and_the_data_module_import_lightning() -> None:
    for path in sorted(SOURCE.parent.rglob("*.py")):
        name = path.relative_to(SOURCE.parent).as_posix()
        if not any(name.startswith(room) for room in LIGHTNING_ROOMS):
            heads = {module.split(".")[0] for module in imported_modules(path.read_text())}
            assert "lightning" not in heads, path


def missing_names(source: str) -> list[str]:
    """Return the names that a program imports from our packages and that are not there."""
    missing = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
            module = importlib.import_module(str(node.module))
            names = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            missing += [f"{node.module}.{name}" for name in names if not is_module(f"{node.module}.{name}")]
    return missing


def is_module(name: str) -> bool:
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.util.find_spec(name) is not None
    return False


@pytest.mark.parametrize("folder", ["benchmarks", "scripts", "tests/device/real", "tests/cluster"])
def test_what_the_suite_does_not_run_imports_what_is_there(folder: str) -> None:
    for path in sorted((SOURCE.parents[1] / folder).glob("*.py")):
        assert not missing_names(path.read_text()), path


def test_a_name_that_is_gone_is_noticed() -> None:
    gone = "from cres.data.workers import available_cpus\nfrom cres.physics import no_such_module"
    assert missing_names(gone) == ["cres.data.workers.available_cpus", "cres.physics.no_such_module"]
    assert missing_names("from cres import schema\nfrom reconstruction.models import S4DEncoder, encoders") == []


def test_the_check_sees_a_forbidden_import() -> None:
    assert violations("physics", "def f():\n    from cres.simulation import simulate_columns\n") == {"simulation"}
    assert violations("physics", "import cres.transforms.noise\n") == {"transforms"}
    assert folders_of(("cres", "estimation"), "import cres.estimation.fit.seeded") == {"fit"}
    assert core_rooms_of("from reconstruction.models import S4DEncoder") == {"models"}
    assert foreign("collider", "from cres.errors import UserError") == {"cres"}
    assert foreign("cres", "import collider.showers") == {"collider"}
    assert foreign("reconstruction", "from cres import schema") == {"cres"}
    assert not foreign("collider", "from reconstruction.errors import UserError")
    assert not violations("endpoint", "from cres import schema\nfrom cres.physics import beta\n")
