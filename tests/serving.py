"""For tests whose service is configured in its own way: ``service = serving(NAME="value")`` in the class.

``impatient`` is imported by the modules that use it.
"""

from __future__ import annotations

from typing import Any

import pytest

from app import Service
from delivery import loop
from domain import sending
from tests.conftest import ServiceFactory
from turns import failed_turns


def serving(**variables: str) -> Any:
    """A fixture that takes the place of ``service``, and so serves ``ann``, ``bob`` and ``sender``."""

    async def configured(self: Any, start_service: ServiceFactory) -> Service:
        return await start_service(**variables)

    return pytest.fixture(configured, name="service")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses after failures are short, and loops look at what is due at once."""
    monkeypatch.setattr(sending, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(failed_turns, "FAILED_PAUSE", 0.05)
    monkeypatch.setattr(loop, "IDLE", 0.05)
