"""Jobs as the user sees them: acknowledged at once, answered when they are done, never in the middle of a form."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app import Service
from testkit.people import Json, Person, Sender
from testkit.waiting import until
from tests.conftest import ServiceFactory
from tests.own_dialogs.handing import THINGS
from tests.own_jobs import gates
from tests.serving import impatient, serving
from tests.test_groups import in_group

__all__ = ["impatient"]

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture(autouse=True)
def closed_gates(service: Service) -> Iterator[None]:
    gates.clear()
    yield
    for gate in gates.values():
        gate.set()


async def jobs(sender: Sender) -> list[Json]:
    _, body = await sender.gets("/api/jobs")
    found: list[Json] = body["jobs"]
    return found


async def becomes(sender: Sender, status: str) -> Json:
    """Wait until the latest job has this status."""

    async def reached() -> Json | None:
        latest = (await jobs(sender))[:1]
        return latest[0] if latest and latest[0]["status"] == status else None

    job: Json = await until(reached, what=f"the job is {status}")
    return job


class TestAJob:
    service = serving(JOBS="tests.own_jobs")

    async def test_is_acknowledged_at_once_with_its_number(self, ann: Person) -> None:
        """What it is, that the answer will come, and how to stop it."""
        (acknowledgement,) = await ann.says("compute pi 7")
        assert "job 1" in acknowledgement
        assert "`compute pi 7`" in acknowledgement
        assert "`cancel job 1`" in acknowledgement
        (acknowledgement,) = await ann.says("compute pi 8")
        assert "job 2" in acknowledgement

    async def test_is_not_started_beside_too_many_of_the_same_user(self, ann: Person, bob: Person) -> None:
        """In whatever conversation they were started; those that have ended make room, and others are not concerned."""
        elsewhere = ann.elsewhere("a:ann-2")
        for number in range(1, 6):
            assert "I am working on it" in (await ann.says(f"compute pi {number}"))[0]
            assert "I am working on it" in (await elsewhere.says(f"compute pi {number + 5}"))[0]
        for there in (ann, elsewhere):
            (refusal,) = await there.says("compute pi 99")
            assert "10 jobs" in refusal and "`jobs`" in refusal
        assert "I am working on it" in (await bob.says("compute pi 50"))[0]
        gates["1"].set()
        await ann.sees(lambda texts: any("result 1" in text for text in texts))
        assert "I am working on it" in (await elsewhere.says("compute pi 99"))[-1]
        assert "10 jobs" in (await ann.says("compute pi 98"))[-1]

    async def test_of_one_user_does_not_wait_for_all_of_another(self, ann: Person, bob: Person) -> None:
        """Workers serve users in turns: ann's ten jobs have all of them, and bob's is next all the same."""
        for number in range(1, 11):
            await ann.says(f"compute pi {number}")
        await bob.says("compute pi 50")
        gates["50"].set()
        gates["1"].set()
        await bob.sees(lambda texts: any("result 50" in text for text in texts))

    async def test_answers_when_it_is_done_and_quotes_the_question(self, ann: Person) -> None:
        await ann.says("compute pi 7")
        assert await ann.says("meanwhile") == ["You sent: meanwhile"]
        gates["7"].set()
        await ann.hears("You asked: compute pi 7\n\nresult 7")

    async def test_answers_after_the_form_to_somebody_who_is_busy(self, ann: Person, sender: Sender) -> None:
        await ann.says("compute pi 7")
        await ann.says("report")
        gates["7"].set()
        await becomes(sender, "done")
        await until(lambda: _inbox(sender, ann))
        assert ann.news() == []
        for text in ("high", "5", "it broke"):
            assert len(await ann.says(text)) == 1
        done, answer = await ann.says("yes")
        assert done.startswith("Thank you")
        assert answer == "You asked: compute pi 7\n\nresult 7"

    async def test_answers_apart_from_others(self, ann: Person) -> None:
        """Two at once; whichever is done first is told first."""
        await ann.says("compute pi 7")
        await ann.says("compute pi 8")
        gates["8"].set()
        await ann.hears("You asked: compute pi 8\n\nresult 8")
        gates["7"].set()
        await ann.hears("You asked: compute pi 7\n\nresult 7")

    async def test_that_fails_says_one_plain_sentence(self, ann: Person, sender: Sender) -> None:
        """The exception is for the operator, in the job's record, and not for the chat."""
        await ann.says("compute primes 7")
        (answer,) = (await ann.sees(lambda texts: len(texts) == 2))[1:]
        assert answer.startswith("You asked: compute primes 7\n\nI am sorry, that did not work:")
        assert "hunter2" not in str(ann.channel.requests)
        assert "hunter2" in (await becomes(sender, "failed"))["error"]

    async def test_that_gives_a_reason_has_it_told(self, ann: Person) -> None:
        await ann.says("compute factor 7")
        (answer,) = (await ann.sees(lambda texts: len(texts) == 2))[1:]
        assert answer.endswith("I am sorry, that did not work: I cannot factor that.")

    async def test_shows_in_the_api(self, ann: Person, sender: Sender) -> None:
        await ann.says("compute pi 7")
        job = await becomes(sender, "running")
        assert (job["number"], job["name"], job["asked"]) == (1, "pi", "compute pi 7")
        assert (job["conversation"], job["arguments"]) == (ann.key, {"text": "7"})
        gates["7"].set()
        job = await becomes(sender, "done")
        assert job["result"] == "result 7"
        assert (await sender.gets(f"/api/jobs/{job['id']}"))[1]["asked"] == "compute pi 7"


