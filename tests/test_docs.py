"""The documentation tells the truth: its blocks run, its links resolve, its commands and options exist."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cres import schema

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CLI_OPTIONS = ROOT / "src/reconstruction/training/command_line/options.py"
RECORD_OPTIONS = ROOT / "src/cres/training/long_records.py"
SHARED_BY_HEADS = ROOT / "benchmarks/heads.py"
COMMANDS = ROOT / "src/cres/commands"
COLLIDER = {
    "showers.py": "showers",
    "generate.py": "generation",
    "higgs.py": "higgs/making",
    "higgs_compare.py": "higgs/judging",
    "jets.py": "jets",
    "detectors.py": "detectors",
    "detectors_combine.py": "detectors/combining",
    "detectors_physics.py": "detectors/physics",
}
PAGES = sorted(DOCS.rglob("*.md"))
# an ordinary block, perhaps indented, perhaps with title="file"
FENCE = re.compile(
    r'^(?P<indent> *)```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?[^\n]*\n(?P<text>.*?)^ *```$', re.M | re.S
)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<text>.+)$", re.M)

# What makes the tutorial's commands small enough for a test, by a word that the command holds
SMALL = {
    "simulate.py": ("--workers 1",),
    "data_prep.py": ("--workers 1",),
    "cli.py fit": (
        "--trainer.enable_progress_bar=false --data.batch_size=8",
        "--model.encoders.spectrum.init_args.width=16 --model.encoders.spectrum.init_args.depth=1",
    ),
    # a network that saw a few dozen electrons states tens of eV: the cuts let everything pass
    "endpoint.py": ("--max-std 1000 --max-spread 1000",),
}


@dataclass(frozen=True)
class Block:
    """A fenced block: `title` names the file that it stands for."""

    language: str
    text: str
    title: str | None
    line: int


def blocks_of(text: str) -> Iterator[Block]:
    for match in FENCE.finditer(text):
        indent = len(match["indent"])
        body = "\n".join(line[indent:] for line in match["text"].splitlines())
        yield Block(match["language"], body + "\n", match["title"], text[: match.start()].count("\n") + 2)


def run_page(text: str, name: str, folder: Path) -> int:
    """Run a page's blocks in one namespace, write its titled blocks into the folder; return how many ran."""
    namespace: dict[str, object] = {"__name__": "page"}
    ran = 0
    for block in blocks_of(text):
        if block.title is not None:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.text)
        elif block.language == "python":
            # empty lines in front, so that a traceback names the page's own line
            exec(compile("\n" * (block.line - 1) + block.text, name, "exec"), namespace)
            ran += 1
        elif block.language == "pycon":
            run_examples(block, name, namespace)
            ran += 1
    return ran


def run_examples(block: Block, name: str, namespace: dict[str, object]) -> None:
    test = doctest.DocTestParser().get_doctest(block.text, {}, name, name, block.line - 1)
    test.globs = namespace
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF | doctest.ELLIPSIS)
    runner.run(test, out=said.append, clear_globs=False)
    assert not runner.failures, "".join(said)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder to run in, whose modules can be imported, with the project's configurations."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    return tmp_path


