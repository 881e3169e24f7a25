"""URLs of stores that are more than one server."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

Address = tuple[str, int]

SENTINEL_PORT = 26379
CLUSTER_PORT = 6379


@dataclass(frozen=True, kw_only=True)
class SentinelUrl:
    """A master that sentinels know by the name ``service``; the second pair of credentials is the sentinels' own."""

    sentinels: tuple[Address, ...]
    service: str
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class ClusterUrl:
    """Nodes of a cluster by which the others are found; with ``tls``, all of them are spoken to that way."""

    nodes: tuple[Address, ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False


def parse(url: str) -> SentinelUrl | ClusterUrl | None:
    """What a URL of several servers names; None for any other URL.

    Raises :class:`ValueError` with what to write instead, without repeating the URL: it may hold a password.
    """
    scheme = url.partition("://")[0]
    if scheme == "redis+sentinel":
        return _sentinel(url)
    if scheme in ("redis+cluster", "rediss+cluster"):
        return _cluster(url, tls=scheme == "rediss+cluster")
    return None


def place(url: str) -> str:
    """Where a URL leads, without what is secret in it; empty if that cannot be told apart."""
    address = url.partition("://")[2]
    authority = re.split(r"[/?#]", address, maxsplit=1)[0]
    rest = address[len(authority) :]
    if "@" in rest:  # of a password that is not quoted
        return ""
    return authority.rpartition("@")[2] or re.split(r"[?#]", rest)[0]


def _sentinel(url: str) -> SentinelUrl:
    form = "write it as redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DATABASE"
    parts = _split(url, form)
    username, password, sentinels = _authority(parts.netloc, SENTINEL_PORT, form)
    service, _, database = parts.path.removeprefix("/").partition("/")
    if not service:
        raise ValueError(f"it names no service; {form}")
    if database and not (database.isascii() and database.isdigit()):
        raise ValueError(f"its database is no number; {form}")
    try:
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        options = {"": ""}
    if set(options) - {"sentinel_username", "sentinel_password"}:
        raise ValueError("what follows its ? is not known; use sentinel_username and sentinel_password")
    return SentinelUrl(
        sentinels=sentinels,
        service=unquote(service),
        database=int(database or 0),
        username=username,
        password=password,
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
    )


def _cluster(url: str, *, tls: bool) -> ClusterUrl:
    form = "write it as redis+cluster://HOST:PORT,HOST:PORT"
    parts = _split(url, form)
    username, password, nodes = _authority(parts.netloc, CLUSTER_PORT, form)
    if parts.path.strip("/") or parts.query:
        raise ValueError(f"a cluster has neither databases nor options; {form}")
    return ClusterUrl(nodes=nodes, username=username, password=password, tls=tls)


def _split(url: str, form: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # whose text may be the URL's
        raise ValueError(f"its hosts or ports are malformed; {form}") from None


def _authority(netloc: str, default_port: int, form: str) -> tuple[str | None, str | None, tuple[Address, ...]]:
    credentials, _, hosts = netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    try:
        addresses = tuple(_address(host, default_port) for host in hosts.split(","))
    except ValueError:
        raise ValueError(f"its hosts or ports are malformed; {form}") from None
    return unquote(username) or None, unquote(password) or None, addresses


def _address(text: str, default_port: int) -> Address:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.netloc != text or parts.port == 0:
        raise ValueError
    return parts.hostname, parts.port or default_port
