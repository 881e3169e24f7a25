"""Which jobs there are: functions marked with :func:`job` in the modules that the configuration names."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from domain.errors import AsideError

Function = TypeVar("Function", bound=Callable[..., Any])

_MARK = "__job__"


class RegistryError(AsideError):
    """The modules of jobs cannot be used; ``mistakes`` holds a sentence for each thing to mend."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__(" ".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """A job that can be started. ``timeout`` and ``backoff`` (the first pause and the longest) are seconds."""

    name: str
    function: Callable[..., Any]
    cpu: bool = False
    """A plain function that runs in a process of its own; otherwise a coroutine function, on the loop."""
    timeout: float = 3600.0
    tries: int = 3
    backoff: tuple[float, float] = (1.0, 60.0)
    max_crashes: int = 3
    """How many workers it may take down with it before it fails."""
    late: str | None = None
    """A sentence for the user, should it have run out of time."""


def job(
    name: str,
    *,
    cpu: bool = False,
    timeout: float = JobSpec.timeout,
    tries: int = JobSpec.tries,
    backoff: tuple[float, float] = JobSpec.backoff,
    max_crashes: int = JobSpec.max_crashes,
    late: str | None = None,
) -> Callable[[Function], Function]:
    """Mark a function as a job: ``async def`` runs on the loop, a plain one with ``cpu=True`` in its own process.

    Its first parameter is the context, the others are the arguments the job is started with, by name.
    Raises ``ValueError`` for settings that cannot be.
    """

    def mark(function: Function) -> Function:
        if cpu and inspect.iscoroutinefunction(function):
            raise ValueError(f"The job {name!r} is a coroutine function: it runs on the loop, so drop cpu=True.")
        if not cpu and not inspect.iscoroutinefunction(function):
            raise ValueError(f"The job {name!r} is a plain function: make it async def, or mark it cpu=True.")
        if not name or timeout <= 0 or tries < 1 or max_crashes < 1 or not 0 <= backoff[0] <= backoff[1]:
            raise ValueError(
                f"The job {name!r} needs a name, a timeout above 0, tries and max_crashes of 1 or more, "
                "and a longest pause that is no shorter than the first."
            )
        function.__dict__[_MARK] = JobSpec(
            name=name,
            function=function,
            cpu=cpu,
            timeout=timeout,
            tries=tries,
            backoff=backoff,
            max_crashes=max_crashes,
            late=late,
        )
        return function

    return mark


@dataclass(frozen=True)
class Registry(Mapping[str, JobSpec]):
    """The jobs by name."""

    specs: Mapping[str, JobSpec]

    def __getitem__(self, name: str) -> JobSpec:
        return self.specs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)


def load(modules: Iterable[str]) -> Registry:
    """The jobs of these modules. Raises :class:`RegistryError` with every mistake at once."""
    specs: dict[str, JobSpec] = {}
    mistakes: list[str] = []
    for name in modules:
        try:
            module = importlib.import_module(name)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".rstrip(".: ")
            mistakes.append(f"The module {name!r} cannot be imported: {reason}.")
            continue
        found = _marked(module)
        if not found:
            mistakes.append(f"The module {name!r} has no function that is marked with @job.")
        for spec in found:
            other = specs.setdefault(spec.name, spec)
            if other.function is not spec.function:
                places = f"{_place(other.function)} and {_place(spec.function)}"
                mistakes.append(f"The job {spec.name!r} is there twice: {places}.")
            elif spec.cpu and not _importable(spec.function):
                mistakes.append(
                    f"The job {spec.name!r} ({_place(spec.function)}) cannot run in a process of its own: "
                    "define its function at the top level of an importable module, under its own name."
                )
    if mistakes:
        raise RegistryError(mistakes)
    return Registry(specs)


def spec_at(module: str, name: str) -> JobSpec:
    """The job that the function ``name`` of ``module`` is marked as."""
    spec = vars(getattr(importlib.import_module(module), name))[_MARK]
    assert isinstance(spec, JobSpec)
    return spec


def _marked(module: ModuleType) -> list[JobSpec]:
    marks = (getattr(value, "__dict__", {}).get(_MARK) for value in list(vars(module).values()) if callable(value))
    return [mark for mark in marks if isinstance(mark, JobSpec)]


def _importable(function: Callable[..., Any]) -> bool:
    module = sys.modules.get(function.__module__)
    return function.__module__ != "__main__" and getattr(module, function.__qualname__, None) is function


def _place(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
