"""Notices when things go wrong around them: undone before they were said, behind slow calls, beside broken ones."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import orjson
import pytest

from schemas import transactions
from schemas.payer import Notice, PreparedCall, RawAnswer
from tests.support.builders import (
    BASIC,
    BASIC_RULE,
    CRITICAL,
    CRITICAL_RULE,
    HOSPITAL,
    REGION,
    a_party,
    a_rule,
)
from tests.support.eventually import eventually
from tests.support.hub_in_process import TestHub, a_hub
from tests.support.soundness import broken
from tests.support.told_payer import ToldPayer
from tests.support.visit_builders import (
    a_book_with_visits,
    a_fees_upload,
    a_line,
    a_stay_to_settle,
    an_admission,
    an_undo,
)

T = transactions.Transaction
OTHER = "PINGHE"
ASKED = "YUEAN"
WANTED = [
    "admission.register",
    "admission.change",
    "admission.cancel",
    "fees.upload",
    "fees.cancel",
    "adjudication.upload",
    "settlement.cancel",
]
GIVEN_BASIC = {
    "layer": "basic",
    "payer": BASIC,
    "amount": "60.00",
    "figures": {"in_scope": "90.00", "account": "10.00"},
}
GIVEN_CRITICAL = {"layer": "critical_illness", "payer": CRITICAL, "amount": "20.00"}


class Unpreparable(ToldPayer):
    """A dialect with a bug."""

    def prepare_notice(self, notice: Notice) -> PreparedCall:
        raise KeyError(notice.transaction)


class Slow(ToldPayer):
    """Answers when it is let go."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.go_on = threading.Event()

    def send(self, call: PreparedCall, timeout_s: float) -> RawAnswer:
        assert self.go_on.wait(30)
        return super().send(call, timeout_s)


def a_world(database_url: str, *rules: dict[str, Any], critical: ToldPayer, **payers: ToldPayer):
    """A hub that stands still: notices are said when the test says so."""
    basic = a_party(BASIC, "basic", region=REGION)
    told = [a_party(code, notices=WANTED, concurrency=4) for code in (CRITICAL, *payers)]
    return a_hub(
        database_url,
        *rules,
        payers={CRITICAL: critical, **payers},
        parties=[basic, *told],
        running=False,
        **a_book_with_visits("optional"),
    )


@pytest.fixture
def world(database_url):
    with a_world(database_url, BASIC_RULE, CRITICAL_RULE, critical=ToldPayer()) as hub:
        yield hub


def said(world: TestHub, transaction: str, message: dict[str, Any], **changes: Any) -> dict[str, Any]:
    taken = world.send(transaction, message, **changes)
    assert taken.error is None, taken.error
    return orjson.loads(taken.answer)


def waiting(world: TestHub) -> int:
    with world.database.connect() as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM notice WHERE state = 'waiting'").scalar_one()


def tell_all(world: TestHub) -> None:
    """Let everything be said that is due, one behind the other."""

    def nothing_waits() -> bool:
        world.hub.notices()
        world.clock.advance(1)
        return waiting(world) == 0

    eventually(nothing_waits)


def test_fee_lines_are_taken_back_where_they_were_told_and_others_stay(world):
    insurer = world.payers[CRITICAL]
    said(world, T.ADMISSION_REGISTER, an_admission())
    said(world, T.FEES_UPLOAD, a_fees_upload([a_line("1", 100)], "F-1"))
    tell_all(world)

    said(world, T.FEES_UPLOAD, a_fees_upload([a_line("2", 200)], "F-2"))
    said(world, T.FEES_CANCEL, an_undo("FC-1", batch_no="B-F-1"))
    tell_all(world)

    assert insurer.told == ["admission.register", "fees.upload", "fees.upload", "fees.cancel"]
    assert insurer.notes[-1]["original_request_id"] == insurer.notes[1]["request_id"]


def test_lines_of_an_older_upload_are_taken_back_though_the_newest_was_refused(world):
    insurer = world.payers[CRITICAL]
    said(world, T.ADMISSION_REGISTER, an_admission())
    said(world, T.FEES_UPLOAD, a_fees_upload([a_line("1", 100)], "F-1"))
    tell_all(world)
    insurer.moods = ["refused"]
    said(world, T.FEES_UPLOAD, a_fees_upload([a_line("2", 200)], "F-2"))

    said(world, T.FEES_CANCEL, an_undo("FC-1"))
    tell_all(world)

    assert insurer.told == ["admission.register", "fees.upload", "fees.cancel"]
    assert insurer.notes[-1]["original_request_id"] == insurer.notes[1]["request_id"]


def test_of_a_registration_that_was_taken_back_unsaid_nothing_is_said(world):
    said(world, T.ADMISSION_REGISTER, an_admission())
    said(world, T.ADMISSION_CHANGE, an_admission(request_no="CH-1", department="内科"))
    said(world, T.ADMISSION_CANCEL, an_undo("AC-1"))

    tell_all(world)

    assert world.payers[CRITICAL].heard == []


