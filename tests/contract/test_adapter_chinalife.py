"""The China Life dialect against the sandbox's insurer of that type, which reads and writes it by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import pytest

from sandbox.faults import FaultKind
from sandbox.insurer_chinalife import NOT_FOUND, ChinaLifeInsurer
from sandbox.parties_dialects import YONGTAI, YONGTAI_PRODUCT
from sandbox.server import CastSettings, Sandbox
from schemas.codes import Outcome
from schemas.errors import HubError, InvalidMessage, OutcomeUnknown, Unavailable
from schemas.master import EnrolmentImport, EnrolmentRow
from schemas.payer import Decision, Operation, PayerTask
from schemas.settlement import CancelRequest
from schemas.visit import AdmissionCancel, AdmissionRegister, FeesUpload, UploadedLine
from tests.support.dialect_payers import (
    DialectPayer,
    a_notice,
    a_record,
    a_stay,
    a_stay_task,
    cancel_of,
    inquiry_of,
)
from tests.support.eventually import eventually

FLOWS = {
    "one_shot": {"flow": "one_shot"},
    "stepwise": {"flow": "stepwise", "fee_lines_max": "2"},
    "named": {"flow": "stepwise", "operations": "named"},
}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(CastSettings(dialects=True)) as started:
        yield started


@pytest.fixture(params=FLOWS)
def payer(request: pytest.FixtureRequest, sandbox: Sandbox) -> DialectPayer:
    return DialectPayer(sandbox, "insurer.chinalife", YONGTAI, FLOWS[request.param] | {"not_found": NOT_FOUND})


@pytest.fixture
def insurer(sandbox: Sandbox) -> DialectPayer:
    return DialectPayer(sandbox, "insurer.chinalife", YONGTAI, {"not_found": NOT_FOUND})


def a_claim(**changes) -> PayerTask:
    return a_stay_task(YONGTAI, YONGTAI_PRODUCT, **changes)


def of_person(suffix: str) -> PayerTask:
    insurance = a_stay().insurance.model_copy(update={"person_no": f"4501{suffix}"})
    return a_claim(request=a_stay(insurance=insurance), request_id="0198a1b2c3d4e5f60718293a4b5c6d7f-2")


def test_a_claim_is_settled_found_and_cancelled_once(payer: DialectPayer) -> None:
    settled = payer.ask(a_claim())
    found = payer.ask(inquiry_of(a_claim()))

    assert settled.outcome is Outcome.APPROVED
    # net of basic: (27,000 in scope - 15,000 paid - 2,000 deductible) x 60 %
    assert settled.amount_fen == 6_000_00
    assert settled.payer_reference
    assert found == settled
    assert payer.book.totals().net_fen == settled.amount_fen

    cancelled = payer.ask(cancel_of(a_claim(), settled))

    assert (cancelled.outcome, cancelled.amount_fen) == (Outcome.CANCELLED, settled.amount_fen)
    assert payer.ask(cancel_of(a_claim(), settled)) == cancelled
    assert payer.ask(inquiry_of(a_claim())).outcome is Outcome.NOT_FOUND
    assert payer.book.totals().net_fen == 0


def test_the_hospitals_own_number_reaches_the_insurers_book(payer: DialectPayer) -> None:
    payer.ask(a_claim())

    (entry,) = payer.book.entries()

    assert (entry.institution, entry.settlement_no) == (a_stay().institution, a_stay().settlement_no)


@pytest.mark.parametrize(
    ("suffix", "outcome"), [("-PAUSED", "declined"), ("-REVIEW", "deferred"), ("-EXCLUDED", "declined")]
)
def test_a_refusal_a_review_and_an_exclusion_pay_nothing(payer: DialectPayer, suffix: str, outcome: str) -> None:
    decision = payer.ask(of_person(suffix))

    assert (decision.outcome, decision.amount_fen) == (Outcome(outcome), 0)
    assert decision.reason_zh
    assert payer.book.totals().net_fen == 0


def test_fees_go_in_packages_of_the_agreed_size(insurer: DialectPayer) -> None:
    task = a_claim(request=a_stay(lines=7))
    made = insurer.made(flow="stepwise", fee_lines_max="3")

    bodies = made.prepare(task).body.decode().split("his_fee_detail_code&gt;")

    assert len(bodies) == 2 * 7 + 1
    assert insurer.ask(task, flow="stepwise", fee_lines_max="3").outcome is Outcome.APPROVED
    made.close()


def test_without_its_lines_a_claim_is_refused(insurer: DialectPayer) -> None:
    decision = insurer.ask(a_claim(), flow="after_notices")

    assert (decision.outcome, decision.reason_zh) == (Outcome.DECLINED, "未登记")


def test_a_claim_follows_what_notices_told(insurer: DialectPayer) -> None:
    stay = a_stay()
    who = {"institution": stay.institution, "request_no": "1", "visit_no": stay.visit.visit_no}
    register = AdmissionRegister(
        **who,
        region=stay.region,
        patient=stay.patient,
        insurance=stay.insurance,
        kind=stay.visit.kind,
        medical_type=stay.visit.medical_type,
        admitted_at=stay.visit.started_at,
    )
    lines = tuple(UploadedLine(**dict(line)) for line in stay.fees)
    upload = FeesUpload(**who, batch_no="1", lines=lines)

    told = [
        insurer.tell(a_notice("admission.register", YONGTAI, register)),
        insurer.tell(a_notice("fees.upload", YONGTAI, upload), fee_lines_max="2"),
        insurer.tell(a_notice("fees.upload", YONGTAI, upload), fee_lines_max="2"),
    ]

    assert {decision.outcome for decision in told} == {Outcome.APPROVED}
    assert insurer.ask(a_claim(), flow="after_notices").outcome is Outcome.APPROVED


def test_a_recorded_adjudication_is_taken_as_it_is_and_taken_back(payer: DialectPayer) -> None:
    record = a_record(YONGTAI, 1_234_56)

    told, again = payer.tell(record), payer.tell(record)

    assert (told.outcome, told.amount_fen) == (Outcome.APPROVED, 1_234_56)
    assert told == again
    assert payer.book.totals().net_fen == 1_234_56

    undo = CancelRequest(institution="H45010000001", settlement_no="S-1", cancel_no="C-1", reason="退费")
    undone = payer.tell(
        a_notice(
            "settlement.cancel",
            YONGTAI,
            undo,
            request_id="N-0002",
            original_request_id=record.request_id,
            original_reference=told.payer_reference,
        )
    )

    assert undone.outcome is Outcome.APPROVED
    assert payer.book.totals().net_fen == 0


def test_a_trial_and_a_reversal_cannot_be_expressed(insurer: DialectPayer) -> None:
    for operation in (Operation.TRIAL, Operation.REVERSE):
        with pytest.raises(InvalidMessage):
            insurer.ask(replace(a_claim(), operation=operation))


def test_a_lost_answer_is_found_by_the_query(payer: DialectPayer) -> None:
    payer.fails(FaultKind.LOST_ANSWER, operation=Operation.SETTLE)
    with pytest.raises(OutcomeUnknown):
        payer.ask(a_claim())

    assert payer.ask(inquiry_of(a_claim())).outcome is Outcome.APPROVED


def test_a_request_that_lies_inside_is_found_later(insurer: DialectPayer) -> None:
    insurer.fails(FaultKind.DELAYED_EFFECT, seconds=0.3)
    with pytest.raises(OutcomeUnknown):
        insurer.ask(a_claim())

    assert insurer.ask(inquiry_of(a_claim())).outcome is Outcome.NOT_FOUND
    assert eventually(lambda: insurer.ask(inquiry_of(a_claim())).outcome is Outcome.APPROVED)


@pytest.mark.parametrize("kind", [FaultKind.SILENT, FaultKind.HTTP_500, FaultKind.GARBAGE, FaultKind.LOST_ANSWER])
def test_trouble_before_the_effect_leaves_nothing_settled(insurer: DialectPayer, kind: FaultKind) -> None:
    insurer.fails(kind, seconds=0.01)

    with pytest.raises(Unavailable):
        insurer.ask(a_claim(), flow="stepwise")

    assert insurer.book.totals().entries == 0
    insurer.heals()
    assert insurer.ask(a_claim(), flow="stepwise").outcome is Outcome.APPROVED


def test_rubbish_and_answers_to_others_decide_nothing(insurer: DialectPayer) -> None:
    insurer.fails(FaultKind.GARBAGE, None)

    for _ in range(6):  # each kind of rubbish, and the answer to another request
        with pytest.raises(HubError) as refusal:
            insurer.ask(a_claim())
        assert refusal.value.__class__ is not InvalidMessage, "nobody is called for what is no answer to us"


@pytest.mark.parametrize("ask", ["settle", "inquire", "cancel"])
def test_amounts_that_contradict_the_request_are_held(payer: DialectPayer, ask: str) -> None:
    settled: Decision | None = payer.ask(a_claim()) if ask != "settle" else None
    payer.fails(FaultKind.WRONG_TOTAL, None)
    tasks = {"settle": a_claim(), "inquire": inquiry_of(a_claim())}

    with pytest.raises(InvalidMessage):
        payer.ask(cancel_of(a_claim(), settled) if settled and ask == "cancel" else tasks[ask])


def test_a_refused_cancel_leaves_the_settlement(payer: DialectPayer) -> None:
    settled = payer.ask(a_claim())
    payer.fails(FaultKind.REFUSE_UNDO)

    assert payer.ask(cancel_of(a_claim(), settled)).outcome is Outcome.DECLINED
    assert payer.book.totals().net_fen == settled.amount_fen


def test_answers_in_gbk_say_the_same(insurer: DialectPayer) -> None:
    app = insurer.sandbox.cast.apps[YONGTAI]
    assert isinstance(app, ChinaLifeInsurer)
    first = insurer.ask(a_claim())
    app.encoding = "GBK"

    assert insurer.ask(a_claim()) == first
    assert insurer.ask(of_person("-REVIEW")).reason_zh == "金额较大, 转人工审核"


def test_persons_are_uploaded_in_packages(payer: DialectPayer) -> None:
    patient = a_stay().patient
    row = EnrolmentRow(
        id_type=patient.id_type,
        id_no=patient.id_no,
        name=patient.name,
        region="450100",
        product=YONGTAI_PRODUCT,
        policy_no="YT-1",
        valid_from=date(2026, 1, 1),
    )
    upload = EnrolmentImport(sender=YONGTAI, request_no="1", rows=(row,) * 5)

    assert payer.tell(a_notice("enrolment.import", YONGTAI, upload)).outcome is Outcome.APPROVED


def test_what_the_interface_has_no_transaction_for_is_refused_before_it_leaves(insurer: DialectPayer) -> None:
    undo = AdmissionCancel(institution="H45010000001", request_no="1", visit_no="V-1", reason="误登记")

    with pytest.raises(InvalidMessage):
        insurer.tell(a_notice("admission.cancel", YONGTAI, undo))


def test_a_registration_that_the_insurer_has_already_counts_as_taken_in_the_agreed_words(insurer: DialectPayer) -> None:
    refused = insurer.ask(of_person("-PAUSED"), flow="stepwise")
    taken = insurer.ask(of_person("-PAUSED"), flow="stepwise", already_there="参保状态|已登记")

    # The words let the conversation go on to the compensation, which is refused for a reason of its own.
    assert (refused.reason_zh, taken.reason_zh) == ("参保状态异常, 暂停享受待遇", "未登记")
