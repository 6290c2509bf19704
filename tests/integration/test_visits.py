"""A visit from admission to settlement and back, on a real database; what may not be said is refused with a remedy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest

from hub.incident_words import words
from hub.people.office import open_office
from schemas import transactions
from schemas.errors import Conflict
from store import incidents, numbers, visits
from store.numbers import Wanted
from tests.support.builders import (
    BASIC,
    BASIC_RULE,
    CRITICAL,
    CRITICAL_RULE,
    HOSPITAL,
    OTHER_HOSPITAL,
    REGION,
    a_party,
    a_rule,
    a_settle_request,
)
from tests.support.eventually import eventually
from tests.support.hub_in_process import TestHub, a_hub
from tests.support.soundness import broken
from tests.support.told_payer import ToldPayer
from tests.support.visit_builders import (
    a_book_with_visits,
    a_discharge,
    a_fees_upload,
    a_line,
    a_stay_to_settle,
    an_admission,
    an_undo,
)

T = transactions.Transaction
BASIC_SYSTEM = a_party(BASIC, "basic", region=REGION)
EVERYTHING = [
    "admission.register",
    "admission.cancel",
    "fees.upload",
    "fees.cancel",
    "discharge.register",
    "discharge.cancel",
    "adjudication.upload",
]
PARTIES = [BASIC_SYSTEM, a_party(CRITICAL, notices=EVERYTHING)]


@pytest.fixture
def world(database_url):
    told = a_party(CRITICAL, notices=EVERYTHING)
    with a_hub(
        database_url, payers={CRITICAL: ToldPayer()}, parties=[BASIC_SYSTEM, told], **a_book_with_visits()
    ) as hub:
        yield hub
        assert broken(hub.database) == {}


def said(world: TestHub, transaction: str, message: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The answer of a message that is taken."""
    taken = world.send(transaction, message, **changes)
    assert taken.error is None, taken.error
    return orjson.loads(taken.answer)


def refusal(world: TestHub, transaction: str, message: dict[str, Any], **changes: Any) -> str:
    taken = world.send(transaction, message, **changes)
    assert taken.error is not None, taken.answer
    return taken.error.code


def a_discharged_stay(world: TestHub, *fen: int) -> None:
    said(world, T.ADMISSION_REGISTER, an_admission())
    said(world, T.FEES_UPLOAD, a_fees_upload(a_line(str(n + 1), amount) for n, amount in enumerate(fen)))
    said(world, T.DISCHARGE_REGISTER, a_discharge())


def test_a_stay_goes_from_admission_to_settlement_and_all_the_way_back(world):
    first = said(world, T.ADMISSION_REGISTER, an_admission())
    assert (first["state"], first["lines"], first["settled"]) == ("admitted", 0, False)
    said(world, T.FEES_UPLOAD, a_fees_upload([a_line("1", 10_000), a_line("2", 20_000)]))
    second = said(
        world, T.FEES_UPLOAD, a_fees_upload([a_line("3", -5_000, refunds="2", price="200.00", quantity="-0.25")], "F-2")
    )
    assert (second["lines"], second["total"]) == (3, "250.00")
    assert said(world, T.DISCHARGE_REGISTER, a_discharge())["state"] == "discharged"

    taken = world.send(T.SETTLE, a_stay_to_settle(25_000))
    answer = world.answered(taken.case_id)

    assert (answer["status"], answer["total"]) == ("settled", "250.00")
    assert said(world, T.FEES_QUERY, {"institution": HOSPITAL, "visit_no": "V-1"})["settled"] is True
    assert refusal(world, T.DISCHARGE_CANCEL, an_undo("DC-1")) == "visit.settled"
    world.cancel()
    eventually(lambda: world.answers(taken.case_id)[-1]["status"] == "cancelled")
    assert said(world, T.DISCHARGE_CANCEL, an_undo("DC-2"))["state"] == "admitted"
    assert said(world, T.FEES_CANCEL, an_undo("FC-1"))["lines"] == 0
    assert said(world, T.ADMISSION_CANCEL, an_undo("AC-1"))["state"] == "cancelled"
    assert said(world, T.ADMISSION_REGISTER, an_admission(request_no="A-2"))["visit_id"] != first["visit_id"]


