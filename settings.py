"""Settings from the environment and ``.env``. Every mistake is reported at once; secrets stay out of every text."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import ipaddress
import logging
import math
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial, reduce
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from domain.errors import AsideError
from sdk.own_parts import WrongPart, check_handler, check_root, enter
from state import store_url

logging.getLogger("dotenv.main").setLevel(logging.ERROR)  # what it warns of is told with what to write, by slips.find

SCOPES = frozenset({"notify", "read", "admin"})
KEY_LENGTH = 16
"""Characters that an API key has at least: what can be guessed is no key."""

BOT_FRAMEWORK_HOSTS = (
    "*.botframework.com",
    "smba.trafficmanager.net",
    "*.infra.gcc.teams.microsoft.com",
    "smba.infra.gcc.teams.microsoft.com",
    "smba.infra.gov.teams.microsoft.us",
    "smba.infra.dod.teams.microsoft.us",
    "*.botframework.azure.us",
)
"""Where Bot Framework channels are served from: public, GCC, GCC High, DoD."""
LOOPBACK_ORIGINS = tuple(
    f"{scheme}://{host}:*" for host in ("localhost", "127.0.0.1", "[::1]") for scheme in ("http", "https")
)

SHIPPED_BOT = "bots.aside_bot:AsideBot"
GOVERNMENT_SERVICE = "https://botframework.azure.us"

Limits = tuple[tuple[int, float], ...]
"""Each a count and the seconds in which at most so many are sent; empty for no limit."""


class ConfigurationError(AsideError):
    """What the environment says cannot be run; one line for each mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """Who may call the API, and what for."""

    name: str
    key: SecretStr
    scopes: frozenset[str]


def _one_of(*choices: str) -> BeforeValidator:
    """Any spelling of one of ``choices``, as it is written there."""
    known = {choice.lower(): choice for choice in choices}

    def parse(value: str) -> str:
        if value.strip().lower() not in known:
            raise ValueError(f"{value!r} is not known; use one of {', '.join(choices)}")
        return known[value.strip().lower()]

    return BeforeValidator(parse)


def _port(value: int | str) -> int:
    try:
        port = int(value)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise ValueError(f"{value!r} is not a port; use a number from 1 to 65535, or 0 for any that is free")
    return port


def _seconds(value: float | str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= timedelta(days=365).total_seconds():
        raise ValueError(f"{value!r} is not a duration; use a number of seconds above 0, at most a year")
    return seconds


def _pause(value: str) -> float:
    return 0.0 if re.fullmatch(r"0+(\.0*)?", value.strip()) else _seconds(value)


def _count(value: int | str) -> int:
    try:
        count = int(value)
    except ValueError:
        count = 0
    if not 0 < count <= 1000:
        raise ValueError(f"{value!r} is not a count; use a number from 1 to 1000")
    return count


def _duration(value: float | str) -> timedelta:
    return timedelta(seconds=_seconds(value))


def _http_url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+\S*", value):
        raise ValueError(f"{value!r} is not a URL; use one that begins with https://")
    return value


_ONE_SERVER = ("redis", "rediss", "unix", "memory")


def _redis_url(value: str) -> str:
    """Checked without repeating it, as it may hold a password."""
    scheme, separator, _ = value.partition("://")
    if not separator or scheme not in (*_ONE_SERVER, "redis+sentinel", "redis+cluster", "rediss+cluster"):
        raise ValueError(
            "its scheme is not known; use redis://, rediss://, unix://, redis+sentinel://, redis+cluster:// or memory://"
        )
    if store_url.parse(value) is not None:
        return value
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("its host or port is malformed; write it as redis://HOST:PORT/DATABASE") from None
    if scheme == "unix" and not parts.path:
        raise ValueError("it names no socket; write it as unix:///path/to/the.sock")
    return value


MOST_REPLICAS = 10


def _replicas(value: int | str) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit() and int(text) <= MOST_REPLICAS):
        raise ValueError(f"{value!r} is not a number of replicas; use 0 for none, or 1 to {MOST_REPLICAS}")
    return int(text)


def _items(value: str) -> tuple[str, ...]:
    return tuple(item for item in (part.strip() for part in value.split(",")) if item)


_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"


