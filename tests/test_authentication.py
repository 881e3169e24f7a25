"""Once the bot has an app id: only the channel is let in, and only the channel is given the bot's token."""

from __future__ import annotations

import asyncio
import base64
import gzip
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from app import Service
from channel.tokens import KeptTokens, TokenUnavailable, client_credentials
from sdk import authentication
from testkit.channel import FakeChannel, Mood
from testkit.people import Json, Person, Sender
from testkit.waiting import until
from tests.conftest import ServiceFactory, url_of
from tests.identity_provider import APP_ID, PASSWORD, IdentityProvider
from tests.serving import impatient

__all__ = ["impatient"]

pytestmark = pytest.mark.usefixtures("impatient")

API_KEY = "a-key-for-the-tests-0123456789"


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    provider = await IdentityProvider().start()
    yield provider
    await provider.stop()


@pytest.fixture
def registration(provider: IdentityProvider) -> dict[str, str]:
    return {
        "MicrosoftAppId": APP_ID,
        "MicrosoftAppPassword": PASSWORD,
        "OPENID_METADATA_URL": f"{provider.url}/metadata",
        "TOKEN_ISSUER": "https://issuer.test",
        "LOGIN_URL": provider.url,
        "SERVICE_URL_ALLOW": "http://127.0.0.1:*",
        "NOTIFY_API_KEYS": f"tests:{API_KEY}",
    }


@pytest.fixture
async def service(start_service: ServiceFactory, registration: dict[str, str]) -> Service:
    return await start_service(**registration)


@pytest.fixture
def sender(service: Service, http: aiohttp.ClientSession) -> Sender:
    return Sender(http, url_of(service), key=API_KEY)


