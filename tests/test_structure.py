"""The parts of the project keep to their places."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def requirements(name: str) -> dict[str, str]:
    """Package to the version it is pinned at."""
    lines = (ROOT / name).read_text().splitlines()
    pins = (re.fullmatch(r"([\w.-]+)(?:\[\w+\])?==([^;\s]+)(?:;.*)?", line) for line in lines)
    return {pin[1].lower().replace("_", "-"): pin[2] for pin in pins if pin}


def test_layers_import_only_those_below_them() -> None:
    """The contracts in ``pyproject.toml`` are kept: layers, no cycles, and a domain on the standard library alone."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    result = subprocess.run([*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_package_has_its_layer() -> None:
    """A new package cannot escape the contracts."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "testkit", "benchmarks", "soak"}
    layers = next(contract["layers"] for contract in contracts["contracts"] if contract["type"] == "layers")
    assert packages == set(contracts["root_packages"]) == set(re.findall(r"\w+", " ".join(layers)))


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_what_is_required_was_tested_together(name: str) -> None:
    """Every direct need is pinned, at the version that the constraints have."""
    lines = (ROOT / name).read_text().splitlines()
    pins = requirements(name)
    assert len(pins) == sum(bool(line) and not line.startswith(("#", "-r")) for line in lines)
    assert pins.items() <= requirements("constraints.txt").items()


def test_only_the_jobs_that_ship_need_mathematics() -> None:
    """Whoever has jobs of their own may leave these packages out."""
    needing = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if path.relative_to(ROOT).parts[0] not in (".venv", "tests", "benchmarks")
        and re.search(r"^\s*(import|from) (sympy|mpmath|gmpy2)\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert needing == {"jobs/examples.py"}
