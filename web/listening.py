"""The address that the service listens on, had before anything else is started."""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any

from domain.errors import AsideError

_LACKING = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""A name may have addresses that this machine has not, such as one of IPv6; the others will do."""


class CannotListen(AsideError):
    """The address or the port cannot be had; the text says what to do."""


def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """Sockets that have the port at every address of ``host`` (``localhost`` often has two); who connects is served
    when the service is ready. Raises :class:`CannotListen`."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CannotListen(_why_not(host, port, error)) from error
    sockets: list[socket.socket] = []
    lacking: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            sockets.append(_listening(family, kind, protocol, address))
        except OSError as error:
            if error.errno not in _LACKING:
                _close(sockets)
                raise CannotListen(_why_not(host, port, error)) from error
            lacking = error
    if lacking is not None and not sockets:
        raise CannotListen(_why_not(host, port, lacking)) from lacking
    return sockets


def _close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()


def _listening(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    bound = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":  # where it would let two programs have one port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # "::" does not take 0.0.0.0 with it
        bound.bind(address)
        bound.listen()  # one that is only bound may be bound by another program too
    except OSError:
        bound.close()
        raise
    return bound


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"PORT: {port} is taken by another program; end it, or set PORT to another (0 for any that is free)"
    if error.errno == errno.EACCES:
        return f"PORT: {port} may not be used by this user; set PORT to one above 1023"
    return f"HOST: {host!r} is no address of this machine ({error.strerror}); use 127.0.0.1, or 0.0.0.0 for all of them"