def _modules(value: str) -> tuple[str, ...]:
    wrong = [item for item in _items(value) if not re.fullmatch(_NAME, item)]
    if wrong:
        raise ValueError("\n".join(f"{item!r} is not a module; use names such as jobs.examples" for item in wrong))
    return _items(value)


def _root_dialog(value: str) -> str:
    if not re.fullmatch(f"{_NAME}:{_NAME}", value):
        raise ValueError(f"{value!r} names no dialog; write it as module:attribute, as in my_bot.dialogs:MainDialog")
    return value


def _bot(value: str) -> str:
    if not re.fullmatch(f"{_NAME}:{_NAME}", value):
        raise ValueError(f"{value!r} names no bot; write it as module:attribute, as in bots:DialogBot")
    return value


def _attributes(value: str) -> tuple[str, ...]:
    wrong = [item for item in _items(value) if not re.fullmatch(f"{_NAME}:{_NAME}", item)]
    if wrong:
        raise ValueError("\n".join(f"{item!r} is not of the form module:attribute; write it so" for item in wrong))
    return _items(value)


def _absolute(value: str | Path) -> Path:
    return Path(value).expanduser().absolute()


def _only_modules(value: str) -> tuple[str, ...]:
    return tuple(item for item in _items(value) if re.fullmatch(_NAME, item))


def _if_reference(value: str) -> str:
    return value if re.fullmatch(f"{_NAME}:{_NAME}", value) else ""


def _only_references(value: str) -> tuple[str, ...]:
    return tuple(item for item in _items(value) if _if_reference(item))


def _channels(value: str) -> tuple[str, ...]:
    wrong = [item for item in _items(value) if not re.fullmatch(r"[\w.-]{1,100}", item, re.ASCII)]
    if wrong:
        raise ValueError("\n".join(f"{item!r} is not the id of a channel; use ids such as msteams" for item in wrong))
    return _items(value)


def _limits(value: str) -> Limits:
    if value.strip() == "0":
        return ()
    limits = []
    for item in _items(value):
        match = re.fullmatch(r"(\d{1,9})/(\d{1,6}(?:\.\d+)?)([smh]?)", item)
        count, seconds = (int(match[1]), float(match[2])) if match else (0, 0.0)
        if not match or count < 1 or seconds <= 0:
            raise ValueError(f"{item!r} is not a limit; write 7/1s,60/30s for 7 a second and 60 in 30, or 0 for none")
        limits.append((count, seconds * {"m": 60, "h": 3600}.get(match[3], 1)))
    return tuple(limits)


def _service_urls(value: str) -> tuple[str, ...]:
    """``scheme://host[:port]`` (``*`` for any port), ``host`` or ``*.suffix``, in lower case."""
    allowed = []
    for item in _items(value.lower()):
        origin = re.fullmatch(r"(https?://(?:\[[0-9a-f:.]+\]|[\w.-]+)(?::(?:\d{1,5}|\*))?)/?", item)
        host = re.fullmatch(r"(?:\*?\.)?[\w-]+(?:\.[\w-]+)*", item)
        if not origin and not host:
            raise ValueError(f"{item!r} is neither an origin nor a host; use https://host:port, host or *.suffix")
        allowed.append(origin[1] if origin else f"*{item}" if item.startswith(".") else item)
    return tuple(allowed)


def _origins(value: str) -> tuple[str, ...]:
    """As browsers write them: without a path, and without the port that is the scheme's own."""
    origins = []
    for item in _items(value.lower()):
        parts = re.fullmatch(r"(https?)://((?:\[[0-9a-f:.]+\]|[\w.-]+))(?::(\d{1,5}))?/?", item)
        if parts is None:
            raise ValueError(f"{item!r} is not an origin; write it as https://host or http://host:port")
        own = {"http": "80", "https": "443"}[parts[1]]
        origins.append(f"{parts[1]}://{parts[2]}" + (f":{parts[3]}" if parts[3] not in (None, own) else ""))
    return tuple(origins)


