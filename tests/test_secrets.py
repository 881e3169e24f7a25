"""What the service starts gets none of its secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from domain.environment import SECRETS, bare, without_secrets
from domain.ids import JobId
from jobs.context import CpuJobContext
from jobs.process import run_in_child
from jobs.registry import job, spec_at
from settings import Settings
from state.embedded import EmbeddedStore, find_server

SECRET = {"MicrosoftAppPassword": "s3cret", "NOTIFY_API_KEYS": "ci:s3cret", "redis_url": "redis://:s3cret@host"}


@job("look_around", cpu=True)
def look_around(context: CpuJobContext) -> str:
    import os

    return "\n".join(f"{name}={value}" for name, value in os.environ.items())


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SECRET, "OF_THE_JOB": "its own"}.items():
        monkeypatch.setenv(name, value)


async def test_a_job_gets_its_own_environment_without_them() -> None:
    seen = await run_in_child(spec_at(__name__, "look_around"), JobId("job_1"), 1, {}, lambda share, note: None)
    assert "OF_THE_JOB=its own" in seen
    assert "s3cret" not in seen


async def test_the_store_gets_what_any_program_needs(tmp_path: Path) -> None:
    told = tmp_path / "environment"
    binary = tmp_path / "server"
    binary.write_text(f'#!/bin/sh\nenv > "{told}"\nexec "{find_server(None)}" "$@"\n')
    binary.chmod(0o755)
    store = await EmbeddedStore.start(tmp_path / "data", str(binary))
    await store.stop()
    seen = told.read_text()
    assert "PATH=" in seen
    assert "s3cret" not in seen and "OF_THE_JOB" not in seen


def test_every_setting_that_is_a_secret_is_known_as_one() -> None:
    """Whoever adds one has to say so."""
    hidden = {
        str(field.validation_alias or name).lower()
        for name, field in Settings.model_fields.items()
        if field.annotation is SecretStr or not field.repr or "key" in name
    }
    assert hidden == SECRETS


def test_names_of_secrets_are_read_in_any_case() -> None:
    assert without_secrets({"microsoftapppassword": "x", "Redis_Url": "x", "PATH": "/bin"}) == {"PATH": "/bin"}
    assert bare({"Path": "/bin", "LC_ALL": "C", "AWS_SECRET": "x"}) == {"Path": "/bin", "LC_ALL": "C"}
