"""Which service URLs activities, and with them the bot's token, may be sent to."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from domain.errors import ServiceUrlNotAllowed

LOCAL_CHANNEL = "urn:aside:devchannel"
"""The service URL of the local development channel: its activities never leave the service."""
LENGTH = 1000
"""Characters that a service URL may have."""
KEPT = 1000
"""Service URLs that are remembered to be allowed: a few for each cloud. What is refused fills nothing."""

_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]+", re.IGNORECASE)
"""A host name or an IPv6 address. URL parsers disagree about what else may stand there, so nothing else may."""


class ServiceUrls:
    """An allow-list: origins (``https://host[:port]``, port ``*`` for any), hosts, or ``*.suffix`` for a
    host's subdomains. A host without a scheme allows https only."""

    def __init__(self, allowed: tuple[str, ...], *, local_channel: bool) -> None:
        self._allowed = tuple(entry.lower().rstrip("/") for entry in allowed)
        self._local_channel = local_channel
        self._allowed_before: set[str] = set()

    def check(self, service_url: str) -> None:
        """Raises :class:`ServiceUrlNotAllowed`."""
        if service_url in self._allowed_before:
            return
        if len(service_url) <= LENGTH and self._allows(service_url):
            if len(self._allowed_before) < KEPT:
                self._allowed_before.add(service_url)
        else:
            raise ServiceUrlNotAllowed(
                f"The service URL {service_url[:200]!r} is not among those that activities may be sent to; "
                "if it is a channel you trust, add its host to SERVICE_URL_ALLOW."
            )

    def _allows(self, service_url: str) -> bool:
        if service_url == LOCAL_CHANNEL:
            return self._local_channel
        if not service_url.isascii() or not service_url.isprintable() or " " in service_url or "\\" in service_url:
            return False
        try:
            url = urlsplit(service_url)
            host, port = (url.hostname or "").lower(), url.port
        except ValueError:
            return False
        if url.scheme not in ("http", "https") or "@" in url.netloc or not _HOST.fullmatch(host):
            return False
        origin = f"{url.scheme}://[{host}]" if ":" in host else f"{url.scheme}://{host}"
        return any(_matches(entry, url.scheme, host, origin, port) for entry in self._allowed)


def _matches(entry: str, scheme: str, host: str, origin: str, port: int | None) -> bool:
    if "://" in entry:
        return entry in (f"{origin}:*", origin if port is None else f"{origin}:{port}")
    if scheme != "https":
        return False
    if entry.startswith("*."):
        return host.endswith(entry[1:])
    return host == entry
