"""The picture of the rooms and their list are as the code is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
AGAIN = "run python benchmarks/rooms.py"


@pytest.fixture(scope="module")
def rooms() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rooms", ROOT / "benchmarks" / "rooms.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """Two packages: kitchen over cellar, attic over kitchen and cellar."""
    for name, content in {
        "cres/__init__.py": '"""House."""',
        "cres/ground.py": "import os",
        "cres/cellar/__init__.py": '"""Coal."""',
        "cres/kitchen/__init__.py": '"""Food."""\nfrom cres.cellar import coal',
        "cres/attic/__init__.py": '"""Dust."""\nfrom cres import cellar, kitchen\nimport reconstruction.files',
        "reconstruction/__init__.py": "",
        "reconstruction/files.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    return tmp_path


def test_the_picture_is_of_the_code_as_it_is(rooms: ModuleType) -> None:
    assert rooms.PICTURE.read_text() == rooms.picture(ROOT / "src"), AGAIN


def test_the_table_is_of_the_code_as_it_is(rooms: ModuleType) -> None:
    page = rooms.PAGE.read_text()
    assert page == rooms.listed(page, ROOT / "src"), AGAIN


def test_every_room_says_what_it_holds(rooms: ModuleType) -> None:
    assert "|  |" not in rooms.listed(rooms.PAGE.read_text(), ROOT / "src")


def test_imports_of_a_house(rooms: ModuleType, house: Path) -> None:
    graph, abroad = rooms.rooms_of(house / "cres")
    assert graph == {"attic": {"cellar", "kitchen"}, "cellar": set(), "kitchen": {"cellar"}}
    assert "reconstruction" in abroad
    assert rooms.heights(graph) == {"cellar": 0, "kitchen": 1, "attic": 2}
    assert rooms.reduced(graph) == {"attic": {"kitchen"}, "cellar": set(), "kitchen": {"cellar"}}


def test_an_import_more_is_another_picture(rooms: ModuleType, house: Path) -> None:
    before = rooms.picture(house)
    ElementTree.fromstring(before)
    assert before.count("<path d=") == 3
    (house / "cres" / "kitchen" / "__init__.py").write_text('"""Food."""\n')
    assert rooms.picture(house) != before


def test_rooms_in_a_circle_are_refused(rooms: ModuleType, house: Path) -> None:
    (house / "cres" / "cellar" / "coal.py").write_text("from cres.kitchen import food\n")
    with pytest.raises(ValueError, match="import each other: attic, cellar, kitchen"):
        rooms.picture(house)


def test_no_box_lies_on_another(rooms: ModuleType) -> None:
    picture = ElementTree.fromstring(rooms.picture(ROOT / "src"))
    names = [part.text or "" for part in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"cres", "estimation", "collider", "showers", "reconstruction"} <= set(names)
    boxes = [
        tuple(float(box.get(side, "nan")) for side in ("x", "y", "width", "height"))
        for box in picture.iter("{http://www.w3.org/2000/svg}rect")
        if box.get("rx") == "8"
    ]
    for i, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, other_width, other_height in boxes[:i]:
            beside = x + width <= other_x or other_x + other_width <= x
            assert beside or y + height <= other_y or other_y + other_height <= y