def _api_keys(value: str) -> tuple[ApiKey, ...]:
    """``name:key[:scope+scope],…``; mistakes name the entry, never the key."""
    keys: list[ApiKey] = []
    mistakes: list[str] = []
    for number, item in enumerate(_items(value), 1):
        name, *rest = item.split(":")
        if len(rest) not in (1, 2) or not re.fullmatch(r"[\w.-]+", name):
            mistakes.append(f"entry {number} is malformed; write it as name:key or name:key:scope+scope")
            continue
        key, scopes = rest[0], frozenset(rest[1].split("+")) if len(rest) == 2 else SCOPES
        if len(key) < KEY_LENGTH or not re.fullmatch(r"[!-~]*", key):
            mistakes.append(f"the key of {name!r} is not {KEY_LENGTH} or more characters of ASCII; use a longer one")
        if unknown := ", ".join(sorted(map(repr, scopes - SCOPES))):
            mistakes.append(f"{name!r} has unknown scopes ({unknown}); use {', '.join(sorted(SCOPES))}")
        if any(name == other.name for other in keys):
            mistakes.append(f"{name!r} is there twice; give each key a name of its own")
        if any(key == other.key.get_secret_value() for other in keys):
            mistakes.append(f"{name!r} has the key of another; give each a key of its own")
        keys.append(ApiKey(name=name, key=SecretStr(key), scopes=scopes))
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return tuple(keys)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_development(fields: Mapping[str, Any]) -> bool:
    return not fields["microsoft_app_id"] and _is_loopback(fields["host"])


class Names(BaseSettings):
    """What the environment says is to be imported."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        enable_decoding=False,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
        validate_default=False,
    )

    bot_dir: Annotated[Path, BeforeValidator(_absolute)] | None = None
    """The folder of a bot of one's own."""
    bot: Annotated[str, BeforeValidator(_bot)] = SHIPPED_BOT
    root_dialog: Annotated[str, BeforeValidator(_root_dialog)] = "dialogs.main_dialog:MainDialog"
    """See :attr:`dialog`."""
    middleware: Annotated[tuple[str, ...], BeforeValidator(_attributes)] = ()
    routes: Annotated[tuple[str, ...], BeforeValidator(_attributes)] = ()
    jobs: Annotated[tuple[str, ...], BeforeValidator(_modules)] = ("jobs.examples",)
    state_modules: Annotated[tuple[str, ...], BeforeValidator(_modules)] = ()

    @property
    def dialog(self) -> str | None:
        """The root dialog's name: a bot of one's own has one only where it is named."""
        return self.root_dialog if self.bot == SHIPPED_BOT or "root_dialog" in self.model_fields_set else None


class _WellFormed(Names):
    """Those that can be looked for, so that what is wrong with them is told beside those that are malformed."""

    bot: Annotated[str, BeforeValidator(_if_reference)] = Names.model_fields["bot"].default
    root_dialog: Annotated[str, BeforeValidator(_if_reference)] = Names.model_fields["root_dialog"].default
    middleware: Annotated[tuple[str, ...], BeforeValidator(_only_references)] = ()
    routes: Annotated[tuple[str, ...], BeforeValidator(_only_references)] = ()
    jobs: Annotated[tuple[str, ...], BeforeValidator(_only_modules)] = Names.model_fields["jobs"].default
    state_modules: Annotated[tuple[str, ...], BeforeValidator(_only_modules)] = ()