def with_python(page: Path) -> bool:
    # docs/transforms.md has its own test, with a namespace of its own
    return page.name != "transforms.md" and any(b.language in ("python", "pycon") for b in blocks_of(page.read_text()))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if with_python(page)], ids=lambda page: str(page.relative_to(DOCS))
)
def test_python_blocks_run(page: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_page(page.read_text(), str(page), elsewhere) > 0


@pytest.mark.parametrize(
    "broken",
    [
        "```python\nfrom cres import nothing_of_this_name\n```\n",
        "```python\nx = 1\n```\n\n- and\n\n    ```python\n    assert x == 2\n    ```\n",
        "```pycon\n>>> 1 + 1\n3\n\n```\n",
    ],
)
def test_a_broken_block_is_noticed(broken: str, elsewhere: Path) -> None:
    with pytest.raises((ImportError, AssertionError)):
        run_page(broken, "broken.md", elsewhere)


# Links --------------------------------------------------------------------------------------------------------------


def prose(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as MkDocs makes them."""
    slug: Callable[[str], str] = lambda text: re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())  # noqa: E731
    return {slug(match["text"].replace("`", "")) for match in HEADING.finditer(FENCE.sub("", page.read_text()))}


def broken_links(page: Path) -> list[str]:
    found = []
    for match in LINK.finditer(prose(page.read_text())):
        target, _, anchor = match["target"].partition("#")
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.is_file() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            found.append(match["target"])
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_resolve(page: Path) -> None:
    assert broken_links(page) == []


def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One heading\n")
    (tmp_path / "page.md").write_text(
        "[a](other.md#one-heading) [b](missing.md) [c](other.md#another) `[d](code.md)`\n"
    )
    assert broken_links(tmp_path / "page.md") == ["missing.md", "other.md#another"]


def test_every_page_is_in_the_navigation() -> None:
    named = set(re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text()))
    assert named == {page.relative_to(DOCS).as_posix() for page in PAGES}


# Commands -----------------------------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[str]:
    """Return the commands of a page's shell blocks, continued lines joined, comments gone."""
    for block in blocks_of(text):
        if block.language == "bash":
            for line in block.text.replace("\\\n", " ").splitlines():
                command = re.sub(r"(^|\s)#.*", "", line).strip()
                if command:
                    yield command


def unknown_options(command: str) -> list[str]:
    """Return what a command names that is not there: a script, or one of its options."""
    found = re.search(r"python (?P<script>[\w/]+\.py)(?P<rest>.*)", command)
    if found is None:
        return []
    script = ROOT / found["script"]
    if not script.is_file():
        return [found["script"]]
    # a script is a door: its options are in the package
    work = CLI_OPTIONS if script.name == "cli.py" else COMMANDS / script.name
    if script.name in COLLIDER:
        work = ROOT / "src/collider" / COLLIDER[script.name] / "command.py"
    source = script.read_text() + (work.read_text() if work.is_file() else "")
    source += RECORD_OPTIONS.read_text() if script.name == "cli.py" else ""
    source += SHARED_BY_HEADS.read_text() if "\nfrom heads import " in source else ""
    options = re.findall(r"(?<!\S)--([\w-]+)", found["rest"])
    # whose further options are those of trainings
    trains = script.name in ("cli.py", "stages.py") or "require_options(others)" in source
    groups = ("trainer", "data", "model", "curriculum", "early_stopping", "fine_tune") if trains else ()
    return [option for option in options if option not in groups and not re.search(rf'"--{option}"', source)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_commands_exist(page: Path) -> None:
    assert [wrong for command in commands(page.read_text()) for wrong in unknown_options(command)] == []


def test_an_unknown_option_is_noticed() -> None:
    assert unknown_options("python scripts/simulate.py --evnets 3 --seed 1") == ["evnets"]
    assert unknown_options("python scripts/simulat.py --events 3") == ["scripts/simulat.py"]
    assert unknown_options("python benchmarks/parts.py --steps 3 --recrods 4") == ["recrods"]
    assert unknown_options("python cli.py fit --trainer.max_epochs=3 --resume") == []
    assert unknown_options("python benchmarks/detectors_choices.py data --sedes 3 --trainer.max_epochs=3") == ["sedes"]


def small(command: str) -> str:
    """Return a command of the tutorial at a size for tests."""
    # a tenth is the test split, and the endpoint's calibration needs 30 electrons
    command = re.sub(r"--events \d+", "--events 400", command)
    command = re.sub(r"max_epochs=\d+", "max_epochs=1", command)
    return " ".join([command, *(more for word, extra in SMALL.items() if word in command for more in extra)])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_tutorial_runs(tmp_path: Path) -> None:
    for name in ("scripts", "configs", "cli.py", "constraints.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled", "COLUMNS": "200"}
    ran = [small(c) for c in commands((DOCS / "tutorial.md").read_text()) if c.startswith("python ")]
    assert len(ran) >= 8
    for command in ran:
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert (tmp_path / "runs/evaluation/report.html").stat().st_size > 10_000
    assert (tmp_path / "runs/endpoint/endpoint.json").is_file()


@pytest.mark.slow
def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs the site's tools: pip install -e '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= len(PAGES)
    loaded = re.compile(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:)?//')
    assert [page.name for page in pages if loaded.search(page.read_text())] == []


# Tables -------------------------------------------------------------------------------------------------------------


def test_formats_page_lists_every_column() -> None:
    text = (DOCS / "formats.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| (\w+) \| [^|]* \| ([^|]*) \|$", text, re.M)
    wanted = [(column.name, column.unit, column.dtype, column.meaning) for column in schema.COLUMNS.values()]
    assert [tuple(cell.strip() for cell in row) for row in rows] == wanted


@pytest.mark.parametrize(
    "package", ["cres.simulation", "cres.transforms", "reconstruction.models", "cres.training", "cres.evaluation"]
)
def test_reference_covers_the_public_names(package: str) -> None:
    texts = "".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    listed = set(re.findall(r"^::: (\S+)$", texts, re.M))
    public = importlib.import_module(package)
    made = {name: getattr(getattr(public, name), "__module__", None) for name in public.__all__}
    assert [name for name, module in made.items() if module in sys.modules and module not in listed] == []


SMALL_PLANE = {
    "simulate.py": "--workers 1",
    "data_prep.py": "--workers 1",
    # of 60 electrons enough to test that each setting has its row
    "cli.py fit": "--trainer.enable_progress_bar=false --data.batch_size=16 --data.fractions='[0.5,0.1,0.4]'",
    "stages.py": "--trainer.enable_progress_bar=false --data.batch_size=16",
}
NETWORK = " ".join(
    f"--model.encoders.spectrum.init_args.{name}={value}" for name, value in (("width", 8), ("depth", 1), ("state", 4))
)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_page_of_many_apparatus_runs(tmp_path: Path) -> None:
    for name in ("scripts", "configs", "cli.py", "constraints.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled", "COLUMNS": "200"}
    text = (DOCS / "howto/many_apparatus.md").read_text()
    for block in blocks_of(text):
        if block.title is not None:
            (tmp_path / block.title).write_text(re.sub(r"max_epochs: \d+", "max_epochs: 1", block.text))
    for command in commands(text):
        command = re.sub(r"max_epochs=\d+", "max_epochs=1", re.sub(r"--events \d+", "--events 60", command))
        more = [extra for word, extra in SMALL_PLANE.items() if word in command]
        network = NETWORK if "cli.py fit" in command or "stages.py" in command else ""
        body, done_word = command.removesuffix("; done"), "; done" if command.endswith("; done") else ""
        command = f"{body} {' '.join([*more, network])}{done_word}"
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert "Many apparatus" in (tmp_path / "runs/judged/report.html").read_text()
    assert (tmp_path / "runs/plane/stages.json").is_file()
