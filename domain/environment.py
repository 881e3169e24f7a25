"""The environment as other programs get it that the service starts."""

from __future__ import annotations

from collections.abc import Mapping

SECRETS = frozenset(("microsoftapppassword", "notify_api_keys", "redis_url"))
"""Settings that are secrets, or may hold one; in lower case, as their names are read in any."""
_SYSTEM = ("path", "home", "lang", "language", "tmpdir", "temp", "tmp", "tz", "systemroot", "ld_library_path")


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """What may be passed on to code of others: all but the service's own secrets."""
    return {name: value for name, value in environment.items() if name.lower() not in SECRETS}


def bare(environment: Mapping[str, str]) -> dict[str, str]:
    """What any program needs, and nothing else."""
    return {
        name: value
        for name, value in environment.items()
        if name.lower() in _SYSTEM or name.lower().startswith("lc_")
    }