def test_who_was_told_of_a_registration_hears_of_its_undo_whoever_is_responsible_by_then(database_url):
    rule = a_rule("critical", "critical_illness", CRITICAL, when={"medical_types": ["21"]})
    with a_world(database_url, BASIC_RULE, rule, critical=ToldPayer()) as world:
        said(world, T.ADMISSION_REGISTER, an_admission())
        tell_all(world)
        said(world, T.ADMISSION_CHANGE, an_admission(request_no="CH-1", medical_type="52"))
        said(world, T.ADMISSION_CANCEL, an_undo("AC-1"))
        tell_all(world)

        assert world.payers[CRITICAL].told == ["admission.register", "admission.cancel"]


def test_an_adjudication_and_its_undo_are_told_in_their_order(database_url):
    own = {"adjudicated_by": "basic", "called": "post_upload"}
    insurer = ToldPayer(moods=["busy"])
    with a_world(database_url, BASIC_RULE | own, CRITICAL_RULE | own, critical=insurer) as world:
        bill = a_stay_to_settle(10_000, adjudicated=[GIVEN_BASIC, GIVEN_CRITICAL])
        assert world.send(T.ADJUDICATION_UPLOAD, bill, party=BASIC).error is None
        world.hub.notices()
        eventually(lambda: len(insurer.heard) == 1)

        world.cancel(party=BASIC)
        tell_all(world)

        assert [one["transaction"] for one in insurer.heard] == ["adjudication.upload"] * 2 + ["settlement.cancel"]
        assert broken(world.database) == {}


def test_an_undo_is_told_once_however_often_it_is_asked_for(database_url):
    own = {"adjudicated_by": "basic", "called": "sync"}
    asked = a_rule("asked", "supplementary", ASKED)
    with a_world(database_url, BASIC_RULE | own, CRITICAL_RULE | own, asked, critical=ToldPayer()) as world:
        bill = a_stay_to_settle(10_000, adjudicated=[GIVEN_BASIC, GIVEN_CRITICAL])
        world.send(T.SETTLE, bill, party=BASIC)
        world.pump()
        tell_all(world)

        world.cancel(cancel_no="C-1")
        world.cancel(cancel_no="C-2")
        tell_all(world)

        assert world.payers[CRITICAL].told == ["adjudication.upload", "settlement.cancel"]


def test_what_cannot_be_prepared_holds_up_nothing_else(database_url):
    other = a_rule("other", "supplementary", OTHER)
    payers = {"critical": Unpreparable(), OTHER: ToldPayer()}
    with a_world(database_url, BASIC_RULE, CRITICAL_RULE, other, **payers) as world:
        said(world, T.ADMISSION_REGISTER, an_admission())
        tell_all(world)

        assert world.payers[OTHER].told == ["admission.register"]
        (state,) = [one["state"] for one in _states(world) if one["payer"] == CRITICAL]
        assert state == "given_up"


def _states(world: TestHub) -> list[dict[str, Any]]:
    return said(world, T.FEES_QUERY, {"institution": HOSPITAL, "visit_no": "V-1"})["notices"]


def test_what_waits_behind_a_slow_call_is_said_once(database_url):
    slow = Slow()
    with a_world(database_url, BASIC_RULE, CRITICAL_RULE, critical=slow) as world:
        for number in range(3):
            said(world, T.ADMISSION_REGISTER, an_admission(f"V-{number}", f"A-{number}"))
        world.hub.notices()
        world.clock.advance(world.hub.payers[CRITICAL].party.timeout_s + 1.5)
        world.hub.notices()
        slow.go_on.set()
        world.hub.notices.stop()

        # The first one's own time is over: it is in doubt, and repeated. The others have not begun.
        times = Counter(one["request_id"] for one in slow.heard)
        assert sorted(times.values()) == [1, 1, 2]


def test_coinsurers_parts_that_the_basic_system_gave_need_not_follow_the_weights(database_url):
    own = {"adjudicated_by": "basic", "called": "post_upload"}
    coinsured = a_rule("coinsured", "supplementary", (OTHER, 50), (ASKED, 50)) | own
    with a_hub(database_url, BASIC_RULE | own, coinsured, running=False) as world:
        shares = [{"layer": "supplementary", "payer": OTHER, "amount": "30.00"}]
        shares += [{"layer": "supplementary", "payer": ASKED, "amount": "0.00"}]

        taken = world.send(T.ADJUDICATION_UPLOAD, a_stay_to_settle(10_000, adjudicated=[GIVEN_BASIC, *shares]))

        assert taken.error is None
        assert world.answered(taken.case_id)["cash"] == "0.00"
        assert broken(world.database) == {}
