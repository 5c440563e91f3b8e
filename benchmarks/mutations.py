"""Break the program on purpose, place by place, and see which tests notice: none may survive.

    python benchmarks/mutations.py                    all, one after the other; minutes
    python benchmarks/mutations.py --only tied_loss class_shares
    python benchmarks/mutations.py --list             what is broken and by what it is caught, as Markdown

Each mutation replaces one text of one file in a copy of the program and runs the tests that are to fail there; it is
found when they do. A text that is no longer there is told, so that the list stays true. Exit code 1 when one survives.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mutation_rows import MUTATIONS, Mutation

ROOT = Path(__file__).parents[1]
COPIED = ("src", "tests", "configs", "scripts", "pyproject.toml", "cli.py")
PASSED, FAILED = 0, 1
"""Exit codes of pytest."""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=None, help="names of mutations")
    parser.add_argument("--list", action="store_true", help="print the list and stop")
    return parser.parse_args()


def markdown() -> str:
    """Return the list."""
    lines = ["| mutation | file | breaks | found by |", "|---|---|---|---|"]
    for one in MUTATIONS:
        lines.append(
            f"| `{one.name}` | `{one.file}` | `{one.old.strip().replace('|', 'or')}` | `{one.tests}` {one.words} |"
        )
    return "\n".join(lines)


def survived(one: Mutation, folder: Path) -> str:
    """Return an empty text where the mutation is found, else what happened."""
    path = folder / "src" / one.package / one.file
    sound = path.read_text()
    if sound.count(one.old) != 1:
        return f"its text is there {sound.count(one.old)} times: bring the list up to date"
    path.write_text(sound.replace(one.old, one.new))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{one.tests}"]
    command += ["-k", one.words] if one.words else []
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    finally:
        path.write_text(sound)
    if done.returncode == FAILED:
        return ""
    return "survived" if done.returncode == PASSED else f"the tests did not run: {done.stdout[-300:]}"


def main() -> int:
    arguments = parse_arguments()
    if arguments.list:
        print(markdown())
        return 0
    left = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in COPIED:
            source = ROOT / part
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, folder / part)
        for one in MUTATIONS:
            if arguments.only is None or one.name in arguments.only:
                verdict = survived(one, folder)
                left += bool(verdict)
                print(f"{one.name}: {verdict or 'found'}", flush=True)
    print(f"{left} survived" if left else "all were found")
    return int(bool(left))


if __name__ == "__main__":
    sys.exit(main())
