"""The service listens at every address of its host, and at none if one is taken."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from web.listening import CannotListen, listening_sockets

FOREIGN = "203.0.113.7"


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.3", 0)) as free:  # it is kept here, so that nobody is given it meanwhile
        yield free.getsockname()[1]


def named(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Have a name stand for these, as ``localhost`` often does for two."""

    def answer(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def heard(sockets: list[socket.socket]) -> list[str]:
    """Where they listen; they are closed."""
    addresses = []
    for each in sockets:
        with each, socket.socket() as caller:
            caller.connect(each.getsockname())
            addresses.append(each.getsockname()[0])
    return addresses


def test_every_address_of_a_name_is_listened_at(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    named(monkeypatch, "127.0.0.1", "127.0.0.2", "127.0.0.1")
    assert heard(listening_sockets("somewhere", port)) == ["127.0.0.1", "127.0.0.2"]


def test_an_address_that_this_machine_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    named(monkeypatch, FOREIGN, "127.0.0.1")
    assert heard(listening_sockets("somewhere", port)) == ["127.0.0.1"]
    named(monkeypatch, FOREIGN)
    with pytest.raises(CannotListen, match="HOST: 'somewhere' is no address of this machine"):
        listening_sockets("somewhere", port)


def test_a_port_that_is_taken_at_one_address_is_had_at_none(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Or half of the callers would reach another program."""
    named(monkeypatch, "127.0.0.1", "127.0.0.3")
    with pytest.raises(CannotListen, match=f"PORT: {port} is taken"):
        listening_sockets("somewhere", port)
    named(monkeypatch, "127.0.0.1")
    assert heard(listening_sockets("somewhere", port)) == ["127.0.0.1"]