async def _inbox(sender: Sender, person: Person) -> bool:
    return int((await sender.conversation(person))["inbox"]) > 0


class TestTheListOfJobs:
    service = serving(JOBS="tests.own_jobs")

    async def test_is_empty_at_first(self, ann: Person) -> None:
        assert await ann.says("jobs") == ["You have no jobs. Start one with `compute factor 600851475143`."]

    async def test_says_how_each_stands(self, ann: Person, sender: Sender) -> None:
        await ann.says("compute pi 7")
        gates["7"].set()
        await ann.sees(lambda texts: len(texts) == 2)
        ann.news()
        await ann.says("compute pi 8")
        await becomes(sender, "running")
        (text,) = await ann.says("jobs")
        title, done, running = text.splitlines()
        assert title == "Your jobs:"
        assert done == "- job 1: `compute pi 7`, done"
        assert running.startswith("- job 2: `compute pi 8`, running")


class TestCancelling:
    service = serving(JOBS="tests.own_jobs")

    async def test_stops_a_job_that_runs(self, ann: Person, sender: Sender) -> None:
        """It is said that it is being stopped, and no answer comes."""
        await ann.says("compute pi 7")
        await becomes(sender, "running")
        assert await ann.says("cancel job 1") == ["I am stopping job 1."]
        await becomes(sender, "cancelled")
        assert await ann.says("jobs") == ["Your jobs:\n- job 1: `compute pi 7`, cancelled"]

    async def test_leaves_a_job_that_is_over_alone(self, ann: Person) -> None:
        await ann.says("compute pi 7")
        gates["7"].set()
        await ann.sees(lambda texts: len(texts) == 2)
        ann.news()
        assert await ann.says("cancel job 1") == ["Job 1 is already done."]

    async def test_helps_somebody_who_names_no_job(self, ann: Person) -> None:
        await ann.says("compute pi 7")
        await ann.says("compute pi 8")
        which = "Which one? Say `cancel job` with its number, such as `cancel job 2`. `jobs` lists yours."
        for said in ("cancel job", "cancel jobs", "cancel job x"):
            assert await ann.says(said) == [which]
        assert await ann.says("cancel job 5") == ["You have no job 5. `jobs` lists yours."]
        (neither,) = await ann.says("cancel")
        assert neither.startswith("There is no form to leave. To stop a job, say `cancel job` with its number, such as")
        assert (await ann.says("cancel job two"))[0] in ("Job 2 is cancelled.", "I am stopping job 2.")


class TestADialogThatCancels:
    """``services.jobs.cancel``: the job is stopped when the turn commits, and what it answers is known at once."""

    service = serving(JOBS="tests.own_jobs", ROOT_DIALOG="tests.own_dialogs.stopping:Foreman")

    async def test_stops_what_runs(self, ann: Person, sender: Sender) -> None:
        await ann.says("start")
        await becomes(sender, "running")
        assert await ann.says("stop") == ["running ['running']"]
        await becomes(sender, "cancelled")
        assert await ann.says("stop") == ["cancelled ['cancelled']"]

    async def test_stops_nothing_if_its_turn_fails(self, ann: Person, sender: Sender) -> None:
        await ann.says("start")
        await becomes(sender, "running")
        (apology,) = await ann.says("fail")
        assert apology.startswith("I am sorry")
        gates["7"].set()
        await ann.hears("You asked: pi 7\n\nresult 7")
        await becomes(sender, "done")

    async def test_finds_that_there_is_no_such_job(self, ann: Person) -> None:
        assert await ann.says("stop") == ["no such job []"]


