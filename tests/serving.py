"""For tests whose service is configured in its own way: ``service = serving(NAME="value")`` in the class."""

from __future__ import annotations

from typing import Any

import pytest

from app import Service
from tests.conftest import ServiceFactory


def serving(**variables: str) -> Any:
    """A fixture that takes the place of ``service``, and so serves ``ann``, ``bob`` and ``sender``."""

    async def configured(self: Any, start_service: ServiceFactory) -> Service:
        return await start_service(**variables)

    return pytest.fixture(configured, name="service")
