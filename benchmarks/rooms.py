"""Draw the rooms from what they import, docs/images/rooms.svg, and list them in docs/architecture.md.

python benchmarks/rooms.py          # after an import between rooms has come or gone; a test compares

A room is a folder of a package, or a module beside the folders that imports one of them; all other modules beside them
are the ground. An arrow leads to what is imported. What follows from other arrows is left out, and so are imports of
the ground and, but for one arrow, those between packages.
"""

from __future__ import annotations

import argparse
import ast
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "rooms.svg"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms -->\n", "<!-- end of rooms -->"
CORE = "reconstruction"
"""Every package stands on it."""

Graph = dict[str, set[str]]
WIDTH = 800.0
BOX_HEIGHT, LAYER_HEIGHT, BAR_HEIGHT = 46.0, 92.0, 40.0
LETTER_WIDTH, FONT, SMALL_FONT = 12.4, 23, 21
BOX_MARGIN, GAP, LANE, PADDING, HEADER, BETWEEN = 12.0, 16.0, 12.0, 18.0, 40.0, 58.0
SWEEPS = 12
INK, LINE, PAPER = "#1f2937", "#64748b", "#ffffff"
FILLS = {"cres": ("#e8f0fb", "#b9d0f0"), "collider": ("#fdf1e3", "#f3cf9f"), CORE: ("#e9f5ec", "#b5dcbf")}
OTHER_FILL = ("#f1f1f4", "#cfd0d8")