class Settings(Names):
    """What the environment says, parsed. A field is its variable's name in lower case, the registration's apart.

    Fields that depend on others stand below them.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, BeforeValidator(_port)] = 3978

    microsoft_app_id: str = Field(default="", validation_alias="MicrosoftAppId")
    microsoft_app_type: Annotated[str, _one_of("MultiTenant", "SingleTenant", "UserAssignedMSI")] = Field(
        default="MultiTenant", validation_alias="MicrosoftAppType"
    )
    microsoft_app_tenant_id: str = Field(default="", validation_alias="MicrosoftAppTenantId", validate_default=True)
    microsoft_app_password: SecretStr = Field(
        default=SecretStr(""), validation_alias="MicrosoftAppPassword", validate_default=True
    )

    redis_url: Annotated[str, BeforeValidator(_redis_url)] | None = Field(default=None, repr=False)
    """None for the embedded store."""
    store_replicas: Annotated[int, BeforeValidator(_replicas)] = Field(default=0)
    """So many have to have what is written before it counts."""
    redis_server_bin: str | None = None
    data_dir: Annotated[Path, BeforeValidator(_absolute)] = Field(default=Path(".data"), validate_default=True)

    notify_api_keys: tuple[ApiKey, ...] = Field(default="", validate_default=True)

    idle_dialogs: Annotated[tuple[str, ...], BeforeValidator(_items)] = ()

    aad_channels: Annotated[tuple[str, ...], BeforeValidator(_channels)] = ("msteams",)
    """Channels whose word on who somebody is in the directory is believed."""
    away_after: Annotated[timedelta, BeforeValidator(_duration)] = timedelta(minutes=10)
    flush_after: Annotated[timedelta, BeforeValidator(_duration)] = timedelta(seconds=2)
    jobs_per_user: Annotated[int, BeforeValidator(_count)] = 10
    drain_seconds: Annotated[float, BeforeValidator(_seconds)] = 20.0
    drain_before: float = Field(default=None, validate_default=True)

    service_url_allow: tuple[str, ...] = Field(default=None, validate_default=True)
    """Each ``scheme://host[:port]`` (``*`` for any port), ``host`` or ``*.suffix``; in lower case."""
    rate_per_conversation: Limits = Field(default=None, validate_default=True)
    rate_global: Limits = Field(default=None, validate_default=True)
    """For each tenant."""
    dev_channel: bool = Field(default=None, validate_default=True)
    direct_line_origins: Annotated[tuple[str, ...], BeforeValidator(_origins)] = ()

    openid_metadata_url: Annotated[str, BeforeValidator(_http_url)] | None = None
    token_issuer: str | None = None
    login_url: Annotated[str, BeforeValidator(_http_url)] | None = None
    oauth_scope: str | None = None
    channel_service: Annotated[str, _one_of(GOVERNMENT_SERVICE)] | None = None

    log_format: Annotated[Literal["text", "json"], _one_of("text", "json")] = "text"
    log_level: Annotated[str, _one_of("debug", "info", "warning", "error", "critical")] = "info"

    @property
    def development(self) -> bool:
        """Whether callers on this machine need no key and nothing is authenticated."""
        return _is_development({"microsoft_app_id": self.microsoft_app_id, "host": self.host})

    @field_validator("store_replicas")
    @classmethod
    def _needs_server(cls, replicas: int, info: ValidationInfo) -> int:
        if replicas and (info.data.get("redis_url") or "memory://").startswith("memory://"):
            raise ValueError("needs servers that have replicas; set REDIS_URL to where they are, or this to 0")
        return replicas

    @field_validator("microsoft_app_tenant_id")
    @classmethod
    def _needs_tenant(cls, tenant: str, info: ValidationInfo) -> str:
        kind = info.data.get("microsoft_app_type")
        if info.data["microsoft_app_id"] and not tenant and kind in ("SingleTenant", "UserAssignedMSI"):
            raise ValueError(f"is not set; an app of type {kind} needs the id of its tenant")
        return tenant

    @field_validator("microsoft_app_password")
    @classmethod
    def _needs_credential(cls, password: SecretStr, info: ValidationInfo) -> SecretStr:
        kind = info.data.get("microsoft_app_type")
        if info.data["microsoft_app_id"] and not password and kind in ("MultiTenant", "SingleTenant"):
            raise ValueError(
                "is not set; an app id needs a credential: set its client secret, or MicrosoftAppType=UserAssignedMSI"
            )
        return password

    @field_validator("notify_api_keys", mode="before")
    @classmethod
    def _needs_keys(cls, value: str, info: ValidationInfo) -> tuple[ApiKey, ...]:
        keys = _api_keys(value)
        if not keys and not _is_development(info.data):
            why = "an app id is set" if info.data["microsoft_app_id"] else "HOST is not loopback"
            raise ValueError(f"is not set, and {why}; set it to name:key, the key {KEY_LENGTH} characters or more")
        return keys

    @field_validator("service_url_allow", mode="before")
    @classmethod
    def _default_service_urls(cls, value: str | None, info: ValidationInfo) -> tuple[str, ...]:
        if value is not None:
            return _service_urls(value)
        return BOT_FRAMEWORK_HOSTS + (LOOPBACK_ORIGINS if _is_development(info.data) else ())

    @field_validator("rate_per_conversation", "rate_global", mode="before")
    @classmethod
    def _default_limits(cls, value: str | None, info: ValidationInfo) -> Limits:
        if value is not None:
            return _limits(value)
        if _is_development(info.data):
            return ()
        return ((30, 1.0),) if info.field_name == "rate_global" else ((7, 1.0), (60, 30.0))

    @field_validator("drain_before", mode="before")
    @classmethod
    def _default_drain_before(cls, value: str | None, info: ValidationInfo) -> float:
        if value is not None:
            return _pause(value)
        return 0.0 if _is_development(info.data) else 5.0

    @field_validator("dev_channel", mode="before")
    @classmethod
    def _default_dev_channel(cls, value: str | None, info: ValidationInfo) -> bool:
        if value is None:
            return _is_development(info.data)
        if value.strip().lower() not in _SWITCH:
            raise ValueError(f"{value!r} is neither; use on or off")
        on = _SWITCH[value.strip().lower()]
        if on and info.data["microsoft_app_id"]:
            raise ValueError(
                "is on beside an app id; the local channel authenticates nobody: set it to off, or leave the app id out"
            )
        return on


