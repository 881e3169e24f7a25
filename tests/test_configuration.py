"""What the environment says is understood, or every mistake in it is told at once."""

from __future__ import annotations

import re
import string
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings import ApiKey, ConfigurationError, Settings, check_imports, load, resolve
from state import store_url

ROOT = Path(__file__).parent.parent

KEY = "0123456789abcdef"
PASSWORD = "a-client-secret"
REGISTERED = {"MicrosoftAppId": "an-app", "MicrosoftAppPassword": PASSWORD, "NOTIFY_API_KEYS": f"ci:{KEY}"}


def mistakes(**env: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(env)
    assert str(caught.value) == "\n".join(caught.value.mistakes)
    return list(caught.value.mistakes)


def mistake(**env: str) -> str:
    (only,) = mistakes(**env)
    return only


def test_nothing_has_to_be_set() -> None:
    """On a developer's machine an empty environment will do."""
    settings = load({})
    assert settings.development
    assert (settings.host, settings.port) == ("127.0.0.1", 3978)
    assert settings.redis_url is None
    assert settings.data_dir == Path(".data").absolute()
    assert settings.root_dialog == "dialogs.main_dialog:MainDialog"
    assert (settings.jobs, settings.idle_dialogs, settings.state_modules) == (("jobs.examples",), (), ())
    assert (settings.away_after, settings.flush_after) == (timedelta(minutes=10), timedelta(seconds=2))
    assert settings.drain_seconds == 20
    assert settings.aad_channels == ("msteams",)
    assert (settings.log_format, settings.log_level) == ("text", "info")


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    assert load(dict.fromkeys(VARIABLES, "")) == load({})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_without_an_app_id_is_development(host: str) -> None:
    assert load({"HOST": host}).development


@pytest.mark.parametrize("env", [{"HOST": "0.0.0.0"}, {"HOST": "::"}, {"HOST": "example.org"}, REGISTERED])
def test_everything_else_is_not_development(env: dict[str, str]) -> None:
    assert not load({"NOTIFY_API_KEYS": f"ci:{KEY}"} | env).development


def test_development_has_no_limits_and_talks_to_its_own_machine() -> None:
    settings = load({})
    assert settings.rate_per_conversation == settings.rate_global == ()
    assert settings.drain_before == 0
    assert settings.dev_channel
    assert "http://localhost:*" in settings.service_url_allow
    assert "smba.trafficmanager.net" in settings.service_url_allow


def test_a_registered_bot_keeps_the_limits_and_talks_to_bot_framework_alone() -> None:
    settings = load(REGISTERED)
    assert settings.rate_per_conversation == ((7, 1), (60, 30))
    assert settings.rate_global == ((30, 1),)
    assert settings.drain_before == 5
    assert load({**REGISTERED, "DRAIN_BEFORE": "0"}).drain_before == 0
    assert not settings.dev_channel
    assert "*.botframework.com" in settings.service_url_allow
    assert not any("localhost" in url or "127.0.0.1" in url for url in settings.service_url_allow)


def test_what_is_set_wins_over_what_development_chooses() -> None:
    settings = load({"RATE_GLOBAL": "5/2s", "DEV_CHANNEL": "off", "SERVICE_URL_ALLOW": "bots.example.org"})
    assert settings.rate_global == ((5, 2),)
    assert not settings.dev_channel
    assert settings.service_url_allow == ("bots.example.org",)


def test_the_local_channel_is_never_beside_an_app_id() -> None:
    """It authenticates nobody."""
    line = mistake(MicrosoftAppId="app", MicrosoftAppPassword="secret", NOTIFY_API_KEYS=f"ci:{KEY}", DEV_CHANNEL="on")
    assert line.startswith("DEV_CHANNEL: is on beside an app id; ")


def test_outside_development_the_api_needs_keys() -> None:
    assert re.match(r"NOTIFY_API_KEYS: is not set, and HOST is not loopback; set it to", mistake(HOST="0.0.0.0"))
    without_keys = {name: value for name, value in REGISTERED.items() if name != "NOTIFY_API_KEYS"}
    assert re.match(r"NOTIFY_API_KEYS: is not set, and an app id is set; set it to", mistake(**without_keys))


@pytest.mark.parametrize(
    ("kind", "needed"),
    [
        ("", ["MicrosoftAppPassword"]),
        ("MultiTenant", ["MicrosoftAppPassword"]),
        ("SingleTenant", ["MicrosoftAppTenantId", "MicrosoftAppPassword"]),
        ("UserAssignedMSI", ["MicrosoftAppTenantId"]),
    ],
)
def test_an_app_id_needs_what_its_type_is_authenticated_by(kind: str, needed: list[str]) -> None:
    bare = {"MicrosoftAppId": "an-app", "MicrosoftAppType": kind.lower(), "NOTIFY_API_KEYS": f"ci:{KEY}"}
    assert [line.partition(":")[0] for line in mistakes(**bare)] == needed
    assert load(bare | dict.fromkeys(needed, "given")).microsoft_app_type == (kind or "MultiTenant")


def test_keys_have_names_and_scopes() -> None:
    settings = load({"NOTIFY_API_KEYS": f"ci:{KEY}, shop:{KEY}2:notify+read"})
    assert [(key.name, key.key.get_secret_value(), key.scopes) for key in settings.notify_api_keys] == [
        ("ci", KEY, frozenset({"notify", "read", "admin"})),
        ("shop", f"{KEY}2", frozenset({"notify", "read"})),
    ]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (f"ci:{KEY},nameless", "entry 2 is malformed"),
        (f":{KEY}", "entry 1 is malformed"),
        (f"ci:{KEY}:read:more", "entry 1 is malformed"),
        (f"a name:{KEY}", "entry 1 is malformed"),
        (f"ci:{KEY[1:]}", "the key of 'ci' is not 16 or more characters"),
        (f"ci:{KEY} {KEY}", "the key of 'ci' is not 16 or more characters of ASCII"),
        (f"ci:{KEY}:read+write", "'ci' has unknown scopes ('write')"),
        (f"ci:{KEY}:", "'ci' has unknown scopes ('')"),
        (f"ci:{KEY},ci:{KEY}2", "'ci' is there twice"),
        (f"ci:{KEY},shop:{KEY}", "'shop' has the key of another"),
    ],
)
def test_a_key_that_is_not_one_is_told_but_never_shown(keys: str, told: str) -> None:
    line = mistake(NOTIFY_API_KEYS=keys)
    assert line.startswith(f"NOTIFY_API_KEYS: {told}")
    assert KEY[1:] not in line