class TestADialogThatCancelsWhatWaits:
    @pytest.fixture
    async def service(self, start_service: ServiceFactory) -> Service:
        """Nobody is there to begin the job."""
        return await start_service(role="web", JOBS="tests.own_jobs", ROOT_DIALOG="tests.own_dialogs.stopping:Foreman")

    async def test_lists_it_as_cancelled_in_the_same_turn(self, ann: Person, sender: Sender) -> None:
        await ann.says("start")
        await becomes(sender, "waiting")
        assert await ann.says("stop") == ["cancelled ['cancelled']"]
        await becomes(sender, "cancelled")


class TestTheJobsOfOthers:
    service = serving(JOBS="tests.own_jobs")

    async def test_are_nobody_s_business(self, ann: Person, bob: Person, sender: Sender) -> None:
        """In a group, each sees and stops their own."""
        annie, bobby = in_group(ann), in_group(bob)
        await annie.says("compute pi 7")
        await becomes(sender, "running")
        await bobby.says("jobs")
        assert annie.shows()[-1].startswith("You have no jobs.")
        await bobby.says("cancel job 1")
        assert annie.shows()[-1] == "You have no job 1. `jobs` lists yours."
        gates["7"].set()
        await annie.sees(lambda texts: texts[-1] == "You asked: compute pi 7\n\nresult 7")
        await annie.says("jobs")
        assert annie.shows()[-1] == "Your jobs:\n- job 1: `compute pi 7`, done"

    async def test_are_not_seen_from_another_conversation(self, ann: Person) -> None:
        await ann.says("compute pi 7")
        assert (await ann.elsewhere("a:ann:2").says("jobs"))[0].startswith("You have no jobs.")


class TestAnActivityThatComesTwice:
    service = serving(JOBS="tests.own_jobs")

    async def test_starts_its_job_once(self, ann: Person, sender: Sender) -> None:
        activity = ann.activity(text="compute pi 7")
        await ann.posts(activity)
        await ann.posts(activity)
        assert len(await jobs(sender)) == 1


class TestAnArgumentThatCannotBeStored:
    service = serving(JOBS="tests.own_jobs", ROOT_DIALOG="tests.own_dialogs.handing:Careless")

    @pytest.mark.parametrize("thing", THINGS)
    async def test_is_named_where_the_job_is_started(self, ann: Person, sender: Sender, thing: str) -> None:
        """Where the dialog's developer can see it, and not when the turn commits."""
        (said,) = await ann.says(thing)
        assert said.startswith("The argument 'thing' of the job 'pi' is a ")
        assert await jobs(sender) == []


class TestADialogThatStartsTooMany:
    service = serving(JOBS="tests.own_jobs", JOBS_PER_USER="3", ROOT_DIALOG="tests.own_dialogs.eager:Eager")

    REFUSAL = "I am working on 3 things for you and take no more at once; please try again when one of them is done."

    async def test_is_refused_and_its_user_told_in_a_sentence(self, ann: Person, bob: Person, sender: Sender) -> None:
        """Whatever conversation the others were started in. Nothing of the turn stays, and no mistake is counted."""
        assert await ann.says("2") == ["2 more."]
        elsewhere = ann.elsewhere("a:ann-2")
        for _ in range(3):
            assert await elsewhere.says("2") == [self.REFUSAL]
        assert await ann.says("4") == [self.REFUSAL]
        assert len(await jobs(sender)) == 2
        assert await bob.says("3") == ["3 more."]

    async def test_may_handle_that(self, ann: Person, sender: Sender) -> None:
        """What it had started before stays, as what else it does."""
        assert await ann.says("2") == ["2 more."]
        assert await ann.says("try 2") == ["3 are enough."]
        assert len(await jobs(sender)) == 3

    async def test_finds_room_when_one_has_ended(self, ann: Person) -> None:
        assert await ann.says("3") == ["3 more."]
        gates["1"].set()
        await ann.hears("You asked: 1\n\nresult 1")
        assert await ann.says("1") == ["1 more."]

    async def test_while_it_is_offered_a_notification_fails_that(self, ann: Person, sender: Sender) -> None:
        """Like whatever else it raises then."""
        await ann.says("2")
        await ann.says("wait")
        await sender.becomes(await sender.notifies(ann, "2", mode="interject"), "failed")
        assert len(await jobs(sender)) == 2
        await sender.becomes(await sender.notifies(ann, "1", mode="interject"), "delivered")
        assert len(await jobs(sender)) == 3
