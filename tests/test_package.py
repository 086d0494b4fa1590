"""What the package says of itself agrees with itself: dependencies, documents, commands."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

import l4gm
from l4gm.cli import doctor
from l4gm.cli.main import find_command
from l4gm.cli.usage import parse

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def canonical(name: str) -> str:
    """A distribution's name as packaging compares it: huggingface_hub is huggingface-hub."""
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    """The distributions of requirement lines, without versions."""
    found = (re.match(r"[\w.-]+", line) for line in requirements)
    return {canonical(match[0]) for match in found if match}


def test_constraints_pin_what_is_required(project: dict[str, Any]) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    required = names(project["dependencies"])
    for extra in ("multiview", "dev"):
        required |= names(project["optional-dependencies"][extra]) - {"l4gm"}
    assert not required - names(pins)


def test_doctor_knows_the_dependencies(project: dict[str, Any]) -> None:
    assert {canonical(name) for name in doctor.CORE} == names(project["dependencies"])
    extras = {extra.name: {canonical(name) for name in extra.packages} for extra in doctor.EXTRAS}
    offered = project["optional-dependencies"]
    assert extras == {name: names(lines) for name, lines in offered.items() if name != "dev"}


def test_version_has_one_source(project: dict[str, Any]) -> None:
    assert project["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", l4gm.__version__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    links = re.findall(r"(?<!!)\[[^\]]*\]\(([^)#]+)(#[^)]*)?\)", page.read_text())
    local = [target for target, _ in links if not target.startswith("http")]
    missing = [target for target in local if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_documents_parse(page: Path) -> None:
    """Every indented `l4gm ...` line is a command line that the verb takes."""
    for line in re.findall(r"^    (l4gm .*)$", page.read_text(), re.MULTILINE):
        command = find_command(shlex.split(line, comments=True)[1:])
        verb, module = " ".join(command.names), command.module
        assert parse(module.Options, verb, command.summary, module.EXAMPLES, command.arguments), (
            line
        )