_SWITCH = dict.fromkeys(("on", "true", "yes", "1"), True) | dict.fromkeys(("off", "false", "no", "0"), False)


class _Given(EnvSettingsSource):
    """Reads a mapping instead of the process's environment."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._given = env
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._given.items() if value}


def load(env: Mapping[str, str] | None = None) -> Settings:
    """The settings in ``env`` alone; without it those of the environment and, where that is silent, of ``.env``.

    Raises :class:`ConfigurationError` with every mistake.
    """
    sources: dict[str, Any] = {} if env is None else {"_build_sources": ((_Given(env),), {})}
    try:
        return Settings(**sources)
    except ValidationError as error:
        mistakes = [
            f"{_variable(str(each['loc'][0]))}: {line}"
            for each in error.errors(include_url=False, include_input=False)
            for line in each["msg"].removeprefix("Value error, ").splitlines()
        ]
    except (OSError, UnicodeError) as error:
        mistakes = [f".env: cannot be read ({error}); save it as UTF-8 text that this user may read"]
    raise ConfigurationError(mistakes)


def variables() -> list[str]:
    """The names of all settings, as they are spelled in the environment."""
    return [_variable(field) for field in Settings.model_fields]


def load_names() -> Names | None:
    """What :func:`load` reads of the names alone, without those that are malformed, whatever is wrong with the rest;
    None if nothing can be read."""
    try:
        return _WellFormed()
    except (OSError, UnicodeError):
        return None


def _variable(location: str) -> str:
    """The variable of a mistake, which is located by a field's alias, or by its name where it is the default's."""
    field = Settings.model_fields.get(location)
    alias = field.validation_alias if field else location
    return str(alias or location.upper())


def resolve(reference: str) -> Any:
    """What ``module:attribute`` names. Raises what the import raises, and :class:`AttributeError`."""
    module, _, attribute = reference.partition(":")
    found = _shipped_bot() if reference == SHIPPED_BOT else importlib.import_module(module)
    return reduce(getattr, attribute.split("."), found)


def _shipped_bot() -> ModuleType:
    """The module of the bot that ships, also where a folder of the developer's has a package ``bots``."""
    path = Path(__file__).parent / "bots" / "aside_bot.py"
    name, _, _ = SHIPPED_BOT.partition(":")
    known = sys.modules.get(name)
    if known is not None and Path(known.__file__ or "") == path:
        return known
    spec = importlib.util.spec_from_file_location("bot_that_ships", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_imports(settings: Names) -> list[str]:
    """The mistakes that only importing what ``settings`` name shows; empty if there are none."""

    if settings.bot_dir is not None:
        try:
            enter(settings.bot_dir)
        except WrongPart as error:
            return [f"BOT_DIR: {error}"]
        if settings.bot == SHIPPED_BOT and "root_dialog" not in settings.model_fields_set:
            return ["BOT_DIR: is set, and nothing says what to run there; set BOT, ROOT_DIALOG or both"]

    def theirs(name: str) -> Any:
        found = resolve(name)
        module = sys.modules.get(name.partition(":")[0])
        if settings.bot_dir is not None and name != SHIPPED_BOT and _is_shipped(module):
            raise ModuleNotFoundError(f"{settings.bot_dir} has no module {name.partition(':')[0]}")
        return found

    attempts: list[tuple[str, str, Callable[[], object]]] = []
    if dialog := settings.dialog:
        attempts.append(("ROOT_DIALOG", dialog, lambda: check_root(dialog, theirs(dialog))))
    handlers = [("BOT", settings.bot, "bot"), *(("MIDDLEWARE", name, "middleware") for name in settings.middleware)]
    for variable, name, what in handlers:
        if name:
            attempts.append((variable, name, partial(_check_handler, name, what, theirs)))
    attempts += [("ROUTES", name, partial(_check_function, name, theirs)) for name in settings.routes]
    for variable, modules in (("JOBS", settings.jobs), ("STATE_MODULES", settings.state_modules)):
        attempts += [(variable, module, partial(importlib.import_module, module)) for module in modules]
    mistakes = []
    for variable, name, attempt in attempts:
        try:
            attempt()
        except WrongPart as error:
            mistakes.append(f"{variable}: {error}")
        except Exception as error:  # whatever a module of the user's raises
            mistakes.append(f"{variable}: {name!r} cannot be used ({why(error)}); {_remedy(name, error)}")
    return mistakes


def _check_handler(name: str, what: str, find: Callable[[str], Any]) -> None:
    check_handler(name, find(name), what)


def _check_function(name: str, find: Callable[[str], Any]) -> None:
    if not callable(find(name)):
        raise WrongPart(name, "it cannot be called", "name a function that takes the aiohttp application")


def _is_shipped(module: ModuleType | None) -> bool:
    """Whether a module is one of the bot that ships."""
    parents = Path(getattr(module, "__file__", None) or "/").resolve().parents
    return any(Path(__file__).parent.resolve() / folder in parents for folder in ("bots", "dialogs"))


def why(error: Exception, named: object = None) -> str:
    """What was raised, and by which line of the developer's; where none is among those that ran, where what it was
    raised about begins, which is ``named``."""
    reason = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".: ")
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_machinery(frame.filename)]
    theirs = [frame for frame in places if "site-packages" not in frame.filename]
    if isinstance(error, SyntaxError):
        return reason  # which says where by itself
    if not theirs and (place := _begins(named)):
        return f"{reason}, at {place}"
    return f"{reason}, at {(theirs or places)[-1].filename}:{(theirs or places)[-1].lineno}" if places else reason


