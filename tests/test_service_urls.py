"""Which service URLs the bot's token may go to: those that are listed, and nothing that only looks like them."""

from __future__ import annotations

import pytest

from domain.errors import ServiceUrlNotAllowed
from domain.service_url import LOCAL_CHANNEL, ServiceUrls

LISTED = (
    "*.botframework.com",
    "smba.trafficmanager.net",
    "https://proxy.example:8443",
    "http://localhost:*",
    "http://[::1]:3978",
    "HTTPS://Upper.Example/",
)


def allows(url: str, *, listed: tuple[str, ...] = LISTED, local_channel: bool = False) -> bool:
    urls = ServiceUrls(listed, local_channel=local_channel)
    verdicts = set()
    for _ in range(2):  # the second time from memory
        try:
            urls.check(url)
            verdicts.add(True)
        except ServiceUrlNotAllowed:
            verdicts.add(False)
    (verdict,) = verdicts
    return verdict


@pytest.mark.parametrize(
    "url",
    [
        "https://directline.botframework.com/",
        "https://a.b.botframework.com",
        "https://webchat.botframework.com/path?query#fragment",
        "https://DirectLine.BotFramework.COM/",
        "HTTPS://directline.botframework.com/",
        "https://smba.trafficmanager.net/teams/",
        "https://smba.trafficmanager.net:443/emea/",
        "https://proxy.example:8443/x",
        "http://localhost:3978",
        "http://localhost/",
        "http://[::1]:3978/",
        "https://upper.example/x",
    ],
)
def test_what_is_listed_is_allowed(url: str) -> None:
    """A suffix for its subdomains, a host for https, an origin for exactly itself; case does not matter."""
    assert allows(url)


@pytest.mark.parametrize(
    "url",
    [
        # other hosts that look like one
        "https://botframework.com/",
        "https://evil-botframework.com/",
        "https://evilbotframework.com/",
        "https://botframework.com.evil.com/",
        "https://directline.botframework.com.evil.com/",
        "https://smba.trafficmanager.net.evil.com/",
        "https://evil.smba.trafficmanager.net/",
        "https://evil.com/directline.botframework.com",
        "https://evil.com/?https://directline.botframework.com",
        "https://evil.com#.botframework.com",
        "https://directline.botframework.com./",
        "https://smba.trafficmanager.net./",
        "https://d\u0456rectline.botframework\u3002com/",
        # the right host, reached the wrong way
        "http://directline.botframework.com/",
        "http://smba.trafficmanager.net/",
        "ftp://directline.botframework.com/",
        "ws://directline.botframework.com/",
        "http://proxy.example:8443/",
        "https://proxy.example/",
        "https://proxy.example:8444/",
        "https://localhost:3978/",
        "http://[::1]/",
        "http://[::1]:3979/",
        "http://[::2]:3978/",
        "https://upper.example:8443/",
        # names and passwords
        "https://directline.botframework.com@evil.com/",
        "https://user:secret@directline.botframework.com/",
        "https://user@directline.botframework.com/",
        "https://evil.com\\@directline.botframework.com/",
        "https://@directline.botframework.com/",
        # hosts that another parser reads differently
        "https://evil.com\\.botframework.com/",
        "https://evil.com%2f.botframework.com/",
        "https://evil.com%00.botframework.com/",
        "https://evil.com;.botframework.com/",
        "https://evil.com\n.botframework.com/",
        "https://evil.com\t.botframework.com/",
        "https://directline.botframework.com\r\nHost: evil.com",
        " https://directline.botframework.com/",
        "https://evil.com .botframework.com/",
        "https://.botframework.com/",
        "https://a..botframework.com/",
        # no URL of a host at all
        "https:///directline.botframework.com",
        "https://",
        "https:directline.botframework.com",
        "//directline.botframework.com/",
        "directline.botframework.com",
        "javascript:alert(1)//directline.botframework.com",
        "file:///etc/passwd",
        "file://directline.botframework.com/etc/passwd",
        "data:text/plain,directline.botframework.com",
        "",
        " ",
        # ports that are none
        "https://directline.botframework.com:99999/",
        "https://directline.botframework.com:port/",
        "https://directline.botframework.com:-1/",
        # addresses
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::1/",
        "https://169.254.169.254/latest/meta-data",
        # the local channel, where it is off
        LOCAL_CHANNEL,
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    """Another host, another scheme, another port, a name in it, or no URL."""
    assert not allows(url)


def test_the_local_channel_is_allowed_where_it_is_on() -> None:
    """By its own name and no other."""
    assert allows(LOCAL_CHANNEL, local_channel=True)
    for other in (LOCAL_CHANNEL.upper(), f"{LOCAL_CHANNEL}/", f"{LOCAL_CHANNEL}2", "urn:aside"):
        assert not allows(other, local_channel=True)


def test_an_empty_list_allows_nothing() -> None:
    assert not allows("https://directline.botframework.com/", listed=())


def test_a_refusal_names_the_url_and_the_setting() -> None:
    """And no more of it than fits a log line."""
    with pytest.raises(ServiceUrlNotAllowed, match="SERVICE_URL_ALLOW") as refused:
        ServiceUrls(LISTED, local_channel=False).check(f"https://evil.com/{'x' * 5000}")
    assert "https://evil.com/" in str(refused.value)
    assert len(str(refused.value)) < 500


def test_many_different_urls_are_not_all_remembered() -> None:
    """A sender that makes up a new one each time fills no memory, and is refused each time."""
    urls = ServiceUrls(LISTED, local_channel=False)
    for number in range(3000):
        with pytest.raises(ServiceUrlNotAllowed):
            urls.check(f"https://evil.com/{number}")
    urls.check("https://directline.botframework.com/")
    assert len(urls._allowed_before) == 1


def test_a_url_without_end_is_refused() -> None:
    """Whoever is allowed: what it leads to is kept."""
    urls = ServiceUrls(LISTED, local_channel=False)
    with pytest.raises(ServiceUrlNotAllowed) as refused:
        urls.check("https://directline.botframework.com/" + "x" * 100_000)
    assert len(str(refused.value)) < 500