def test_each_step_needs_the_one_before(world):
    assert refusal(world, T.FEES_UPLOAD, a_fees_upload([a_line("1", 100)])) == "visit.not_found"
    assert refusal(world, T.SETTLE, a_stay_to_settle(100)) == "visit.missing"
    said(world, T.ADMISSION_REGISTER, an_admission())
    assert refusal(world, T.ADMISSION_REGISTER, an_admission(request_no="A-2")) == "visit.exists"
    assert refusal(world, T.DISCHARGE_CANCEL, an_undo("DC-1")) == "visit.admitted"
    assert refusal(world, T.SETTLE, a_stay_to_settle(100)) == "visit.no_fees"
    said(world, T.FEES_UPLOAD, a_fees_upload([a_line("1", 100)]))
    assert refusal(world, T.SETTLE, a_stay_to_settle(100)) == "visit.admitted"
    assert refusal(world, T.ADMISSION_CANCEL, an_undo("AC-1")) == "visit.has_fees"
    said(world, T.DISCHARGE_REGISTER, a_discharge())
    assert refusal(world, T.FEES_UPLOAD, a_fees_upload([a_line("2", 100)], "F-2")) == "visit.discharged"
    assert refusal(world, T.FEES_CANCEL, an_undo("FC-1")) == "visit.discharged"
    assert refusal(world, T.SETTLE, a_stay_to_settle(101)) == "visit.total_differs"
    assert refusal(world, T.SETTLE, a_stay_to_settle(100, visit_no="V-9")) == "visit.missing"
    assert world.count("settlement_case") == 0


def test_a_trial_may_come_before_the_discharge_and_leaves_the_visit_as_it_was(world):
    said(world, T.ADMISSION_REGISTER, an_admission())
    said(world, T.FEES_UPLOAD, a_fees_upload([a_line("1", 100)]))

    taken = world.send(T.TRIAL, a_stay_to_settle(100))

    assert world.answered(taken.case_id)["status"] == "trial"
    assert said(world, T.FEES_QUERY, {"institution": HOSPITAL, "visit_no": "V-1"})["settled"] is False


def test_a_visit_is_settled_once_and_the_repeat_gets_its_answer(world):
    a_discharged_stay(world, 100)
    taken = world.send(T.SETTLE, a_stay_to_settle(100))
    world.answered(taken.case_id)

    assert refusal(world, T.SETTLE, a_stay_to_settle(100, "S-2")) == "visit.settled"
    again = world.send(T.SETTLE, a_stay_to_settle(100))
    assert again.repeated
    assert again.case_id == taken.case_id


def test_two_settlements_of_one_visit_in_one_batch_are_one(world):
    a_discharged_stay(world, 100)
    pair = [world.inbound(T.SETTLE, a_stay_to_settle(100, number)) for number in ("S-1", "S-2")]

    first, second = world.hub.desk.take(pair)

    assert first.error is None
    assert second.error.code == "visit.settled"


def an_outpatient_bill(*lines: dict[str, Any], settlement_no: str = "S-1") -> dict[str, Any]:
    bill = a_stay_to_settle(1, settlement_no)
    total = sum(round(float(line["amount"]) * 100) for line in lines)
    visit = {key: value for key, value in bill["visit"].items() if key != "ended_at"}
    visit |= {"kind": "outpatient", "medical_type": "11"}
    return bill | {"visit": visit, "fees": list(lines), "total": f"{total / 100:.2f}"}


def test_an_outpatient_visit_is_settled_batch_by_batch(world):
    said(world, T.ADMISSION_REGISTER, an_admission(kind="outpatient", medical_type="11"))
    registration, drugs, more = a_line("1", 1_000), a_line("2", 5_000), a_line("3", 700)
    said(world, T.FEES_UPLOAD, a_fees_upload([registration]))
    first = world.send(T.SETTLE, an_outpatient_bill(registration))
    assert world.answered(first.case_id)["total"] == "10.00"

    said(world, T.FEES_UPLOAD, a_fees_upload([drugs, more], "F-2"))
    assert refusal(world, T.SETTLE, an_outpatient_bill(registration, settlement_no="S-2")) == "visit.total_differs"
    second = world.send(T.SETTLE, an_outpatient_bill(drugs, settlement_no="S-2"))
    assert world.answered(second.case_id)["total"] == "50.00"
    assert world.send(T.SETTLE, an_outpatient_bill(registration)).repeated
    query = {"institution": HOSPITAL, "visit_no": "V-1"}
    held = [one.get("settled_by") for one in said(world, T.FEES_QUERY, query)["fees"]]
    assert held == ["S-1", "S-2", None]
    assert refusal(world, T.FEES_CANCEL, an_undo("FC-1", line_nos=["2"])) == "line.not_found"
    refund = a_line("4", -1_000, refunds="1")
    assert refusal(world, T.FEES_UPLOAD, a_fees_upload([refund], "F-3")) == "line.refund"
    assert said(world, T.FEES_CANCEL, an_undo("FC-2", line_nos=["3"]))["lines"] == 2

    world.cancel("S-1")
    eventually(lambda: world.answers(first.case_id)[-1]["status"] == "cancelled")
    third = world.send(T.SETTLE, an_outpatient_bill(registration, settlement_no="S-3"))
    world.answered(third.case_id)
    with world.database.connect() as connection:
        assert [visits.held_by_another(connection, one.case_id) for one in (first, second, third)] == [
            True,
            False,
            False,
        ]
    world.cancel("S-3")
    eventually(lambda: world.answers(third.case_id)[-1]["status"] == "cancelled")
    assert said(world, T.FEES_UPLOAD, a_fees_upload([refund], "F-4"))["total"] == "50.00"


