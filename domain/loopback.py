"""Who belongs to this machine: the programs that run on it, and the pages that it served itself.

A page of another site can make a browser call a loopback address, and can do so under its own name by pointing that
name at 127.0.0.1 (DNS rebinding). The first shows in ``Origin`` and ``Sec-Fetch-Site``, the second in ``Host``. Behind
a proxy on this machine everybody's peer is loopback: that shows in what the proxy adds.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

_HOST = re.compile(r"(?P<name>[a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_OF_PROXIES = re.compile(
    r"""
    via | cdn-loop | x-host | (x-)?forwarded(-.+)? | x-real-.+
    | (.+-)?(client|remote|user|source)-?(ip|addr|host|port|cert|ssl)
    | x-(original|envoy|azure|arr|appengine|proxyuser|amzn|amz-cf|akamai|vercel|nf)-.+
    | (cf|fastly|cloudfront|fly|akamai|tailscale|ngrok)-.+
    """,
    re.VERBOSE,
)
"""What proxies, balancers, tunnels and content networks add. A request that carries such a header comes through one:
its peer is not the caller."""
_OTHER_PAGES = ("cross-site", "same-site")
"""What browsers say of a page of another origin; another port of this machine is of the same site."""


def is_loopback(host: str) -> bool:
    """Whether a ``Host`` header, with or without port, names this machine by loopback."""
    match = _HOST.fullmatch(host.lower())
    if match is None:
        return False
    name = match["name"].strip("[]")
    return name == "localhost" or _is_loopback_address(name)


def from_this_machine(peer: str | None, headers: Mapping[str, str]) -> bool:
    """Whether the peer is a program on this machine, and not a proxy that speaks for somebody else."""
    return _is_loopback_address(peer or "") and not any(map(_is_of_proxies, headers))


def why_strange(
    peer: str | None, headers: Mapping[str, str], *, linked: bool = False, friends: Collection[str] = ()
) -> str | None:
    """Why a request comes neither from a program on this machine nor from a page that this service served to it, as
    the rest of a sentence; None if it does. ``linked``: pages of others may have a link to it. ``friends``: origins
    whose pages, on this machine, may as well."""
    host, origin = headers.get("Host", ""), headers.get("Origin")
    if not from_this_machine(peer, headers):
        return "it comes from another machine, or through a proxy"
    if not is_loopback(host):
        return "it calls this machine by another name than a loopback one, such as http://127.0.0.1"
    if origin in friends:
        return None
    if (headers.get("Sec-Fetch-Site") in _OTHER_PAGES and not linked) or (
        origin is not None and not _is_of(host, origin)
    ):
        return "it is made by a page of another origin"
    return None


@functools.lru_cache(maxsize=1024)
def _is_of_proxies(header: str) -> bool:
    return _OF_PROXIES.fullmatch(header.lower()) is not None


def _is_loopback_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _is_of(host: str, origin: str) -> bool:
    """Whether an origin is the one that this host serves."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
