"""What surrounds the program agrees with it: citation, workflow, container, templates, paper, Makefile."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from cres.commands import OTHERS, TRAINING

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_citation_is_that_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "authors", "message"} <= set(citation)
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]


def test_the_workflow_runs_the_two_commands() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    steps = [step.get("run") for job in workflow["jobs"].values() for step in job["steps"]]
    assert {"make test", "make demo"} <= set(steps)
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert lowest in workflow["jobs"]["test"]["strategy"]["matrix"]["python"]


def dockerfile_faults(text: str) -> list[str]:
    """Return what a Dockerfile names and the checkout has not."""
    faults = []
    for words in (line.split() for line in text.splitlines()):
        if words[:1] == ["COPY"]:
            faults += [name for name in words[1:-1] if not (ROOT / name).exists()]
        if words[:1] == ["ENTRYPOINT"]:
            program = yaml.safe_load(" ".join(words[1:]))[0]
            faults += [] if program in PROJECT["scripts"] else [program]
    for argument in re.findall(r"\$\{(\w+)\}", text):
        faults += [] if f"ARG {argument}" in text else [argument]
    for command in re.findall(r"\bcres (\w+) --", text):
        faults += [] if command in {*OTHERS, *TRAINING} else [command]
    return faults


def test_the_container_names_what_exists() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert dockerfile_faults(text) == []
    assert "never built" in text
    assert "whl/cpu" in text
    assert "whl/cu" in text


@pytest.mark.parametrize(
    "line", ["COPY no_such_file ./", 'ENTRYPOINT ["crs"]', "RUN pip ${OTHER}", "# cres perp --input"]
)
def test_the_check_of_the_container_can_fail(line: str) -> None:
    assert dockerfile_faults(line)


@pytest.mark.parametrize("path", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.md")), ids=lambda path: path.stem)
def test_issue_templates_have_a_head(path: Path) -> None:
    _, head, body = path.read_text().split("---\n", 2)
    assert {"name", "about", "labels"} <= set(yaml.safe_load(head))
    assert len(body) > 100


def test_the_paper_is_a_joss_paper() -> None:
    _, head, body = (ROOT / "paper/paper.md").read_text().split("---\n", 2)
    assert {"title", "tags", "authors", "affiliations", "date", "bibliography"} <= set(yaml.safe_load(head))
    assert {"# Summary", "# Statement of need", "# References"} <= set(body.splitlines())
    assert 250 < len(body.split()) < 1000
    cited = set(re.findall(r"@([\w:]+)", body))
    listed = set(re.findall(r"^@\w+\{([^,]+),", (ROOT / "paper/paper.bib").read_text(), re.M))
    assert cited == listed


@pytest.mark.parametrize("target", ["demo", "demo-showers", "demo-jets", "demo-detectors", "test", "model", "help"])
def test_the_makefile_can_be_read(target: str) -> None:
    run = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr


def test_what_make_runs_keeps_its_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, every start of a program compiles torch anew; images of containers often forbid it."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    command = ["make", "--silent", "--eval=shown: ; @echo $${PYTHONDONTWRITEBYTECODE:-kept}", "shown"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said == "kept\n"


@pytest.mark.parametrize(("there", "constraint"), [("true", ""), ("false", "-c constraints-torch.txt")])
def test_a_torch_of_ones_own_stays(there: str, constraint: str) -> None:
    """The pin of torch is a file of its own, which an environment that has a torch is not given."""
    command = ["make", "--silent", f"RUN={there}", "--eval=shown: ; @echo $(TORCH)", "shown"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.strip() == constraint
    pins = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert not pins & {"torch", "triton"}
    assert not [pin for pin in pins if pin.startswith("nvidia")]
    assert re.fullmatch(r"(#.*\n)*torch==[\d.]+\n", (ROOT / "constraints-torch.txt").read_text())


def test_the_demo_installs_no_more_than_it_needs() -> None:
    text = (ROOT / "Makefile").read_text()
    assert "| .venv/.demo\n" in text
    assert re.search(r"^\.venv/\.demo:.*\n.*\n?\t@if .*\$\(INSTALL\) \. ", text, re.M)
    demo = text[text.index("# The demo") : text.index("# Tests")]
    assert ".venv/.installed" not in demo


def test_heavy_packages_of_some_are_extras() -> None:
    extras = PROJECT["optional-dependencies"]
    assert {"tensorboard", "mlflow", "sweeps", "onnx", "notebooks", "docs", "dev"} <= set(extras)
    needed = " ".join(PROJECT["dependencies"])
    assert not re.search("tensorboard|mlflow|optuna|onnx|jupyter|mkdocs|pytest", needed)


STAND_IN = """\
#!/bin/bash
# answers for Python: writes what each step of the demo would, and notes that it ran
echo "${*:1:2}" >>{run}/ran
[[ ! -r /proc/$$/stat ]] || cut -d' ' -f6 /proc/$$/stat >>{run}/sessions
for word; do
  case $before in --output|--predictions) made=$word ;; esac
  case $word in --predictions=*) made=${word#*=} ;; esac
  before=$word
done
case $* in
  *simulate.py*) mkdir -p $made; made=$made/simulation.json ;;
  *evaluate.py*) made=$made/report.html ;;
  *fit*) {training} ;;
  *carrier*) sleep {carrier_s} ;;