def test_a_repeated_request_gets_the_same_answer_and_another_content_is_a_conflict(world):
    said(world, T.ADMISSION_REGISTER, an_admission())
    first = world.send(T.FEES_UPLOAD, a_fees_upload([a_line("1", 100)]))
    again = world.send(T.FEES_UPLOAD, a_fees_upload([a_line("1", 100)]))

    assert again.repeated
    assert again.answer == first.answer
    assert refusal(world, T.FEES_UPLOAD, a_fees_upload([a_line("1", 200)])) == "request.reused"
    assert said(world, T.FEES_QUERY, {"institution": HOSPITAL, "visit_no": "V-1"})["total"] == "1.00"


def test_lines_come_all_or_none_and_refunds_fit_what_they_refund(world):
    said(world, T.ADMISSION_REGISTER, an_admission())
    said(world, T.FEES_UPLOAD, a_fees_upload([a_line("1", 100)]))

    taken = world.send(T.FEES_UPLOAD, a_fees_upload([a_line("2", 100), a_line("1", 100)], "F-2"))
    assert [one.field for one in taken.error.violations] == ["lines[1]"]
    for wrong in (a_line("3", -200, refunds="1"), a_line("3", -100, refunds="9")):
        assert refusal(world, T.FEES_UPLOAD, a_fees_upload([wrong], f"F-{wrong['amount']}")) == "line.refund"
    said(world, T.FEES_UPLOAD, a_fees_upload([a_line("3", -100, refunds="1")], "F-3"))
    assert refusal(world, T.FEES_CANCEL, an_undo("FC-1", line_nos=["1"])) == "line.refund"
    assert refusal(world, T.FEES_CANCEL, an_undo("FC-2", line_nos=["7"])) == "line.not_found"
    left = said(world, T.FEES_CANCEL, an_undo("FC-3", batch_no="B-F-3"))
    assert (left["lines"], left["total"]) == (1, "1.00")


def test_another_hospital_has_nothing_to_say_and_its_basic_system_has(world):
    assert refusal(world, T.ADMISSION_REGISTER, an_admission(), party="H44030000002") == "party.forbidden"
    assert refusal(world, T.ADMISSION_REGISTER, an_admission(), party=CRITICAL) == "party.forbidden"
    assert said(world, T.ADMISSION_REGISTER, an_admission(), party=BASIC)["state"] == "admitted"


def test_payers_are_told_in_order_whatever_becomes_of_the_answers(world):
    insurer = world.payers[CRITICAL]
    insurer.moods = ["busy", "lost", "taken"]

    a_discharged_stay(world, 100)

    told = ["admission.register", "fees.upload", "discharge.register"]
    eventually(lambda: insurer.told == told, within_s=60)
    assert len({one["request_id"] for one in insurer.heard}) == 3
    query = {"institution": HOSPITAL, "visit_no": "V-1"}
    eventually(lambda: [one["state"] for one in said(world, T.FEES_QUERY, query)["notices"]] == ["taken"] * 3)
    said(world, T.DISCHARGE_CANCEL, an_undo("DC-1"))
    eventually(lambda: insurer.told == [*told, "discharge.cancel"])
    undo = insurer.notes[-1]
    assert undo["original_request_id"] == insurer.notes[2]["request_id"]
    assert undo["original_reference"] == "N-discharge.register"