@functools.cache
def imported(source: str) -> set[str]:
    """Return the dotted names that a module imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_of(package: Path) -> tuple[Graph, set[str]]:
    """Return the rooms of a package with the rooms of it that each imports, and the packages that it imports."""
    folders = {path.parent.name for path in package.glob("*/*.py")}
    found: dict[str, set[str]] = {name: set() for name in folders}
    abroad: set[str] = set()
    for path in sorted(package.rglob("*.py")):
        parts = [name.split(".") for name in imported(path.read_text())]
        abroad |= {part[0] for part in parts}
        place = path.relative_to(package).parts
        room = place[0] if len(place) > 1 else path.stem
        inside = {part[1] for part in parts if part[0] == package.name and len(part) > 1}
        if room != "__init__":
            found[room] = found.get(room, set()) | inside
    rooms = {name for name, names in found.items() if name in folders or names & folders}
    graph = {name: (found[name] & rooms) - {name} for name in sorted(rooms)}
    return graph, abroad - {package.name}


def heights(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """Return how many rooms lie below each. Raises ValueError where rooms import each other in a circle."""
    height: dict[str, int] = {}
    while len(height) < len(graph):
        ready = {room for room, below in graph.items() if room not in height and below <= set(height)}
        if not ready:
            raise ValueError(f"rooms that import each other: {', '.join(sorted(set(graph) - set(height)))}")
        height |= {room: 1 + max((height[other] for other in graph[room]), default=-1) for room in ready}
    return height


def reduced(graph: Mapping[str, set[str]]) -> Graph:
    """Return the graph without imports that follow from others."""

    def reach(room: str) -> set[str]:
        return set().union(*({other} | reach(other) for other in graph[room]))

    below = {room: reach(room) for room in graph}
    return {room: {o for o in graph[room] if not any(o in below[p] for p in graph[room])} for room in graph}


class Drawing:
    """The rooms of one package in layers, each above all that it imports; lines pass between the boxes."""

    def __init__(self, name: str, graph: Graph) -> None:
        self.name, height = name, heights(graph)
        self.layers: list[list[str]] = [[] for _ in range(max(height.values(), default=-1) + 1)]
        for room in sorted(height):
            self.layers[height[room]].append(room)
        self.chains = [self._chain(room, other, height) for room, others in reduced(graph).items() for other in others]
        self.chains.sort()
        self._order()
        self.place = {room: 0.0 for layer in self.layers for room in layer}
        self.width = max((self._extent(layer) for layer in self.layers), default=0.0) + 2 * PADDING
        self.width = max(self.width, LETTER_WIDTH * len(name) * 1.2 + 2 * PADDING)
        self.height = self._ground() + BAR_HEIGHT + PADDING

    def _chain(self, room: str, other: str, height: Mapping[str, int]) -> list[str]:
        """Return the way of an arrow, with a lane in every layer that it passes."""
        lanes = [f"{room}>{other}@{level}" for level in range(height[room] - 1, height[other], -1)]
        for level, lane in zip(range(height[room] - 1, height[other], -1), lanes, strict=True):
            self.layers[level].append(lane)
        return [room, *lanes, other]

    def _order(self) -> None:
        """Order each layer by the middle of its neighbours, up and down in turns."""
        links = [pair for chain in self.chains for pair in itertools.pairwise(chain)]
        for sweep in range(SWEEPS):
            levels = range(1, len(self.layers)) if sweep % 2 else range(len(self.layers) - 2, -1, -1)
            for level in levels:
                fixed = self.layers[level - 1 if sweep % 2 else level + 1]
                at = {room: i / max(1, len(fixed) - 1) for i, room in enumerate(fixed)}
                own = {room: i / max(1, len(self.layers[level]) - 1) for i, room in enumerate(self.layers[level])}

                def middle(room: str, at: Mapping[str, float] = at, own: Mapping[str, float] = own) -> float:
                    near = [at[b if a == room else a] for a, b in links if room in (a, b) and (a in at or b in at)]
                    return sum(near) / len(near) if near else own[room]

                self.layers[level].sort(key=lambda room: (round(middle(room), 9), room))

    @staticmethod
    def size(room: str) -> float:
        """Return the width of a room's box, or of a lane."""
        return LANE if ">" in room else LETTER_WIDTH * len(room) + 2 * BOX_MARGIN

    def _extent(self, layer: list[str]) -> float:
        return sum(self.size(room) for room in layer) + GAP * (len(layer) - 1)

    def _ground(self) -> float:
        """Return how far below the frame's top the ground is."""
        return HEADER + max(0, len(self.layers) - 1) * LAYER_HEIGHT + (BOX_HEIGHT + GAP if self.layers else 0)

    def spread(self, width: float) -> None:
        """Place the rooms of each layer over a width."""
        self.width = width
        for layer in self.layers:
            free = (width - 2 * PADDING - self._extent(layer)) / (len(layer) + 1)
            x = PADDING + free
            for room in layer:
                self.place[room] = x + self.size(room) / 2
                x += self.size(room) + GAP + free

    def draw(self, left: float, top: float) -> Iterator[str]:
        """Yield the elements of the picture."""
        frame, box = FILLS.get(self.name, OTHER_FILL)
        base = top + self._ground()
        y = {room: base - BOX_HEIGHT - GAP - i * LAYER_HEIGHT for i, layer in enumerate(self.layers) for room in layer}
        yield f'<g id="{self.name}">'
        yield rectangle(left, top, self.width, self.height, frame, 14)
        yield text(left + self.width / 2, top + 29, self.name, FONT, bold=True)
        for chain in self.chains:
            yield self._line(chain, left, y)
        for room in (room for layer in self.layers for room in layer if ">" not in room):
            size = self.size(room)
            yield rectangle(left + self.place[room] - size / 2, y[room], size, BOX_HEIGHT, box, 8)
            yield text(left + self.place[room], y[room] + 31, room, FONT)
        yield rectangle(left + PADDING, base, self.width - 2 * PADDING, BAR_HEIGHT, PAPER, 8)
        yield text(left + self.width / 2, base + 27, "ground", SMALL_FONT)
        yield "</g>"

    def _line(self, chain: list[str], left: float, y: Mapping[str, float]) -> str:
        """Return the arrow along a chain: curves between the layers, straight through them."""
        parts = [f"M{left + self.place[chain[0]]:.1f} {y[chain[0]] + BOX_HEIGHT:.1f}"]
        for before, after in itertools.pairwise(chain):
            x0, y0 = left + self.place[before], y[before] + BOX_HEIGHT
            x1, y1 = left + self.place[after], y[after] - (7 if after == chain[-1] else 0)
            middle = (y0 + y1) / 2
            parts.append(f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}")
            if after != chain[-1]:
                parts.append(f"V{y[after] + BOX_HEIGHT:.1f}")
        return f'<path d="{" ".join(parts)}" marker-end="url(#arrow)"/>'