def test_every_mistake_is_told_at_once() -> None:
    """One line each: the variable, what is wrong, what to do."""
    lines = mistakes(
        HOST="0.0.0.0",
        PORT="99999",
        MicrosoftAppId="an-app",
        NOTIFY_API_KEYS="ci:short,ci:shorter:write",
        ROOT_DIALOG="main_dialog",
        JOBS="jobs.examples,1st",
        AWAY_AFTER="-1",
        LOG_LEVEL="loud",
    )
    told = [line.partition(":")[0] for line in lines]
    assert sorted(told) == sorted(
        ["PORT", "MicrosoftAppPassword", "ROOT_DIALOG", "JOBS", "AWAY_AFTER", "LOG_LEVEL"] + 4 * ["NOTIFY_API_KEYS"]
    )
    assert all(re.fullmatch(r"\w+: [^;]+; .+", line) for line in lines)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("MicrosoftAppType", "Managed"),
        ("AWAY_AFTER", "0"),
        ("AWAY_AFTER", "soon"),
        ("FLUSH_AFTER", "nan"),
        ("DRAIN_SECONDS", "inf"),
        ("JOBS_PER_USER", "0"),
        ("JOBS_PER_USER", "many"),
        ("STORE_REPLICAS", "one"),
        ("STORE_REPLICAS", "-1"),
        ("STORE_REPLICAS", "11"),
        ("DRAIN_BEFORE", "-1"),
        ("ROOT_DIALOG", "my_bot.dialogs"),
        ("ROOT_DIALOG", "my_bot/dialogs.py:Main"),
        ("JOBS", "my-jobs"),
        ("STATE_MODULES", "a..b"),
        ("RATE_GLOBAL", "30"),
        ("RATE_GLOBAL", "0/1s"),
        ("RATE_PER_CONVERSATION", "7/0s"),
        ("RATE_PER_CONVERSATION", "7/1s,0"),
        ("SERVICE_URL_ALLOW", "*"),
        ("SERVICE_URL_ALLOW", "https://user@example.org"),
        ("SERVICE_URL_ALLOW", "https://example.org/path"),
        ("DEV_CHANNEL", "maybe"),
        ("DIRECT_LINE_ORIGINS", "localhost:5173"),
        ("DIRECT_LINE_ORIGINS", "http://localhost:5173/chat"),
        ("DIRECT_LINE_ORIGINS", "*"),
        ("OPENID_METADATA_URL", "login.example.org"),
        ("LOGIN_URL", "ftp://login.example.org"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_value_that_makes_no_sense_is_told(variable: str, value: str) -> None:
    line = mistake(**{variable: value})
    assert line.startswith(f"{variable}: {value.rpartition(',')[2]!r} ")
    assert "; " in line


@pytest.mark.parametrize(
    "url",
    [
        *("redis://:pw@h:6379/0", "rediss://h", "unix:///run/the.sock", "memory://"),
        *("redis+sentinel://u:p@h:26379,[::1]:26380/aside/1?sentinel_password=q", "redis+sentinel://h/aside"),
        *("redis+cluster://h:6379,h2:6380", "rediss+cluster://u:p@h"),
    ],
)
def test_a_store_that_can_be_served_is_taken(url: str) -> None:
    assert load({"REDIS_URL": url}).redis_url == url


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis+sentinel://u:hunter2@h", "names no service; write it as redis+sentinel://"),
        ("redis+sentinel://u:hunter2@/aside", "hosts or ports are malformed"),
        ("redis+sentinel://u:hunter2@h:26379,/aside", "hosts or ports are malformed"),
        ("redis+sentinel://u:hunter2@h:port/aside", "hosts or ports are malformed"),
        ("redis+sentinel://u:hunter2@h/aside/first", "database is no number"),
        ("redis+sentinel://h/aside?password=hunter2", "use sentinel_username and sentinel_password"),
        ("redis+sentinel://h/aside?hunter2", "use sentinel_username and sentinel_password"),
        ("redis+cluster://u:hunter2@h:1,h:99999", "hosts or ports are malformed"),
        ("redis+cluster://u:hunter2@[::1", "hosts or ports are malformed"),
        ("redis+cluster://u:hunter2\u2100@h", "hosts or ports are malformed"),
        ("redis+cluster://u:hunter2@h/1", "a cluster has neither databases nor options"),
        ("mysql://u:hunter2@h", "scheme is not known; use redis://"),
        ("hunter2@h:6379", "scheme is not known; use redis://"),
        ("redis://u:hunter2@h:port", "host or port is malformed"),
        ("unix://", "names no socket"),
    ],
)
def test_a_store_that_cannot_be_served_is_told_without_its_password(url: str, told: str) -> None:
    line = mistake(REDIS_URL=url)
    assert line.startswith("REDIS_URL: ")
    assert told in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://u:hunter2@h:6379/0?password=hunter2", "h:6379"),
        ("redis://h", "h"),
        ("unix://u:hunter2@/run/the.sock?db=1", "/run/the.sock"),
        ("redis+sentinel://u:hunter2@h:26379,[::1]:26380/aside?sentinel_password=hunter2", "h:26379,[::1]:26380"),
        ("redis://u:hunt@er2@h", "h"),
        ("redis://u:1/hunter2@h", ""),
        ("redis://u:1?hunter2@h", ""),
        ("redis://u:1#hunter2@h", ""),
    ],
)
def test_where_a_store_is_can_be_told_without_its_password(url: str, place: str) -> None:
    assert store_url.place(url) == place


