"""Dead letters in people's hands: found, explained, taken, edited, replayed and discarded."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest
from sqlalchemy import text

from hub.people.dead_letters import REPLAY
from hub.people.forecast import Effect
from hub.people.office import Office
from schemas.errors import Conflict, InvalidMessage, NotFound
from store.actions import ActionState
from store.dead_letters import LetterFilter, StoredLetter
from tests.support.builders import BASIC, HOSPITAL, a_settle_request, as_bytes
from tests.support.dead_letters import a_letter, a_query, an_office, buried, state_of
from tests.support.eventually import eventually
from tests.support.hub_in_process import TestHub, a_hub

OPEN = LetterFilter()


@pytest.fixture
def world(database_url):
    with a_hub(database_url, running=False) as made:
        yield made


@pytest.fixture
def office(world: TestHub) -> Office:
    return an_office(world)


def letters(office: Office, *ids: int) -> list[StoredLetter]:
    return [office.dead_letters.get(id_) for id_ in ids]


def waiting(world: TestHub) -> list[dict[str, object]]:
    """What the outbox holds."""
    with world.database.connect() as connection:
        found = connection.execute(
            text(
                "SELECT queue, exchange, routing_key, message_id, correlation_id, headers, body FROM outbox ORDER BY id"
            )
        )
        return [{**row._asdict(), "body": bytes(row.body)} for row in found]


# Looking.


def test_letters_are_found_by_what_they_have_in_common(world, office):
    ids = buried(
        world,
        a_letter(),
        a_letter(message_id="M-2", cause="message.invalid"),
        a_query(),
        a_letter(b"{}", source_queue="payer.X", exchange="cmd", routing_key="payer.X", type="leg", message_id="L-1"),
    )
    office.dead_letters.take(ids[:1], "alice")

    def found(**wanted: str) -> list[int]:
        return [one.id for one in office.dead_letters.listed(LetterFilter(**wanted), limit=10)]

    assert found() == ids
    assert found(cause="hub.bug") == [ids[0], ids[2], ids[3]]
    assert found(type="case.query") == [ids[2]]
    assert found(type="leg") == found(queue="payer.X") == [ids[3]]
    assert found(owner="alice") == [ids[0]]
    assert found(owner="-") == ids[1:]
    assert found(message_id="M-2") == [ids[1]]
    assert found(state="replayed") == []
    assert office.dead_letters.count(OPEN) == 4


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("cause", [("hub.bug", 2), ("message.invalid", 1)]),
        ("queue", [("intake", 3)]),
        ("type", [("settlement.settle", 2), ("case.query", 1)]),
        ("owner", [("", 2), ("alice", 1)]),
        ("age", [("under 1 hour", 2), ("1 to 7 days", 1)]),
    ],
)
def test_letters_are_grouped(world, office, by, keys):
    ids = buried(world, a_letter(), a_letter(message_id="M-2", cause="message.invalid"), a_query())
    office.dead_letters.take(ids[:1], "alice")
    with world.database.begin() as connection:
        connection.execute(
            text("UPDATE dead_letter SET died_at = now() - interval '2 days' WHERE id = :id"), {"id": ids[2]}
        )

    groups = office.dead_letters.groups(OPEN, by)

    assert [(group.key, group.letters) for group in groups] == keys
    assert {group.example_id for group in groups} <= set(ids)


def test_old_ones_can_be_asked_for(world, office):
    buried(world, a_letter())

    assert office.dead_letters.count(LetterFilter(died_before=world.clock.now() - timedelta(hours=1))) == 0
    assert office.dead_letters.count(LetterFilter(died_before=world.clock.now() + timedelta(hours=1))) == 1


def test_a_grouping_that_there_is_not_is_refused(office):
    with pytest.raises(InvalidMessage):
        office.dead_letters.groups(OPEN, "body")


def test_a_letter_shows_its_case_and_what_a_replay_would_do(world, office):
    case_id = world.settle().case_id
    world.pump()
    [id_] = buried(world, a_letter())

    view = office.dead_letters.show(id_)

    assert (view.facts.party, view.facts.what, view.facts.money) == (HOSPITAL, "settlement.settle", True)
    assert view.case_id == case_id
    assert view.timeline[0].kind == "received"
    assert view.forecast.effect is Effect.NOTHING
    assert "the stored answer is given again" in view.forecast.text.en
    assert "one case" in view.safety.en


def test_a_letter_that_is_not_there_is_not_found(office):
    with pytest.raises(NotFound):
        office.dead_letters.show(4711)
    with pytest.raises(NotFound):
        office.dead_letters.take([4711], "alice")


# What a replay would do.


def forecast_of(world: TestHub, office: Office, letter: object) -> tuple[Effect, str]:
    [id_] = buried(world, letter)  # type: ignore[arg-type]
    found = office.dead_letters.show(id_).forecast
    return found.effect, found.text.en


def test_the_forecast_of_a_settlement(world, office):
    assert forecast_of(world, office, a_letter()) == (
        Effect.WORK,
        "there is no such case yet: it is made and payers are asked.",
    )
    case_id = world.settle().case_id
    effect, said = forecast_of(world, office, a_letter(message_id="M-2"))
    assert (effect, said) == (Effect.NOTHING, f"case {case_id} is under way with this content: nothing changes.")
    other = as_bytes(a_settle_request(40_000))
    assert forecast_of(world, office, a_letter(other, message_id="M-3"))[0] is Effect.REFUSED


def test_the_forecast_of_what_is_wrong_names_the_field(world, office):
    effect, said = forecast_of(world, office, a_letter(as_bytes(a_settle_request(total="1.00"))))

    assert effect is Effect.REFUSED
    assert "total: must be the sum of the fee lines" in said


def test_the_forecast_of_a_cancel(world, office):
    body = as_bytes({"institution": HOSPITAL, "settlement_no": "S-1", "cancel_no": "C-1", "reason": "r"})
    letter = a_letter(body, routing_key="settlement.cancel")
    assert forecast_of(world, office, letter)[0] is Effect.REFUSED

    world.settle()
    world.pump()
    effect, said = forecast_of(world, office, a_letter(body, routing_key="settlement.cancel", message_id="M-2"))
    assert effect is Effect.WORK
    assert said.endswith("(settled) would be undone.")

    world.cancel()
    world.pump()
    assert forecast_of(world, office, a_letter(body, routing_key="settlement.cancel", message_id="M-3"))[0] is (
        Effect.NOTHING
    )


def test_the_forecast_of_a_command(world, office):
    case_id = world.settle().case_id
    command = orjson.dumps({"case_id": case_id, "leg_no": 1})
    place = {"source_queue": f"payer.{BASIC}", "exchange": "cmd", "routing_key": f"payer.{BASIC}", "type": "leg"}

    assert forecast_of(world, office, a_letter(command, **place))[0] is Effect.WORK
    world.pump()
    assert forecast_of(world, office, a_letter(command, message_id="M-2", **place))[0] is Effect.NOTHING


@pytest.mark.parametrize(
    "changes",
    [
        {"exchange": "", "cause": "broker.expired"},
        {"routing_key": "settlement.setle"},
        {"exchange": "in.H99999999999"},
        {"exchange": "nonsense"},
    ],
)
def test_what_cannot_be_replayed_says_so_and_is_refused(world, office, changes):
    [id_] = buried(world, a_letter(**changes))

    assert office.dead_letters.show(id_).forecast.effect is Effect.BLOCKED
    with pytest.raises(Conflict, match="no letter can be replayed"):
        office.dead_letters.replay(letters(office, id_), "again", "alice")
    assert (world.count("operator_action"), waiting(world)) == (0, [])


# Replaying.


def test_a_replay_is_the_message_as_it_was_under_an_id_of_its_own(world, office):
    [id_] = buried(world, a_query(correlation_id="visit-1"))

    action = office.dead_letters.replay(letters(office, id_), "mended", "alice")

    assert (action.state, action.outcome) == (ActionState.EXECUTED, "replayed 1")
    [message] = waiting(world)
    assert (message["exchange"], message["routing_key"]) == (f"in.{HOSPITAL}", "case.query")
    assert (message["queue"], message["message_id"]) == ("intake", f"Q-1/replay-{id_}")
    assert (message["correlation_id"], message["headers"]) == ("visit-1", {"traceparent": "00-1"})
    assert message["body"] == a_query().body
    [letter] = letters(office, id_)
    assert (letter.state, letter.resolved_by, letter.resolution) == ("replayed", "alice", "mended")
    assert letter.replay_message_id == message["message_id"]


def test_the_answer_finds_its_sender_by_the_first_id(world, office):
    [id_] = buried(world, a_query())

    office.dead_letters.replay(letters(office, id_), "mended", "alice")

    assert waiting(world)[0]["correlation_id"] == "Q-1"


def test_money_waits_for_a_second_person(world, office):
    [id_] = buried(world, a_letter())

    action = office.dead_letters.replay(letters(office, id_), "mended", "alice")

    assert (action.state, state_of(world, id_), waiting(world)) == (ActionState.REQUESTED, "open", [])
    assert office.actions.approve(action.id, "bob").outcome == "replayed 1"
    assert (state_of(world, id_), len(waiting(world))) == ("replayed", 1)


def test_among_many_one_with_money_is_enough(world, office):
    ids = buried(world, a_query(), a_letter())

    assert office.dead_letters.replay(letters(office, *ids), "mended", "alice").state is ActionState.REQUESTED


def test_a_letter_is_replayed_once(world, office):
    [id_] = buried(world, a_letter())
    before = letters(office, id_)
    action = office.dead_letters.replay(before, "mended", "alice")
    office.actions.approve(action.id, "bob")

    with pytest.raises(Conflict):
        office.dead_letters.replay(before, "mended", "alice")
    with pytest.raises(Conflict):
        office.dead_letters.discard(before, "for nothing", "alice")
    assert len(waiting(world)) == 1


def test_what_was_closed_before_the_approval_is_left_and_said(world, office):
    first, second = buried(world, a_letter(), a_letter(message_id="M-2"))
    both = office.dead_letters.replay(letters(office, first, second), "mended", "alice")
    one = office.dead_letters.discard(letters(office, first), "for nothing", "alice")
    office.actions.approve(one.id, "bob")

    done = office.actions.approve(both.id, "bob")

    assert done.state is ActionState.EXECUTED
    assert done.outcome == f"replayed 1; left 1: {first}: it is discarded already."
    assert (state_of(world, first), state_of(world, second)) == ("discarded", "replayed")


def test_when_nothing_is_left_the_action_fails(world, office):
    [id_] = buried(world, a_letter())
    replay = office.dead_letters.replay(letters(office, id_), "mended", "alice")
    discard = office.dead_letters.discard(letters(office, id_), "for nothing", "alice")
    office.actions.approve(discard.id, "bob")

    assert office.actions.approve(replay.id, "bob").state is ActionState.FAILED
    assert waiting(world) == []


# Editing.


def test_an_edit_shows_what_changes_and_hides_the_person(world, office):
    [id_] = buried(world, a_letter(as_bytes(a_settle_request(total="1.00"))))
    edited = a_settle_request()
    edited["patient"] = {**edited["patient"], "name": "别名"}

    diff = office.dead_letters.edit(id_, as_bytes(edited), "agreed with the hospital", "alice")

    assert '-  "total": "1.00"' in diff
    assert '+  "total": "300.00"' in diff
    assert "欧阳" not in diff
    assert "别名" not in diff
    assert diff.count('"name": "*** #') == 2
    [letter] = letters(office, id_)
    assert (letter.state, letter.edited_body) == ("open", as_bytes(edited))


def test_an_edited_letter_is_replayed_as_edited(world, office):
    [id_] = buried(world, a_letter(b"{}", routing_key="case.query"))
    office.dead_letters.edit(id_, a_query().body, "the body was empty", "alice")

    office.dead_letters.replay(letters(office, id_), "mended", "alice")

    assert waiting(world)[0]["body"] == a_query().body


def test_an_edit_after_the_request_is_not_what_was_approved(world, office):
    [id_] = buried(world, a_letter())
    action = office.dead_letters.replay(letters(office, id_), "mended", "alice")
    office.dead_letters.edit(id_, as_bytes(a_settle_request(99_000)), "more", "alice")

    done = office.actions.approve(action.id, "bob")

    assert done.state is ActionState.FAILED
    assert "edited after this was asked for" in done.outcome
    assert (state_of(world, id_), waiting(world)) == ("open", [])


def test_an_edit_can_be_taken_back(world, office):
    [id_] = buried(world, a_letter())
    office.dead_letters.edit(id_, b"{}", "a try", "alice")
    office.dead_letters.edit(id_, None, "back", "alice")

    assert letters(office, id_)[0].edited_body is None


@pytest.mark.parametrize("body", [b"", b"x" * (1024 * 1024 + 1)])
def test_a_body_must_have_a_size(world, office, body):
    [id_] = buried(world, a_letter())

    with pytest.raises(InvalidMessage):
        office.dead_letters.edit(id_, body, "why", "alice")


# Everything is recorded.


def test_the_trail_holds_every_step(world, office):
    [id_] = buried(world, a_letter())
    office.dead_letters.take([id_], "alice")
    office.dead_letters.reveal(id_, "to call the patient", "alice")
    office.dead_letters.edit(id_, as_bytes(a_settle_request()), "same again", "alice")
    action = office.dead_letters.replay(letters(office, id_), "mended", "alice")
    office.actions.approve(action.id, "bob")

    view = office.dead_letters.show(id_)

    assert [(one.kind, one.state, one.decided_by) for one in view.actions] == [
        ("dlq.take", "executed", ""),
        ("dlq.reveal", "executed", ""),
        ("dlq.edit", "executed", ""),
        (REPLAY, "executed", "bob"),
    ]
    assert "欧阳" not in repr([one.detail for one in view.actions])


def test_a_replay_that_dies_again_is_linked_both_ways(world, office):
    [id_] = buried(world, a_query())
    office.dead_letters.replay(letters(office, id_), "a try", "alice")
    [again] = buried(world, a_query(message_id=f"Q-1/replay-{id_}"))

    assert [one.id for one in office.dead_letters.show(id_).replays] == [again]
    assert office.dead_letters.show(again).replay_of == id_


def test_discarding_keeps_the_row(world, office):
    [id_] = buried(world, a_query())

    office.dead_letters.discard(letters(office, id_), "asked twice", "alice")

    [letter] = letters(office, id_)
    assert (letter.state, letter.resolution, letter.body) == ("discarded", "asked twice", a_query().body)


def test_a_letter_can_be_given_away_and_back(world, office):
    [id_] = buried(world, a_letter())

    office.dead_letters.take([id_], "alice", owner="bob")
    assert letters(office, id_)[0].owner == "bob"
    office.dead_letters.take([id_], "alice", owner="")
    assert letters(office, id_)[0].owner == ""


# A running hub.


def test_a_replayed_query_is_answered_to_its_sender(database_url):
    with a_hub(database_url) as world:
        case_id = world.settle().case_id
        world.answered(case_id)
        office = an_office(world)
        [id_] = buried(world, a_query())

        office.dead_letters.replay(letters(office, id_), "mended", "alice")

        def answers_by_queue() -> bool:
            return any(one["status"] == "settled" for one in world.outbox(f"out.{HOSPITAL}"))

        assert eventually(answers_by_queue)
        assert world.count("dead_letter") == 1


def test_replaying_what_was_processed_changes_nobodys_book(database_url):
    """Every kind of letter, whose original was processed, replayed twice: cases, legs and the payers' books stay."""
    with a_hub(database_url) as world:
        office = an_office(world)
        settled = world.settle("S-1").case_id
        undone = world.settle("S-2").case_id
        world.answered(settled)
        world.answered(undone)
        world.cancel("S-2")
        eventually(lambda: world.case(undone).state == "cancelled")
        eventually(lambda: world.count("outbox WHERE queue NOT LIKE 'out.%'") == 0)
        before = picture(world)
        cancel = {"institution": HOSPITAL, "settlement_no": "S-2", "cancel_no": "C-1", "reason": "r"}
        command = {"source_queue": f"payer.{BASIC}", "exchange": "cmd", "routing_key": f"payer.{BASIC}", "type": "leg"}
        originals = [
            a_letter(as_bytes(a_settle_request(30_000, "S-1"))),
            a_letter(as_bytes(a_settle_request(30_000, "S-2")), message_id="M-2"),
            a_letter(as_bytes(a_settle_request(40_000, "S-1")), message_id="M-3"),
            a_letter(as_bytes(cancel), routing_key="settlement.cancel", message_id="M-4"),
            a_query(),
            a_letter(b"\xff\x00", message_id="M-5"),
            a_letter(orjson.dumps({"case_id": settled, "leg_no": 1}), message_id="L-1", **command),
            a_letter(orjson.dumps({"case_id": undone, "leg_no": 2}), message_id="L-2", **command),
        ]
        for round_ in (1, 2):
            ids = buried(world, *originals)
            assert len(ids) == len(originals), round_
            action = office.dead_letters.replay(letters(office, *ids), "again", "alice")
            assert office.actions.approve(action.id, "bob").outcome == f"replayed {len(ids)}"
            eventually(lambda: world.count("outbox WHERE queue NOT LIKE 'out.%'") == 0)

        assert picture(world) == before
        assert {state_of(world, id_) for id_ in ids} == {"replayed"}


def picture(world: TestHub) -> tuple[object, ...]:
    """All cases and legs, what was answered, and what each payer has in its book."""
    with world.database.connect() as connection:
        tables = [
            connection.execute(text(f"SELECT * FROM {table} ORDER BY 1, 2")).all()
            for table in ("settlement_case", "settlement_leg", "case_answer", "case_undo")
        ]
    books = {code: sorted(payer.book.items(), key=lambda one: one[0]) for code, payer in world.payers.items()}
    return tables, {code: payer.net_fen for code, payer in world.payers.items()}, books


def test_a_letter_that_never_was_processed_is_processed_once(database_url):
    with a_hub(database_url) as world:
        office = an_office(world)
        for message_id in ("M-1", "M-2"):
            [id_] = buried(world, a_letter(message_id=message_id))
            action = office.dead_letters.replay(letters(office, id_), "mended", "alice")
            office.actions.approve(action.id, "bob")

        eventually(lambda: world.count("case_answer") == 1)
        eventually(lambda: world.count("outbox WHERE queue NOT LIKE 'out.%'") == 0)

        assert world.count("settlement_case") == 1
        assert len(world.payers[BASIC].settled) == 1
