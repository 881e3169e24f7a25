"""Which functions are jobs, and what is said of those that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.context import CpuJobContext, JobContext
from jobs.registry import RegistryError, job, load
from settings import check_imports
from settings import load as load_settings


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The name of an importable module, whose source a test writes to ``tmp_path``."""
    monkeypatch.syspath_prepend(tmp_path)
    return f"written_for_{request.node.name}"


def write(folder: Path, name: str, *lines: str) -> None:
    head = ["from jobs.registry import job"]
    (folder / f"{name}.py").write_text("\n".join([*head, *lines, ""]))


def test_the_jobs_that_ship() -> None:
    registry = load(["jobs.examples"])
    assert set(registry) == {"factor", "pi", "primes", "wait"}
    assert registry["factor"].cpu
    assert not registry["wait"].cpu
    assert "rm" not in registry


def test_a_job_has_settings(tmp_path: Path, module: str) -> None:
    write(tmp_path, module, "@job('a', timeout=5, tries=7, backoff=(2, 9), max_crashes=1)", "async def a(context): ...")
    spec = load([module])["a"]
    assert (spec.timeout, spec.tries, spec.backoff, spec.max_crashes) == (5, 7, (2, 9), 1)


def test_a_job_imported_by_another_module_is_the_same_job(tmp_path: Path, module: str) -> None:
    write(tmp_path, module, "from jobs.examples import wait")
    assert load([module, "jobs.examples"])["wait"].function.__module__ == "jobs.examples"


def test_every_mistake_is_reported_at_once(tmp_path: Path, module: str) -> None:
    """Each in a sentence that names what is to be mended."""
    write(tmp_path, module, "@job('wait')", "async def linger(context): ...")
    write(tmp_path, f"{module}_empty")
    write(tmp_path, f"{module}_broken", "1 / 0")
    with pytest.raises(RegistryError) as caught:
        load(["jobs.examples", module, "no.such.module", f"{module}_empty", f"{module}_broken"])
    twice, missing, empty, broken = caught.value.mistakes
    assert "'wait' is there twice" in twice
    assert f"jobs.examples.wait and {module}.linger" in twice
    assert "'no.such.module' cannot be imported" in missing
    assert f"'{module}_empty' has no function" in empty
    assert broken.endswith("ZeroDivisionError: division by zero.")


def test_a_cpu_bound_job_must_be_found_by_its_process(tmp_path: Path, module: str) -> None:
    """A function made inside another has no place from which it could be imported."""
    lines = [
        "def make():",
        "    @job('made', cpu=True)",
        "    def made(context): ...",
        "    return made",
        "it = make()",
    ]
    write(tmp_path, module, *lines)
    with pytest.raises(RegistryError, match="at the top level of an importable module"):
        load([module])


def test_a_plain_function_must_be_cpu_bound() -> None:
    """It would block the loop that answers users."""
    with pytest.raises(ValueError, match="async def, or mark it cpu=True"):

        @job("plain")
        def plain(context: CpuJobContext) -> str:
            return ""


def test_a_coroutine_function_cannot_be_cpu_bound() -> None:
    with pytest.raises(ValueError, match="drop cpu=True"):

        @job("coroutine", cpu=True)
        async def coroutine(context: JobContext) -> str:
            return ""


@pytest.mark.parametrize("settings", [{"tries": 0}, {"timeout": 0}, {"max_crashes": 0}, {"backoff": (5, 1)}])
def test_settings_that_cannot_be_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="'odd' needs"):
        job("odd", cpu=True, **settings)(test_the_jobs_that_ship)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["", "@job('plain')", "def plain(context): ..."], "async def, or mark it cpu=True, at {file}:3)"),
        (["@job('odd', tries=0)", "async def odd(context): ..."], "no shorter than the first, at {file}:2)"),
    ],
)
def test_what_is_wrong_is_told_with_the_line_of_whoever_wrote_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], told: str
) -> None:
    """And not with the line here that refuses it."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"marked_{len(lines)}"
    write(tmp_path, name, *lines)
    (line,) = check_imports(load_settings({"JOBS": name}))
    assert told.format(file=tmp_path / f"{name}.py") in line
    with pytest.raises(RegistryError, match=r"[^.]\.$"):
        load([name])