@pytest.mark.parametrize("url", ["", "memory://"])
def test_replicas_are_of_servers_of_ones_own(url: str) -> None:
    assert load({"REDIS_URL": "redis://h", "STORE_REPLICAS": "2"}).store_replicas == 2
    assert mistake(REDIS_URL=url, STORE_REPLICAS="1").startswith("STORE_REPLICAS: needs servers that have replicas; ")


def test_limits_are_counts_and_seconds() -> None:
    settings = load({"RATE_PER_CONVERSATION": "7/1s, 60/0.5m,1800/1h,3/2", "RATE_GLOBAL": "0"} | REGISTERED)
    assert settings.rate_per_conversation == ((7, 1), (60, 30), (1800, 3600), (3, 2))
    assert settings.rate_global == ()


def test_allowed_service_urls_are_origins_hosts_and_suffixes() -> None:
    given = (
        "https://Bots.example.org/, http://[::1]:8080,http://localhost:*,bots.example.org,*.example.org,.example.net"
    )
    assert load({"SERVICE_URL_ALLOW": given}).service_url_allow == (
        "https://bots.example.org",
        "http://[::1]:8080",
        "http://localhost:*",
        "bots.example.org",
        "*.example.org",
        "*.example.net",
    )


secrets = st.text(string.ascii_letters + string.digits, min_size=20, max_size=40)


