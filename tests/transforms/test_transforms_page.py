"""The examples of docs/transforms.md run and give what the page says."""

import doctest
import re
from pathlib import Path

from cres import transforms

PAGE = Path(__file__).parents[2] / "docs" / "transforms.md"


def test_examples_of_the_page():
    text = "\n".join("" if line.startswith("```") else line for line in PAGE.read_text().splitlines())
    example = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    assert len(example.examples) > 20
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF)
    report: list[str] = []
    runner.run(example, out=report.append)
    assert not runner.failures, "".join(report)


def test_page_names_every_transform():
    modules = [name for name in transforms.__all__ if isinstance(getattr(transforms, name), type)]
    concrete = [name for name in modules if not getattr(getattr(transforms, name), "__abstractmethods__", None)]
    text = PAGE.read_text()
    assert [name for name in concrete if not re.search(rf"\b{name}\b", text)] == []
