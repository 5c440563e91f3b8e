"""Configuration files: read with their mistakes named by file, line and column, and their paths expanded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from reconstruction.errors import UserError
from reconstruction.paths import all_expanded


class _Loader(yaml.SafeLoader):
    """A key that stands twice is an error: the first one would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make a mapping. Raises yaml.MarkedYAMLError for a key that stands twice."""
        seen: dict[Any, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                continue
            if key.value in seen:
                problem = f"the key {key.value!r} stands twice, first in line {seen[key.value]}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file, paths in it expanded.

    Raises UserError, with the place, for a file that is not there, is no text, or is no YAML.
    """
    try:
        return all_expanded(yaml.load(path.read_text(encoding="utf-8"), _Loader))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no YAML file: it holds no text (UTF-8)") from error
    except OSError as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        hint = "name an existing YAML file; those that come with the program are in configs/"
        raise UserError(f"{path} cannot be read ({why}): {hint}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML file: {_place(error)}{_what(error)}") from error


def require_yaml(path: Path) -> None:
    """Raise UserError, with the place, where a file cannot be read as YAML."""
    read_yaml(path)


def line_of(path: Path, dotted: str) -> int | None:
    """Return the line of a key, given in dots, in a YAML file; None where it is not there."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    line = None
    for word in dotted.split("."):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((key, value) for key, value in pairs if getattr(key, "value", None) == word), None)
        if found is None:
            return None
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "


def _what(error: yaml.YAMLError) -> str:
    problem = str(getattr(error, "problem", None) or error)
    if "'\\t'" in problem:
        return "a tab; YAML is indented with spaces"
    return " ".join(problem.split())