def rectangle(x: float, y: float, width: float, height: float, fill: str, radius: float) -> str:
    """Return a rounded rectangle."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:g}" fill="{fill}"/>'


def text(x: float, y: float, words: str, size: int, *, bold: bool = False) -> str:
    """Return centred text."""
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}"{weight}>{escape(words)}</text>'


def picture(source: Path) -> str:
    """Return the picture of the packages in a folder, as SVG."""
    packages = {path.parent.name: rooms_of(path.parent) for path in sorted(source.glob("*/__init__.py"))}
    drawings = {name: Drawing(name, graph) for name, (graph, _) in packages.items()}
    users = sorted((name for name in drawings if name != CORE), key=lambda name: (-drawings[name].width, name))
    narrow = sum(drawings[name].width for name in users[1:])
    widest = max(WIDTH - narrow - GAP * (len(users) - 1), drawings[users[0]].width)
    total = max(widest + narrow + GAP * (len(users) - 1), drawings[CORE].width)
    drawings[users[0]].spread(widest)
    for name in users[1:]:
        drawings[name].spread(drawings[name].width)
    drawings[CORE].spread(total)
    high = max(drawings[name].height for name in users)
    parts: list[str] = []
    left = GAP
    for name in users:
        top = GAP + high - drawings[name].height
        parts += drawings[name].draw(left, top)
        if CORE in packages[name][1]:
            x = left + drawings[name].width / 2
            parts.append(f'<path d="M{x:.1f} {GAP + high:.1f} V{GAP + high + BETWEEN - 8:.1f}" class="wide"/>')
        left += drawings[name].width + GAP
    parts += drawings[CORE].draw(GAP, GAP + high + BETWEEN)
    return page(parts, total + 2 * GAP, high + BETWEEN + drawings[CORE].height + 2 * GAP, described(packages))


def described(packages: Mapping[str, tuple[Graph, set[str]]]) -> str:
    """Return the same in words, for who does not see it: every import between rooms, one package a sentence."""
    said = []
    for name, (graph, _) in packages.items():
        rooms = [f"{room} imports {', '.join(sorted(others)) or 'no room'}" for room, others in graph.items()]
        said.append(f"{name}: {'; '.join(rooms) or 'ground alone'}.")
    return "\n".join(said)


def first_line(module: Path) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(module.read_text())) or "").split("\n")[0].rstrip(".")


def listed(page: str, source: Path) -> str:
    """Return a page with the table of the rooms between its marks."""
    rows = ["| room | holds |", "|---|---|"]
    for package in sorted(path.parent for path in source.glob("*/__init__.py")):
        graph, _ = rooms_of(package)
        for room in graph:
            folder = package / room
            module = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
            rows.append(f"| `{package.name}.{room}` | {first_line(module)} |")
            inner = sorted(path.parent for path in folder.glob("*/__init__.py"))
            rows += [f"| `{package.name}.{room}.{path.name}` | {first_line(path / '__init__.py')} |" for path in inner]
    before, rest = page.split(BEGIN)
    return before + BEGIN + "\n".join(rows) + "\n" + END + rest.split(END)[1]


def page(parts: Iterable[str], width: float, height: float, words: str) -> str:
    """Return the SVG file, one element a line."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img"'
            ' font-family="Helvetica, Arial, sans-serif" text-anchor="middle">',
            "<title>The rooms of the packages and what they import</title>",
            f"<desc>{escape(words)}</desc>",
            "<style>"
            f"text {{ fill: {INK} }} path {{ fill: none; stroke: {LINE}; stroke-width: 2 }} "
            "path.wide { stroke-width: 5; marker-end: url(#arrow) }"
            "</style>",
            '<defs><marker id="arrow" viewBox="0 0 10 10" refX="4" refY="5" markerWidth="12" markerHeight="12" '
            'markerUnits="userSpaceOnUse" orient="auto">'
            f'<polygon points="0,0 10,5 0,10" fill="{LINE}"/></marker></defs>',
            rectangle(0, 0, width, height, PAPER, 0),
            *parts,
            "</svg>",
            "",
        ]
    )


def main() -> None:
    """Write the picture and the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    PICTURE.write_text(picture(ROOT / "src"))
    PAGE.write_text(listed(PAGE.read_text(), ROOT / "src"))
    print(f"the rooms are drawn in {PICTURE} and listed in {PAGE}")


if __name__ == "__main__":
    main()