def _packed(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


class Registered(Person):
    """A person whose channel shows a token. ``authorization`` replaces the header, None leaves it out."""

    provider: IdentityProvider

    async def posts(self, activity: Json, **header: str | None) -> tuple[int, Json | None]:
        given = header.get("authorization", f"Bearer {self.provider.token(activity['serviceUrl'])}")
        headers = {} if given is None else {"Authorization": given}
        async with self.http.post(f"{self.bot_url}/api/messages", json=activity, headers=headers) as response:
            body = await response.json(content_type=None) if response.content_length else None
            return response.status, body


@pytest.fixture
def ann(service: Service, http: aiohttp.ClientSession, channel: FakeChannel, provider: IdentityProvider) -> Registered:
    ann = Registered(http, url_of(service), channel, "ann")
    ann.provider = provider
    return ann


class TestWhoPosts:
    async def test_is_let_in_with_a_token_of_the_channel(self, ann: Registered) -> None:
        assert await ann.says("hello") == ["You sent: hello"]

    @pytest.mark.parametrize(
        "header", [None, "", "Bearer", "Bearer ", "Bearer nonsense", "Basic dTpw"], ids=lambda header: repr(header)
    )
    async def test_is_refused_without_a_token(self, ann: Registered, header: str | None) -> None:
        status, problem = await ann.posts(ann.activity(text="hello"), authorization=header)
        assert status == 401
        assert problem is not None
        assert problem["type"] == "urn:aside:problem:unauthorized"
        assert ann.channel.requests == []

    @pytest.mark.parametrize(
        "claims",
        [
            {"exp": time.time() - 3600},
            {"exp": None},
            {"nbf": time.time() + 3600},
            {"aud": "another-bot"},
            {"aud": None},
            {"iss": "https://elsewhere.test"},
            {"iss": None},
            {"serviceurl": "https://elsewhere.test/"},
            {"serviceurl": None},
        ],
        ids=["expired", "endless", "early", "audience", "no audience", "issuer", "no issuer", "url", "no url"],
    )
    async def test_is_refused_with_a_token_for_something_else(
        self, ann: Registered, provider: IdentityProvider, sender: Sender, claims: dict[str, Any]
    ) -> None:
        """No turn is run: nothing is said, and nobody becomes known."""
        token = provider.token(ann.channel.url, **claims)
        status, _ = await ann.posts(ann.activity(text="hello"), authorization=f"Bearer {token}")
        assert status == 401
        assert ann.channel.requests == []
        assert (await sender.gets("/api/conversations"))[1]["conversations"] == []

    @pytest.mark.parametrize(
        "token",
        ["Gr\u00fc\u00dfe", "a.b.\u00fc", f"{_packed('[' * 4000)}.e30.", f"{_packed('{}')}.{_packed('[]')}."],
        ids=["no ASCII", "signed by no ASCII", "nested", "no claims"],
    )
    async def test_is_refused_with_what_is_no_token(self, ann: Registered, token: str) -> None:
        """A failure of the service's own is nothing that a stranger can have."""
        assert (await ann.posts(ann.activity(text="hello"), authorization=f"Bearer {token}"))[0] == 401

    async def test_is_asked_who_they_are_before_anything_is_read(self, ann: Registered) -> None:
        """Neither what is compressed nor what is malformed is looked at."""
        bomb = gzip.compress(bytes(4_000_000))
        for data, headers in ((bomb, {"Content-Encoding": "gzip"}), (b"[" * 1000, {}), (b"", {"Content-Type": "x/y"})):
            headers = {"Content-Type": "application/json", **headers}
            async with ann.http.post(f"{ann.bot_url}/api/messages", data=data, headers=headers) as response:
                assert response.status == 401

    @pytest.mark.parametrize("issuer", ["https://sts.windows.net/d6d49420-f39b-4df7-a1dc-d59a935871db/"])
    async def test_is_not_an_emulator(self, ann: Registered, issuer: str) -> None:
        """Its tokens are for a developer's machine; nobody is asked about them either."""
        token = ann.provider.token(ann.channel.url, iss=issuer)
        assert (await ann.posts(ann.activity(text="hello"), authorization=f"Bearer {token}"))[0] == 401
        assert ann.provider.key_requests == 0

    async def test_is_refused_with_a_key_that_is_not_the_channel_s(
        self, ann: Registered, provider: IdentityProvider
    ) -> None:
        forged = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        token = provider.token(ann.channel.url, key=forged)
        status, _ = await ann.posts(ann.activity(text="hello"), authorization=f"Bearer {token}")
        assert status == 401

    async def test_is_refused_on_a_channel_that_the_key_is_not_for(self, ann: Registered) -> None:
        """The signing key is endorsed for Teams only."""
        status, _ = await ann.posts(ann.activity(text="hello", channelId="slack"))
        assert status == 401


class TestATokenShownAgain:
    """Channels show one token for many activities: its signature is verified once, all else for every activity."""

    @pytest.fixture(autouse=True)
    def verified(self, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
        """The signatures that were verified."""
        verified: list[bytes] = []
        verify = RSAAlgorithm.verify

        def counted(algorithm: RSAAlgorithm, message: bytes, key: Any, signature: bytes) -> bool:
            verified.append(signature)
            return verify(algorithm, message, key, signature)

        monkeypatch.setattr(RSAAlgorithm, "verify", counted)
        return verified

    @pytest.fixture
    async def shown(self, ann: Registered) -> str:
        """A token that has let an activity in."""
        shown = f"Bearer {ann.provider.token(ann.channel.url)}"
        assert (await ann.posts(ann.activity(text="hello"), authorization=shown))[0] == 200
        return shown

    async def test_is_not_verified_again(self, ann: Registered, shown: str, verified: list[bytes]) -> None:
        for _ in range(3):
            assert (await ann.posts(ann.activity(text="hello"), authorization=shown))[0] == 200
        assert len(verified) == 1

    async def test_is_known_by_all_of_its_text(self, ann: Registered, shown: str) -> None:
        """Not by its claims: another signature under them is none."""
        other = ann.provider.token(ann.channel.url, jti="another").rpartition(".")[2]
        forged = f"{shown.rpartition('.')[0]}.{other}"
        assert (await ann.posts(ann.activity(text="hello"), authorization=forged))[0] == 401

    @pytest.mark.parametrize(
        "fields", [{"channelId": "slack"}, {"serviceUrl": "http://127.0.0.1:9/"}], ids=["channel", "service URL"]
    )
    async def test_lets_in_only_what_it_is_for(self, ann: Registered, shown: str, fields: dict[str, str]) -> None:
        assert (await ann.posts(ann.activity(text="hello", **fields), authorization=shown))[0] == 401

    async def test_lets_in_nobody_once_it_expired(
        self, ann: Registered, shown: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(authentication, "LEEWAY", -2 * 3600)
        assert (await ann.posts(ann.activity(text="hello"), authorization=shown))[0] == 401

    async def is_refused(self, ann: Registered, shown: str) -> bool:
        return (await ann.posts(ann.activity(text="hello"), authorization=shown))[0] == 401

    async def test_lets_in_nobody_once_its_key_is_withdrawn(
        self, ann: Registered, shown: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(authentication, "KEYS_ASKED_AGAIN", 0.0)
        monkeypatch.setattr(authentication, "KEYS_KEPT", 0.0)
        ann.provider.rotate()
        await until(lambda: self.is_refused(ann, shown), what="the keys are refreshed")

    async def test_lets_in_nobody_once_its_key_is_another(
        self, ann: Registered, shown: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Under the same id."""
        monkeypatch.setattr(authentication, "KEYS_ASKED_AGAIN", 0.0)
        monkeypatch.setattr(authentication, "KEYS_KEPT", 0.0)
        (key_id,) = ann.provider.keys
        ann.provider.rotate()
        ann.provider.keys = dict(zip([key_id], ann.provider.keys.values(), strict=True))
        await until(lambda: self.is_refused(ann, shown), what="the keys are refreshed")

    async def test_is_forgotten_for_newer_ones(
        self, ann: Registered, shown: str, verified: list[bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However many tokens there are, so many are known: those that were shown last."""
        monkeypatch.setattr(authentication, "KEPT_TOKENS", 2)
        first, second = (f"Bearer {ann.provider.token(ann.channel.url, jti=str(number))}" for number in range(2))
        for token in (first, shown, second, shown, first):
            assert (await ann.posts(ann.activity(text="hello"), authorization=token))[0] == 200
        assert len(verified) == 4


class TestTheChannelsKeys:
    async def test_are_fetched_once(self, ann: Registered, provider: IdentityProvider) -> None:
        for _ in range(3):
            await ann.says("hello")
        assert provider.key_requests == 1

    async def test_are_fetched_again_when_they_were_rotated(
        self, ann: Registered, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(authentication, "KEYS_ASKED_AGAIN", 0.0)
        await ann.says("hello")
        provider.rotate()
        assert await ann.says("hello again") == ["You sent: hello again"]
        assert provider.key_requests == 2

    async def test_are_not_fetched_for_everybody_who_makes_one_up(
        self, ann: Registered, provider: IdentityProvider
    ) -> None:
        """A flood of unknown keys does not become a flood of requests."""
        await ann.says("hello")
        stranger = IdentityProvider()
        for _ in range(5):
            token = stranger.token(ann.channel.url)
            status, _ = await ann.posts(ann.activity(text="hello"), authorization=f"Bearer {token}")
            assert status == 401
        assert provider.key_requests == 1


    async def test_that_cannot_be_had_are_not_asked_for_all_the_time(
        self, ann: Registered, provider: IdentityProvider
    ) -> None:
        """Nor by many at once: one fetch, and a pause after it."""
        token = f"Bearer {provider.token(ann.channel.url)}"
        provider.broken = True
        for _ in range(2):
            tries = (ann.posts(ann.activity(text="hello"), authorization=token) for _ in range(10))
            assert {status for status, _ in await asyncio.gather(*tries)} == {401}
        assert provider.key_requests == 1

    async def test_go_on_being_used_while_they_cannot_be_refreshed(
        self, ann: Registered, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await ann.says("hello")
        monkeypatch.setattr(authentication, "KEYS_KEPT", 0.0)
        provider.broken = True
        for _ in range(3):
            assert await ann.says("hello") == ["You sent: hello"]
        await until(lambda: provider.key_requests == 2, what="a refresh was tried")

    async def test_that_cannot_be_read_cost_no_other(self, ann: Registered, provider: IdentityProvider) -> None:
        provider.also = [{"kty": "RSA", "kid": "short", "n": "AQ"}]
        assert await ann.says("hello") == ["You sent: hello"]

    async def test_are_asked_for_less_and_less_by_those_who_make_one_up(
        self, ann: Registered, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Even long after the last time."""
        monkeypatch.setattr(authentication, "KEYS_ASKED_AGAIN", 0.0)
        await ann.says("hello")
        stranger = IdentityProvider()
        for _ in range(5):
            token = stranger.token(ann.channel.url)
            assert (await ann.posts(ann.activity(text="hello"), authorization=f"Bearer {token}"))[0] == 401
        assert provider.key_requests == 2


class TestTheBotsToken:
    async def test_goes_with_every_send_and_is_fetched_once(
        self, ann: Registered, provider: IdentityProvider, sender: Sender
    ) -> None:
        """Replies and notifications alike, however many."""
        for number in range(3):
            await ann.says(f"hello {number}")
        await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        assert ann.channel.authorizations == ["Bearer bot-token-1"] * 4
        (login,) = provider.logins
        assert login["client_id"] == APP_ID
        assert login["scope"] == "https://api.botframework.com/.default"
        assert login["grant_type"] == "client_credentials"

    async def test_is_fetched_again_once_it_is_refused(
        self, ann: Registered, provider: IdentityProvider, sender: Sender
    ) -> None:
        """401 with a token that was good: a new one, and the activity is sent again at once."""
        await ann.says("hello")
        ann.channel.answers(ann.conversation, Mood(401))
        delivery = await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "delivered")
        assert delivery["mayBeRepeated"] is False
        assert ann.channel.authorizations[-2:] == ["Bearer bot-token-1", "Bearer bot-token-2"]
        assert len(provider.logins) == 2

    async def test_that_is_never_accepted_fails_the_delivery(
        self, ann: Registered, sender: Sender, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("domain.sending.TRIES", 2)
        await ann.says("hello")
        ann.channel.answers(ann.conversation, *[Mood(401)] * 4)
        delivery = await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "failed")
        assert delivery["reason"] == "unauthorized"

    async def test_is_not_to_be_had_for_a_while(
        self, ann: Registered, provider: IdentityProvider, sender: Sender, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is sent without it, and nothing is lost."""
        monkeypatch.setattr("tests.identity_provider.PASSWORD", "changed")
        assert await ann.says("hello") == []
        assert ann.channel.requests == []
        monkeypatch.setattr("tests.identity_provider.PASSWORD", PASSWORD)
        await ann.hears("You sent: hello")

    async def test_is_not_asked_for_by_every_send_while_it_cannot_be_had(
        self, ann: Registered, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("channel.tokens.FETCH_PAUSES", (60.0, 60.0))
        monkeypatch.setattr("domain.backoff.random.uniform", lambda low, high: high)
        fetch = client_credentials(
            ann.http, login_url=f"{provider.url}/t", app_id=APP_ID, password="wrong", scope="https://scope.test"
        )
        tokens = KeptTokens(fetch)
        for _ in range(5):
            with pytest.raises(TokenUnavailable, match="401"):
                await tokens.header()
        assert len(provider.logins) == 1

    async def test_is_in_no_log(self, ann: Registered, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG")
        await ann.says("hello")
        logged = "\n".join(str(vars(record)) for record in caplog.records)
        for secret in ("bot-token-1", PASSWORD, API_KEY):
            assert secret not in logged


class TestAServiceUrlThatIsNotAllowed:
    @pytest.fixture
    async def service(self, start_service: ServiceFactory, registration: dict[str, str]) -> Service:
        return await start_service(**{**registration, "SERVICE_URL_ALLOW": "https://channel.example"})

    async def test_is_given_no_token(self, ann: Registered, provider: IdentityProvider) -> None:
        """Not even if the token that came with the activity is good: the activity is refused."""
        status, problem = await ann.posts(ann.activity(text="hello"))
        assert status == 403
        assert problem is not None
        assert problem["type"] == "urn:aside:problem:service-url-not-allowed"
        assert ann.channel.requests == []
        assert provider.logins == []


class TestAServiceUrlThatIsNoLongerAllowed:
    async def test_is_given_no_token(
        self,
        ann: Registered,
        sender: Sender,
        start_service: ServiceFactory,
        registration: dict[str, str],
        http: aiohttp.ClientSession,
        service: Service,
    ) -> None:
        """A reference from before the allow-list changed is not sent to: the delivery is rejected."""
        await ann.says("hello")
        await service.close()
        stricter = await start_service(**{**registration, "SERVICE_URL_ALLOW": "https://channel.example"})
        sender = Sender(http, url_of(stricter), key=API_KEY)
        delivery = await sender.becomes(await sender.notifies(ann, "news", mode="interject"), "failed")
        assert delivery["reason"] == "rejected"
        assert len(ann.channel.requests) == 1