def test_what_a_payer_refused_is_not_taken_back(world):
    insurer = world.payers[CRITICAL]
    insurer.moods = ["refused"]
    said(world, T.ADMISSION_REGISTER, an_admission())
    query = {"institution": HOSPITAL, "visit_no": "V-1"}
    eventually(lambda: [one["state"] for one in said(world, T.FEES_QUERY, query)["notices"]] == ["refused"])

    said(world, T.ADMISSION_CANCEL, an_undo("AC-1"))

    eventually(lambda: _notice_states(world) == ["refused", "withdrawn"])
    assert len(insurer.heard) == 1


def _notice_states(world: TestHub) -> list[str]:
    with world.database.connect() as connection:
        return [state for (state,) in connection.exec_driver_sql("SELECT state FROM notice ORDER BY place")]


def test_numbers_are_drawn_once_for_a_request_and_never_twice(world):
    moment = world.clock.now()
    wanted = [Wanted(f"R-{n}", "P", HOSPITAL, 3) for n in range(3)]
    with world.database.begin() as connection:
        first = numbers.draw(connection, wanted, moment)
        again = numbers.draw(connection, [*wanted, Wanted("R-9", "P", HOSPITAL, 1)], moment)

    assert sorted(one.first for one in first.values()) == [0, 3, 6]
    assert {name: again[name] for name in first} == first
    assert again["R-9"].first == 9


def test_numbers_are_drawn_in_one_order_whatever_order_the_commands_come_in(database_url, monkeypatch):
    drawn = []
    draw = numbers.draw

    def noted(connection, wanted, at):
        drawn.extend(one.institution for one in wanted)
        return draw(connection, wanted, at)

    monkeypatch.setattr(numbers, "draw", noted)
    with a_hub(database_url, BASIC_RULE, payers={BASIC: ToldPayer(numbers=1)}, running=False) as hub:
        for institution in (HOSPITAL, OTHER_HOSPITAL):
            hub.send(T.SETTLE, a_settle_request(institution=institution), party=institution)
        commands = [body for _, body in hub.commands()]
        hub.handle(BASIC, *reversed(commands))

    assert drawn == [HOSPITAL, OTHER_HOSPITAL]


def test_a_second_in_which_the_serials_come_round_is_given_once(world):
    moment = world.clock.now().replace(microsecond=0)
    earlier = moment - timedelta(seconds=30)
    with world.database.begin() as connection:
        drawn = [
            numbers.draw(connection, [Wanted(f"R-{n}", "P", HOSPITAL, 128)], at)[f"R-{n}"]
            for n, at in enumerate([moment] * 80 + [earlier] * 80)
        ]

    said = {(one.at.replace(microsecond=0), (one.first + n) % 10_000) for one in drawn for n in range(128)}
    assert len(said) == 160 * 128


GIVEN_BASIC = {
    "layer": "basic",
    "payer": BASIC,
    "amount": "60.00",
    "reference": "SETL-1",
    "figures": {"in_scope": "90.00", "account": "10.00"},
    "decided_at": "2026-03-05T11:00:00+08:00",
}
GIVEN_CRITICAL = {"layer": "critical_illness", "payer": CRITICAL, "amount": "20.00", "reference": "CI-1"}


def a_world_where_basic_adjudicates(database_url, *, critical: bool, called: str):
    own = {"adjudicated_by": "basic", "called": called}
    rules = [BASIC_RULE | own, CRITICAL_RULE | (own if critical else {})]
    told = a_party(CRITICAL, notices=EVERYTHING)
    return a_hub(
        database_url,
        *rules,
        payers={CRITICAL: ToldPayer()},
        parties=[BASIC_SYSTEM, told],
        **a_book_with_visits("optional"),
    )


def test_mode_a_the_basic_system_adjudicates_its_part_and_the_hub_asks_the_others(database_url):
    with a_world_where_basic_adjudicates(database_url, critical=False, called="sync") as world:
        bill = a_stay_to_settle(10_000, adjudicated=[GIVEN_BASIC])
        taken = world.send(T.SETTLE, bill, party=BASIC)
        answer = world.answered(taken.case_id)

        assert [(one["payer"], one["amount"]) for one in answer["shares"]] == [(BASIC, "60.00"), (CRITICAL, "15.00")]
        assert (answer["account"], answer["cash"], answer["business_day"]) == ("10.00", "15.00", "2026-03-05")
        assert world.payers[BASIC].calls == []
        world.cancel(party=BASIC)
        eventually(lambda: world.answers(taken.case_id)[-1]["status"] == "cancelled")
        assert world.payers[BASIC].calls == []
        assert world.payers[CRITICAL].net_fen == 0
        assert broken(world.database) == {}


