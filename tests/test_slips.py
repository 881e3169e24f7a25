"""What is told of ``.env`` and the environment before the service starts: everything at once, in one line each."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import app
import settings as configuration
import slips


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, from which modules are imported too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def report(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of a check that ends because of the configuration."""
    assert app.main(["check"]) == 2
    return [line.strip() for line in capsys.readouterr().err.splitlines()]


def found(**environment: str) -> list[str]:
    return slips.find(configuration.variables(), environment)


class TestOneReport:
    def test_has_modules_beside_names_that_are_malformed(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Those of the same list too, and modules that can be imported but hold no job."""
        (folder / "a_module_without_jobs.py").write_text("")
        monkeypatch.setenv("ROOT_DIALOG", "main_dialog")
        monkeypatch.setenv("JOBS", "a_module_without_jobs,1st,no_such_jobs")
        monkeypatch.setenv("STATE_MODULES", "no_such_state,a..b")
        heading, *lines = report(capsys)
        assert heading == "The configuration cannot be used:"
        told = [line.partition(" ")[0] + line.split("'")[1] for line in lines]
        assert sorted(told) == sorted(
            (
                *("ROOT_DIALOG:main_dialog", "JOBS:1st", "JOBS:no_such_jobs", "JOBS:a_module_without_jobs"),
                *("STATE_MODULES:a..b", "STATE_MODULES:no_such_state"),
            )
        )

    def test_has_jobs_that_cannot_be_beside_a_dialog_that_is_not_there(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "another_module_without_jobs.py").write_text("")
        monkeypatch.setenv("ROOT_DIALOG", "no_such_bot:Main")
        monkeypatch.setenv("JOBS", "another_module_without_jobs")
        _, dialog, jobs = report(capsys)
        assert dialog.startswith("ROOT_DIALOG: 'no_such_bot:Main' cannot be used")
        assert jobs.startswith("JOBS: The module 'another_module_without_jobs' has no function")

    def test_has_what_the_file_holds_beside_a_mistake(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (folder / ".env").write_text("PORT=eighty\nREDDIS_URL=redis://h\nAWAY_AFTER 60\n")
        _, port, heading, name, line = report(capsys)
        assert port.startswith("PORT: 'eighty'")
        assert heading == "Besides:"
        assert name == ".env: 'REDDIS_URL' is no setting of this service; did you mean REDIS_URL?"
        assert line.startswith(".env: line 3 (AWAY_AFTER) cannot be read")

    def test_has_a_file_that_is_no_text_once(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (folder / ".env").write_text("PORT=4000\n", encoding="utf-16")
        _, line = report(capsys)
        assert line.startswith(".env: cannot be read")


class TestALineThatCannotBeRead:
    @pytest.mark.parametrize(
        ("text", "where", "name"),
        [
            ("PORT 4000\n", "line 1 (PORT)", "PORT"),
            ("\n# a comment\n\n\nexport port 4000\n", "line 5 (PORT)", "PORT"),
            ('PORT=4000\n\nNOTIFY_API_KEYS="ci:hunter2\n', "line 3 (NOTIFY_API_KEYS)", "NOTIFY_API_KEYS"),
            ("hunter2 = = 'x\n= hunter2\n", "line 2", "NAME"),
        ],
        ids=["no equals sign", "after blank lines", "a quotation mark that is not closed", "no name"],
    )
    def test_is_told_in_one_line_of_ours(self, folder: Path, text: str, where: str, name: str) -> None:
        """With file, number and what to write; never with what it says, which may be a secret."""
        (folder / ".env").write_text(text)
        lines = [line for line in found() if "cannot be read" in line]
        assert lines == [
            f".env: {where} cannot be read and counts for nothing; write it as {name}=value, with quotation marks in "
            "pairs, or begin it with #"
        ]
        assert "hunter2" not in "".join(lines)

    def test_is_told_if_it_is_but_a_name(self, folder: Path) -> None:
        (folder / ".env").write_text("HOST=\n\nport\n")
        assert found() == [".env: line 3 gives port no value; write it as port=value"]

    def test_is_told_by_no_library(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        (folder / ".env").write_text("PORT 4000\n")
        with caplog.at_level(logging.WARNING):
            assert configuration.load().port == 3978
            assert configuration.load_names() is not None
        assert [record for record in caplog.records if record.name.startswith("dotenv")] == []


class TestANameInTheEnvironment:
    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("NOTIFY_API_KEY", "NOTIFY_API_KEYS"),
            ("REDIS_URI", "REDIS_URL"),
            ("ROOT_DAILOG", "ROOT_DIALOG"),
            ("LOGLEVEL", "LOG_LEVEL"),
            ("MICROSOFT_APP_ID", "MicrosoftAppId"),
            ("MicrosoftAppPasword", "MicrosoftAppPassword"),
            ("IDLE_DIALOG", "IDLE_DIALOGS"),
            ("ASIDE_PORT", "PORT"),
            ("ASIDE_REDIS_URL", "REDIS_URL"),
            ("aside_redis_uri", "REDIS_URL"),
        ],
    )
    def test_that_is_nearly_a_setting_is_told(self, name: str, meant: str) -> None:
        value = "hunter2"
        assert found(**{name: value}) == [f"environment: {name!r} is no setting of this service; did you mean {meant}?"]

    def test_is_not_told_if_it_is_empty_or_what_it_is_like_is_set(self, folder: Path) -> None:
        """In the environment or the file: the other is then for something else."""
        assert found(REDIS_URI="") == []
        assert found(REDIS_URI="redis://h", redis_url="redis://h") == []
        assert found(REDIS_URI="redis://h", REDIS_URL="") != []
        (folder / ".env").write_text("REDIS_URL=redis://h\n")
        assert found(REDIS_URI="redis://h") == []

    def test_is_not_told_in_ordinary_environments(self) -> None:
        """A shell's, a container's, those of hosting and of what Kubernetes says of services."""
        names = (
            "HOME HOSTNAME HOSTTYPE HOSTS LOGNAME USER PATH POST PORTS SORT JOB JOBS_DIR LANG SHELL TERM TMPDIR "
            "PWD XDG_DATA_DIRS XDG_DATA_HOME PGPORT PGHOST PGDATA DATABASE_URL CELERY_BROKER_URL REDIS_HOST "
            "REDIS_PORT REDIS_PASSWORD REDIS_SERVICE_HOST REDIS_TLS_URL REDISCLOUD_URL REDISTOGO_URL MY_REDIS_URL "
            "HTTP_PROXY PLUGIN_URL BASE_URL ISSUER TOKEN APP_ID API_KEY API_KEYS OPENAI_API_KEY LOG_PATH LOG_FILE "
            "LOGIN_SHELL MACHTYPE WEBSITE_HOSTNAME WEBSITE_SITE_NAME SERVICE_URL VIRTUAL_ENV PYTHONPATH "
            "ASIDE_SERVICE_HOST ASIDE_SERVICE_PORT ASIDE_HOME "
        )
        assert found(**dict.fromkeys(names.split(), "x")) == []
        assert found(ASIDE_PORT="tcp://10.0.0.7:3978", ASIDE_PORT_3978_TCP="tcp://10.0.0.7:3978") == []

    def test_is_told_by_a_check(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setenv("PORT", "eighty")
        monkeypatch.setenv("REDIS_URI", "redis://h")
        lines = report(capsys)
        assert "environment: 'REDIS_URI' is no setting of this service; did you mean REDIS_URL?" in lines
