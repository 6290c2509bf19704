"""Operators' actions: one asks, where money can move another agrees, and what is done is done once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from hub import failpoints
from hub.people.actions import ActionKind, Actions
from hub.routes import party_message
from hub.work import Work
from schemas.errors import Conflict, Forbidden, InvalidMessage, NotFound, Unavailable
from store import actions as stored
from store.actions import Action, ActionState
from tests.support.builders import HOSPITAL
from tests.support.eventually import eventually
from tests.support.hub_in_process import TestHub, a_hub


@dataclass
class Effects:
    """A kind whose effect is a message in the outbox."""

    behave: Callable[[], None] = lambda: None
    runs: list[int] = field(default_factory=list)

    def __call__(self, work: Work, action: Action) -> str:
        self.runs.append(action.id)
        work.send(party_message(HOSPITAL, b"{}", type_="test", correlation_id="c", region=""))
        self.behave()
        return "sent 1"


def raises(error: Exception) -> Callable[[], None]:
    def behave() -> None:
        raise error

    return behave


@pytest.fixture
def world(database_url):
    with a_hub(database_url, running=False) as made:
        yield made


@pytest.fixture
def effects() -> Effects:
    return Effects()


@pytest.fixture
def actions(world: TestHub, effects: Effects) -> Actions:
    made = Actions(world.hub.work_units, world.clock)
    made.register(ActionKind("test.money", effects), ActionKind("test.look", effects, lambda _work, _action: False))
    return made


def asked(actions: Actions, kind: str = "test.money", subject: str = "thing/1") -> Action:
    return actions.request(kind, subject, {"amount": "1.00"}, "because", "alice")


def sent(world: TestHub) -> int:
    return len(world.outbox(f"out.{HOSPITAL}"))


def test_what_moves_money_waits_for_a_second_person(world, actions, effects):
    action = asked(actions)

    assert (action.state, action.decided_by, sent(world)) == (ActionState.REQUESTED, "", 0)
    assert [one.id for one in actions.pending()] == [action.id]

    done = actions.approve(action.id, "bob")

    assert (done.state, done.decided_by, done.outcome) == (ActionState.EXECUTED, "bob", "sent 1")
    assert (sent(world), effects.runs, actions.pending()) == (1, [action.id], [])


def test_anything_else_is_done_at_once_and_recorded(world, actions):
    action = asked(actions, "test.look")

    assert (action.state, action.outcome, action.decided_by) == (ActionState.EXECUTED, "sent 1", "")
    assert actions.get(action.id) == action
    assert sent(world) == 1


def test_nobody_approves_their_own(world, actions):
    action = asked(actions)

    with pytest.raises(Forbidden, match="another operator"):
        actions.approve(action.id, "alice")

    assert actions.get(action.id).state is ActionState.REQUESTED
    assert sent(world) == 0


def test_nor_does_the_database_let_them(world, actions):
    action = asked(actions)

    with pytest.raises(IntegrityError, match="nobody_approves_their_own_action"), world.database.begin() as connection:
        connection.execute(
            text("UPDATE operator_action SET state = 'executed', decided_by = 'alice' WHERE id = :id"),
            {"id": action.id},
        )


@pytest.mark.parametrize("name", ["", "Alice", "a", "alice ", "al ice", "operator:alice", "алиса", "a" * 33, "1a"])
def test_a_name_that_could_be_taken_for_another_is_none(actions, name):
    with pytest.raises(InvalidMessage):
        actions.request("test.money", "thing/1", {}, "because", name)


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "two\nlines"])
def test_a_reason_is_needed(actions, reason):
    with pytest.raises(InvalidMessage):
        actions.request("test.money", "thing/1", {}, reason, "alice")


def test_a_rejected_action_is_never_done(world, actions):
    action = asked(actions)

    rejected = actions.reject(action.id, "bob", "not needed")

    assert (rejected.state, rejected.decided_by, rejected.outcome) == (ActionState.REJECTED, "bob", "not needed")
    with pytest.raises(Conflict, match="rejected already by bob"):
        actions.approve(action.id, "carol")
    assert sent(world) == 0


def test_who_asked_may_withdraw(actions):
    withdrawn = actions.reject(asked(actions).id, "alice", "a mistake")

    assert (withdrawn.state, withdrawn.decided_by) == (ActionState.REJECTED, "")
    assert withdrawn.outcome == "withdrawn: a mistake"


def test_what_cannot_be_done_leaves_no_effect_and_says_why(world, actions, effects):
    action = asked(actions)
    effects.behave = raises(Conflict("the payer has answered meanwhile"))

    failed = actions.approve(action.id, "bob")

    assert (failed.state, failed.outcome) == (ActionState.FAILED, "the payer has answered meanwhile")
    assert sent(world) == 0


@pytest.mark.parametrize("error", [Unavailable("the database is away"), KeyError("a bug")])
def test_what_may_work_later_stays_waiting(world, actions, effects, error):
    action = asked(actions)
    effects.behave = raises(error)

    with pytest.raises(type(error)):
        actions.approve(action.id, "bob")

    assert actions.get(action.id).state is ActionState.REQUESTED
    assert sent(world) == 0


def test_what_cannot_be_asked_for_is_not_recorded(world, actions, effects):
    effects.behave = raises(Conflict("not now"))

    with pytest.raises(Conflict, match="not now"):
        asked(actions, "test.look")

    assert (world.count("operator_action"), sent(world)) == (0, 0)


def test_a_check_refuses_before_anybody_waits(world, actions, effects):
    def check(_work: Work, _action: Action) -> None:
        raise Conflict("there is nothing to do")

    actions.register(ActionKind("test.checked", effects, check=check))

    with pytest.raises(Conflict, match="nothing to do"):
        asked(actions, "test.checked")
    assert world.count("operator_action") == 0


def test_the_same_is_asked_for_once(actions):
    first = asked(actions)

    with pytest.raises(Conflict, match=f"action {first.id} asks for the same"):
        asked(actions)
    assert asked(actions, subject="thing/2").state is ActionState.REQUESTED


def test_the_same_is_asked_for_once_whatever_else_was_asked_for_meanwhile(actions):
    first = asked(actions)
    actions.request("test.money", "thing/1", {"amount": "2.00"}, "because", "alice")

    with pytest.raises(Conflict, match=f"action {first.id} asks for the same"):
        asked(actions)


def test_of_two_who_ask_for_the_same_at_once_one_is_told_of_the_other(world, actions):
    with ThreadPoolExecutor(2) as people:
        with world.database.begin() as connection:
            stored.hold(connection, "test.money", "thing/1")
            both = [people.submit(asked, actions) for _ in range(2)]
            eventually(lambda: waiting_for_locks(world) == 2)
        errors = [one.exception(20) for one in both]

    (waiting,) = actions.pending()
    assert sorted(str(one) for one in errors if one) == [
        f"action {waiting.id} asks for the same and waits for approval"
    ]


def waiting_for_locks(world: TestHub) -> int:
    with world.database.connect() as connection:
        held = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return int(connection.execute(held).scalar_one())


def test_of_two_who_approve_at_once_one_is_too_late(world, actions, effects):
    action = asked(actions)
    together = threading.Barrier(4)

    def approve(name: str) -> ActionState | type[Conflict]:
        together.wait(60)
        try:
            return actions.approve(action.id, name).state
        except Conflict:
            return Conflict

    with ThreadPoolExecutor(4) as people:
        results = list(people.map(approve, ["bob", "carol", "dave", "erin"]))

    assert sorted(map(str, results)).count(str(Conflict)) == 3
    assert (effects.runs, sent(world)) == ([action.id], 1)


@pytest.mark.parametrize(("where", "state", "messages"), [("before", "requested", 0), ("after", "executed", 1)])
def test_a_crash_does_it_once_or_not_at_all(world, actions, where, state, messages):
    action = asked(actions)
    failpoints.arm(f"approve.{where}_commit=raise")
    try:
        with pytest.raises(Exception, match=r"approve\."):
            actions.approve(action.id, "bob")
    finally:
        failpoints.arm("")

    assert actions.get(action.id).state == state
    assert sent(world) == messages


def test_an_action_of_a_kind_nobody_knows_any_more_fails(world, actions):
    with pytest.raises(InvalidMessage):
        actions.request("test.unknown", "thing/1", {}, "because", "alice")
    with pytest.raises(NotFound):
        actions.approve(4711, "bob")


def test_a_kind_is_registered_once(actions, effects):
    with pytest.raises(ValueError, match=r"test\.money"):
        actions.register(ActionKind("test.money", effects))


def test_lists_filter_by_state_kind_and_subject(actions):
    money, look = asked(actions), asked(actions, "test.look")

    assert [one.id for one in actions.listed()] == [look.id, money.id]
    assert [one.id for one in actions.listed(kind="test")] == [look.id, money.id]
    assert [one.id for one in actions.listed(kind="test.money", state="requested")] == [money.id]
    assert actions.listed(subject="thing/2") == []