esac
[[ -z $made ]] || touch $made
"""


def demo_with_stand_ins(run: Path, training: str = "sleep 0.5", carrier_s: float = 0.1) -> list[str]:
    run.mkdir(exist_ok=True)
    python = run / "python"
    words = {"{run}": str(run), "{training}": training, "{carrier_s}": str(carrier_s)}
    text = STAND_IN
    for word, value in words.items():
        text = text.replace(word, value)
    python.write_text(text)
    python.chmod(0o755)
    return ["make", f"DEMO={run}", f"RUN={python}", "-o", ".venv/.demo", f"{run}/report.html", f"{run}/electrons.html"]


def test_the_demo_makes_everything_once_beside_and_in_the_open(tmp_path: Path) -> None:
    run = tmp_path / "demo"
    command = demo_with_stand_ins(run, carrier_s=3)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    ran = (run / "ran").read_text().splitlines()
    assert sorted(line.split()[0] for line in ran) == sorted(
        ["cli.py"] * 3 + ["scripts/simulate.py", "scripts/data_prep.py"] * 2 + ["scripts/estimate.py"] * 4
        + ["scripts/evaluate.py", "scripts/browse.py"]
    )  # fmt: skip
    assert {line.split()[0] for line in ran[-2:]} == {"scripts/evaluate.py", "scripts/browse.py"}
    named = ("carrier", "bound", "seeded", "tritium", "tritium_predictions", "tritium_seeded")
    assert all((run / f"{name}.hdf5").exists() for name in named)
    if sys.platform == "linux":  # nice counts within a session only: the training would have half of a core less
        assert set((run / "sessions").read_text().split()) == {str(os.getsid(0))}
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "up to date" in again.stdout


def test_what_is_made_beside_ends_with_the_demo(tmp_path: Path) -> None:
    run = tmp_path / "demo"
    command = demo_with_stand_ins(run, training="sleep 1; kill -TERM $PPID; sleep 3", carrier_s=30)
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    time.sleep(2)
    living = subprocess.run(["pgrep", "-f", str(run)], capture_output=True, text=True).stdout
    assert living == ""


def test_an_interrupted_demo_keeps_its_training_and_goes_on(tmp_path: Path) -> None:
    """Make removes the targets of a recipe that was ended: checkpoints must not be among them."""
    run = tmp_path / "demo"
    (run / "checkpoints").mkdir(parents=True)
    (run / "raw").mkdir()
    for name in ("raw/simulation.json", "cres.hdf5", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        (run / name).touch()
        os.utime(run / name, (time.time() + 100 + len(name),) * 2)
    installed = tmp_path / "python"
    installed.write_text('#!/bin/bash\nif [[ $1 == cli.py ]]; then echo "$@"; kill -TERM $PPID; exec sleep 5; fi\n')
    installed.chmod(0o755)
    command = [
        "make",
        f"DEMO={run}",
        f"RUN={installed}",
        "-o",
        ".venv/.demo",
        "-o",
        f"{run}/cres.hdf5",
        f"{run}/trained",
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    assert "--resume" in ended.stdout
    assert {file.name for file in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert not (run / "trained").exists()


def test_an_interrupted_demo_of_jets_goes_on(tmp_path: Path) -> None:
    """A training that stopped goes on; one whose jets or whose pre-training are newer begins again."""
    jets = tmp_path / "jets"
    stand_in = tmp_path / "python"
    stand_in.write_text('#!/bin/bash\necho "$@"\nif [[ $2 == fit ]]; then kill -TERM $PPID; exec sleep 5; fi\n')
    stand_in.chmod(0o755)
    command = ["make", f"JETS={jets}", f"RUN={stand_in}", "-o", ".venv/.collider", f"{jets}/classes.hdf5"]

    def left(*names: str) -> str:
        for place, name in enumerate(names):
            (jets / name).parent.mkdir(parents=True, exist_ok=True)
            (jets / name).touch()
            os.utime(jets / name, (time.time() + 100 * place,) * 2)
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout

    last = "classify/checkpoints/last.ckpt"
    begun = left("data/made", "pretrained")
    assert "--fine_tune.checkpoint" in begun
    assert "--resume" not in begun
    assert "--resume" in left("data/made", "pretrained", last)
    assert "--resume" not in left("data/made", last, "pretrained")
    assert (jets / last).exists()
    pretraining = left("pretrained", "data/made", "pretrain/checkpoints/last.ckpt")
    assert "pretrain.yaml" in pretraining
    assert "--resume" in pretraining