@given(key=secrets, password=secrets, store=secrets)
def test_no_secret_is_ever_printed(key: str, password: str, store: str) -> None:
    settings = load(
        {
            "MicrosoftAppId": "an-app",
            "MicrosoftAppPassword": password,
            "NOTIFY_API_KEYS": f"ci:{key}",
            "REDIS_URL": f"redis://:{store}@h/0",
        }
    )
    assert settings.microsoft_app_password.get_secret_value() == password
    for text in (repr(settings), str(settings), f"{settings}", repr(settings.notify_api_keys)):
        assert "an-app" in text or "ci" in text
        assert not any(secret in text for secret in (key, password, store))


def test_settings_do_not_change() -> None:
    settings = load({})
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1
    assert ApiKey.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what the environment does not say, the file decides, whatever its editor put at its beginning."""
    (tmp_path / ".env").write_text(
        "PORT=4000\nAWAY_AFTER=60\nMicrosoftAppTenantId=a-tenant\nUNKNOWN=1\n", encoding="utf-8-sig"
    )
    monkeypatch.chdir(tmp_path)
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWAY_AFTER", "30")
    settings = load()
    assert (settings.port, settings.away_after) == (4000, timedelta(seconds=30))
    assert settings.microsoft_app_tenant_id == "a-tenant"
    assert load({}).port == 3978


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("PORT=4000\n", encoding="utf-16")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"^\.env: cannot be read .*; save it as UTF-8"):
        load()


VARIABLES = dict(re.findall(r"^#(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))


def test_the_example_names_every_variable_and_its_default() -> None:
    fields = {str(field.validation_alias or name.upper()) for name, field in Settings.model_fields.items()}
    assert set(VARIABLES) == fields
    assert load(VARIABLES) == load({})


def test_modules_that_can_be_imported_are_no_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_bot.py").write_text(
        "from botbuilder.dialogs import ComponentDialog\n\n"
        "class Parts:\n    class Main(ComponentDialog):\n        def __init__(self): ...\n\ndef make(): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for root in ("a_bot:Parts.Main", "a_bot:make"):
        assert check_imports(load({"ROOT_DIALOG": root, "JOBS": "a_bot", "STATE_MODULES": "a_bot"})) == []
    assert resolve("a_bot:Parts.Main").__qualname__ == "Parts.Main"


def test_modules_that_cannot_be_imported_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are not there, those that fail, and attributes that are no dialog."""
    (tmp_path / "a_plain_module.py").write_text("number = 1\n")
    (tmp_path / "a_failing_module.py").write_text("raise RuntimeError('no\\nluck')\n")
    monkeypatch.syspath_prepend(tmp_path)
    lines = check_imports(
        load({"ROOT_DIALOG": "a_plain_module:Main", "JOBS": "a_failing_module,no_such", "STATE_MODULES": "no_such.x"})
    )
    assert [re.sub(r" cannot be used \((\w+).*", r" \1", line) for line in lines] == [
        "ROOT_DIALOG: 'a_plain_module:Main' AttributeError",
        "JOBS: 'a_failing_module' RuntimeError",
        "JOBS: 'no_such' ModuleNotFoundError",
        "STATE_MODULES: 'no_such.x' ModuleNotFoundError",
    ]
    assert f"RuntimeError: no luck, at {tmp_path / 'a_failing_module.py'}:1)" in lines[1]
    (line,) = check_imports(load({"ROOT_DIALOG": "a_plain_module:number", "JOBS": "a_plain_module"}))
    assert "neither a class nor a factory" in line


@pytest.mark.parametrize(
    ("root", "meant"),
    [
        ("a_pizza_bt.dialogs:Order", "a_pizza_bot"),
        ("a_pizza_bot.dialog:Order", "a_pizza_bot.dialogs"),
        ("a_pizza_bot.dialogs:Ordr", "a_pizza_bot.dialogs:Order"),
    ],
)
def test_a_name_that_is_nearly_right_is_told_the_right_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str, meant: str
) -> None:
    (tmp_path / "a_pizza_bot").mkdir()
    (tmp_path / "a_pizza_bot" / "__init__.py").write_text("")
    (tmp_path / "a_pizza_bot" / "dialogs.py").write_text("class Order: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    (line,) = check_imports(load({"ROOT_DIALOG": root}))
    assert line.endswith(f"; did you mean {meant}?")


def test_another_cloud_than_the_sdk_knows_is_a_mistake_like_others() -> None:
    assert mistake(CHANNEL_SERVICE="https://foo").startswith("CHANNEL_SERVICE: 'https://foo' is not known; use one of ")