def _begins(named: object) -> str | None:
    try:
        return f"{inspect.getsourcefile(named)}:{inspect.getsourcelines(named)[1]}"  # type: ignore[arg-type]
    except (TypeError, OSError):
        return None


def _is_machinery(filename: str) -> bool:
    """Whether this is how modules are imported, or this service, and not one of the developer's."""
    if filename.startswith("<frozen importlib") or filename in (__file__, importlib.__file__):
        return True
    path, here = Path(filename), Path(__file__).parent
    return path.is_relative_to(here) and path.relative_to(here).as_posix().startswith(_SERVICE)


_SERVICE = (
    *("app.py", "jobs/registry.py", "web/", "devchannel/", "delivery/", "turns/", "proactive/", "sdk/", "channel/"),
    *("state/", "domain/"),
)
"""What developers' modules call, and what calls them. What they may have changed (``dialogs``, ``jobs``) is theirs."""


def _remedy(reference: str, error: Exception) -> str:
    """What to do, with a name that is there and looks like the one that is not."""
    module, _, attribute = reference.partition(":")
    near: list[str] = []
    if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
        parent, _, last = error.name.rpartition(".")
        near = [f"{parent}.{name}".strip(".") for name in _near(last, _modules_in(parent))]
    elif isinstance(error, AttributeError) and isinstance(error.obj, ModuleType | type):
        near = [f"{module}:{name}" for name in _near(attribute.rpartition(".")[2], dir(error.obj))]
    return f"did you mean {near[0]}?" if near else "correct the name or the module"


def _near(name: str, names: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name, names, n=1)


def _modules_in(package: str) -> list[str]:
    """Names of the modules that may be imported from a package, or from anywhere."""
    if not package:
        return [module.name for module in pkgutil.iter_modules()]
    spec = importlib.util.find_spec(package)
    return [module.name for module in pkgutil.iter_modules(spec.submodule_search_locations if spec else [])]
