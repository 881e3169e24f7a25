"""Who may talk to the local channel: pages that this machine served, and programs that run on it.

A page of another site can make a browser call a loopback address (cross-site requests), and can do so under
its own name by pointing that name at 127.0.0.1 (DNS rebinding). The first shows in ``Origin``, the second in ``Host``.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from domain.loopback import is_loopback


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