def test_mode_b_is_recorded_and_told_and_never_adjudicated(database_url):
    with a_world_where_basic_adjudicates(database_url, critical=True, called="post_upload") as world:
        insurer = world.payers[CRITICAL]
        bill = a_stay_to_settle(10_000, adjudicated=[GIVEN_BASIC, GIVEN_CRITICAL])

        assert refusal(world, T.SETTLE, bill, party=BASIC) == "message.invalid"
        taken = world.send(T.ADJUDICATION_UPLOAD, bill, party=BASIC)
        answer = world.answered(taken.case_id)
        assert (answer["status"], answer["cash"]) == ("settled", "10.00")
        again = world.send(T.ADJUDICATION_UPLOAD, bill, party=BASIC)
        assert again.repeated
        eventually(lambda: insurer.told == ["adjudication.upload"])
        assert insurer.notes[0]["request_id"] == world.case(taken.case_id).leg(2).request_id
        world.cancel(party=BASIC)
        eventually(lambda: insurer.told == ["adjudication.upload", "settlement.cancel"])
        assert world.answers(taken.case_id)[-1]["status"] == "cancelled"
        assert insurer.calls == world.payers[BASIC].calls == []
        assert broken(world.database) == {}


def test_what_is_uploaded_may_leave_a_part_to_a_payer_that_adjudicates_itself(database_url):
    with a_world_where_basic_adjudicates(database_url, critical=False, called="post_upload") as world:
        bill = a_stay_to_settle(10_000, adjudicated=[GIVEN_BASIC])

        taken = world.send(T.ADJUDICATION_UPLOAD, bill, party=BASIC)

        answer = world.answered(taken.case_id)
        assert [(one["payer"], one["amount"]) for one in answer["shares"]] == [(BASIC, "60.00"), (CRITICAL, "15.00")]
        assert world.payers[BASIC].calls == []
        assert len(world.payers[CRITICAL].calls) == 1
        assert broken(world.database) == {}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ([], "adjudicated.missing"),
        ([GIVEN_BASIC, GIVEN_CRITICAL], "adjudicated.unplanned"),
        ([GIVEN_BASIC | {"payer": "BASIC-450100"}], "adjudicated.missing"),
    ],
)
def test_rules_and_message_must_agree_on_who_adjudicates(database_url, given, code):
    with a_world_where_basic_adjudicates(database_url, critical=False, called="sync") as world:
        taken = world.send(T.SETTLE, a_stay_to_settle(10_000, adjudicated=given), party=BASIC)

        assert [one.code for one in taken.error.violations] == [code]
        assert world.count("settlement_case") == 0


def test_a_payer_that_adjudicates_itself_is_not_told_what_it_would_have_said(database_url):
    with a_hub(database_url, BASIC_RULE, a_rule("critical", "critical_illness", CRITICAL)) as world:
        taken = world.send(T.ADJUDICATION_UPLOAD, a_stay_to_settle(10_000, adjudicated=[GIVEN_BASIC]))

        assert [one.code for one in taken.error.violations] == ["mode.sync"]


def test_people_have_a_refused_notice_said_again_under_the_same_id(world):
    insurer = world.payers[CRITICAL]
    insurer.moods = ["refused"]
    said(world, T.ADMISSION_REGISTER, an_admission())
    eventually(lambda: _notice_states(world) == ["refused"])
    (request_id,) = {one["request_id"] for one in insurer.heard}
    office = open_office(world.hub.work_units, world.clock, lambda: world.hub.layout, lambda: world.hub.payers)

    office.actions.request("notice.retry", f"notice/{request_id}", {}, "they entered the policy", "li")

    eventually(lambda: _notice_states(world) == ["taken"])
    assert [one["request_id"] for one in insurer.heard] == [request_id] * 2
    with pytest.raises(Conflict):
        office.actions.request("notice.close", f"notice/{request_id}", {}, "too late", "li")


def test_a_notice_that_was_refused_is_an_incident_until_it_is_closed(world):
    world.payers[CRITICAL].moods = ["refused"]
    said(world, T.ADMISSION_REGISTER, an_admission())
    eventually(lambda: _notice_states(world) == ["refused"])
    moment = world.clock.now()
    with world.database.begin() as connection:
        incidents.observe(connection, "notice.refused", moment, 120.0)
        (found,) = incidents.listed(connection)
    told = words(found.kind, found.subject, found.facts)
    assert "refused admission.register" in told.summary
    assert told.command.startswith("hub notice show ")
