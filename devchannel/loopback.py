"""Who may talk to the local channel: pages that this machine served, and programs that run on it.

A page of another site can make a browser call a loopback address (cross-site requests), and can do so under
its own name by pointing that name at 127.0.0.1 (DNS rebinding). The first shows in ``Origin``, the second in ``Host``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

_HOST = re.compile(r"(?P<name>[a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def refusal(headers: Mapping[str, str]) -> str | None:
    """Why a request with these headers is refused, or None."""
    host = headers.get("Host", "")
    if not is_loopback(host):
        return "The local channel is only reachable by a loopback name, such as http://127.0.0.1 or http://localhost."
    origin = headers.get("Origin")
    if origin is None:
        return None
    try:
        parts = urlsplit(origin)
    except ValueError:
        return "The request's Origin is not a URL."
    if parts.scheme not in ("http", "https") or parts.netloc.lower() != host.lower():
        return "The local channel takes no requests from pages of other origins."
    return None


def is_loopback(host: str) -> bool:
    """Whether a ``Host`` header, with or without port, names this machine by loopback."""
    match = _HOST.fullmatch(host.lower())
    if match is None:
        return False
    name = match["name"].strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
