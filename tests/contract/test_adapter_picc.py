"""The PICC dialect against the sandbox's insurer of that type, which reads and writes it by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import pytest

from sandbox.faults import FaultKind
from sandbox.parties_dialects import PINGJIA, PINGJIA_PRODUCT
from sandbox.server import CastSettings, Sandbox
from schemas.codes import InsuranceType, Layer, Outcome
from schemas.errors import HubError, InvalidMessage, OutcomeUnknown, Unavailable
from schemas.master import InstitutionRow, InstitutionUpload, PopulationImport, PopulationRow
from schemas.payer import EarlierShare, Operation, PayerTask
from schemas.settlement import CancelRequest
from schemas.visit import FeesUpload, UploadedLine
from tests.support.dialect_payers import DialectPayer, a_notice, a_record, a_stay, a_stay_task, cancel_of

ANEW = "0198a1b2c3d4e5f60718293a4b5c6d7f-2"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(CastSettings(dialects=True)) as started:
        yield started


@pytest.fixture
def insurer(sandbox: Sandbox) -> DialectPayer:
    return DialectPayer(sandbox, "insurer.picc", PINGJIA)


def a_claim(**changes) -> PayerTask:
    return a_stay_task(PINGJIA, PINGJIA_PRODUCT, layer=Layer.SUPPLEMENTARY, policy_no="PJ-1", **changes)


def test_a_claim_is_settled_and_cancelled_once(insurer: DialectPayer) -> None:
    settled = insurer.ask(a_claim())

    assert settled.outcome is Outcome.APPROVED
    # compliant, net of basic: 27,000 in scope - 15,000 paid; less the deductible of 500, 60 % of it
    assert settled.amount_fen == 6_900_00
    assert settled.reason_zh
    assert insurer.book.totals().net_fen == settled.amount_fen

    cancelled = insurer.ask(cancel_of(a_claim(), settled))

    assert (cancelled.outcome, cancelled.amount_fen) == (Outcome.CANCELLED, settled.amount_fen)
    assert insurer.ask(cancel_of(a_claim(), settled)) == cancelled
    assert insurer.book.totals().net_fen == 0
    assert {entry.settlement_no for entry in insurer.book.entries()} == {a_stay().settlement_no}


def test_what_other_payers_bear_comes_off(insurer: DialectPayer) -> None:
    earlier = (EarlierShare("YONGTAI", Layer.CRITICAL_ILLNESS, 6_000_00),)

    assert insurer.ask(a_claim(earlier=earlier)).amount_fen == (12_000_00 - 6_000_00 - 500_00) * 60 // 100


def test_a_settlement_made_anew_after_its_cancel_has_another_receipt(insurer: DialectPayer) -> None:
    settled = insurer.ask(a_claim())
    insurer.ask(cancel_of(a_claim(), settled))

    under_the_old = insurer.ask(a_claim())
    anew = insurer.ask(a_claim(request_id=ANEW))

    assert (under_the_old.outcome, anew.outcome) == (Outcome.DECLINED, Outcome.APPROVED)
    assert insurer.book.totals().net_fen == anew.amount_fen


def test_repeated_fee_lines_are_known_for_what_they_are(insurer: DialectPayer) -> None:
    insurer.fails(FaultKind.LOST_ANSWER, operation=Operation.SETTLE)
    with pytest.raises(OutcomeUnknown):
        insurer.ask(a_claim(), fee_lines_max="2")

    # every line is answered as a duplicate of ours: the conversation may go on
    assert insurer.ask(a_claim(), fee_lines_max="2").outcome is Outcome.APPROVED


def test_lines_of_which_only_some_are_new_are_held(insurer: DialectPayer) -> None:
    insurer.ask(a_claim(), fee_lines_max="2")

    with pytest.raises(InvalidMessage) as held:
        insurer.ask(a_claim(request=a_stay(lines=7)), fee_lines_max="4")

    assert [violation.field for violation in held.value.violations] == ["Description", "CalculateDetailAmount"]


def test_a_settlement_without_its_lines_is_refused(insurer: DialectPayer) -> None:
    decision = insurer.ask(a_claim(), fees="by_notice")

    assert (decision.outcome, decision.reason_zh) == (Outcome.DECLINED, "费用明细与总额不符")


def test_lines_and_refunds_may_come_as_notices_before(insurer: DialectPayer) -> None:
    stay = a_stay()
    lines = [UploadedLine(**dict(line)) for line in stay.fees]
    extra = lines[0].model_copy(update={"line_no": "X1"})
    refund = extra.model_copy(
        update={"line_no": "X2", "quantity": -extra.quantity, "amount": -extra.amount, "refunds": "X1"}
    )
    who = {"institution": stay.institution, "visit_no": stay.visit.visit_no, "request_no": "1", "batch_no": "1"}
    notice = a_notice("fees.upload", PINGJIA, FeesUpload(**who, lines=(*lines, extra, refund)))

    told = [insurer.tell(notice, fee_lines_max="3") for _ in range(2)]

    assert {decision.outcome for decision in told} == {Outcome.APPROVED}
    assert insurer.ask(a_claim(), fees="by_notice").outcome is Outcome.APPROVED


def test_a_recorded_adjudication_is_taken_as_it_is_and_taken_back(insurer: DialectPayer) -> None:
    record = a_record(PINGJIA, 1_234_56)

    told, again = insurer.tell(record), insurer.tell(record)

    assert (told.outcome, told.amount_fen) == (Outcome.APPROVED, 1_234_56)
    assert told == again
    undo = CancelRequest(institution="H45010000001", settlement_no="S-1", cancel_no="C-1", reason="退费")
    undone = insurer.tell(
        a_notice("settlement.cancel", PINGJIA, undo, request_id="N-2", original_reference=told.payer_reference)
    )
    assert undone.outcome is Outcome.APPROVED
    assert insurer.book.totals().net_fen == 0


def test_institutions_and_persons_are_uploaded(insurer: DialectPayer) -> None:
    since = date(2026, 1, 1)
    hospital = InstitutionRow(code="H45010000001", name="示例医院", region="450100", valid_from=since)
    patient = a_stay().patient
    person = PopulationRow(
        id_type=patient.id_type,
        id_no=patient.id_no,
        name=patient.name,
        person_no="45010000000000012345",
        region="450100",
        insurance_type=InsuranceType.RESIDENT,
        valid_from=since,
    )
    institutions = InstitutionUpload(sender=PINGJIA, request_no="1", rows=(hospital,))
    people = PopulationImport(sender=PINGJIA, request_no="2", rows=(person,))

    for transaction, message in (("institution.upload", institutions), ("population.import", people)):
        assert insurer.tell(a_notice(transaction, PINGJIA, message)).outcome is Outcome.APPROVED


def test_a_refusal_pays_nothing(insurer: DialectPayer) -> None:
    insurance = a_stay().insurance.model_copy(update={"person_no": "4501-PAUSED"})

    decision = insurer.ask(a_claim(request=a_stay(insurance=insurance)))

    assert (decision.outcome, decision.amount_fen) == (Outcome.DECLINED, 0)
    assert insurer.book.totals().entries == 0


@pytest.mark.parametrize("operation", [Operation.TRIAL, Operation.REVERSE, Operation.INQUIRE])
def test_what_the_interface_has_no_word_for_is_refused_before_it_leaves(
    insurer: DialectPayer, operation: Operation
) -> None:
    with pytest.raises(InvalidMessage):
        insurer.ask(replace(a_claim(), operation=operation, original_request_id="R"))


def test_a_scheme_without_a_code_is_refused_before_it_leaves(insurer: DialectPayer) -> None:
    insurance = a_stay().insurance.model_copy(update={"type": InsuranceType.MATERNITY})
    task = a_claim(request=a_stay(insurance=insurance))

    with pytest.raises(InvalidMessage):
        insurer.ask(task)
    assert insurer.ask(task, insurance_kind="32").outcome is Outcome.APPROVED


@pytest.mark.parametrize("kind", [FaultKind.SILENT, FaultKind.HTTP_500, FaultKind.GARBAGE, FaultKind.LOST_ANSWER])
def test_trouble_before_the_effect_leaves_nothing_settled(insurer: DialectPayer, kind: FaultKind) -> None:
    insurer.fails(kind, seconds=0.01)

    with pytest.raises(Unavailable):
        insurer.ask(a_claim())

    assert insurer.book.totals().entries == 0
    assert insurer.ask(a_claim()).outcome is Outcome.APPROVED


def test_rubbish_and_answers_to_others_decide_nothing(insurer: DialectPayer) -> None:
    insurer.fails(FaultKind.GARBAGE, None, operation=Operation.SETTLE)

    for number in range(6):  # each kind of rubbish, and the answer to another request
        with pytest.raises(HubError) as refusal:
            insurer.ask(a_claim(request_id=f"{number}{ANEW[1:]}"))
        assert refusal.value.__class__ is not InvalidMessage, "nobody is called for what is no answer to us"


def test_amounts_that_contradict_the_request_are_held(insurer: DialectPayer) -> None:
    insurer.fails(FaultKind.WRONG_TOTAL, None)
    with pytest.raises(InvalidMessage):
        insurer.ask(a_claim())

    insurer.heals()
    settled = insurer.ask(a_claim())
    insurer.fails(FaultKind.WRONG_TOTAL, None)
    with pytest.raises(InvalidMessage):
        insurer.ask(cancel_of(a_claim(), settled))


def test_a_refused_cancel_leaves_the_settlement(insurer: DialectPayer) -> None:
    settled = insurer.ask(a_claim())
    insurer.fails(FaultKind.REFUSE_UNDO)

    assert insurer.ask(cancel_of(a_claim(), settled)).outcome is Outcome.DECLINED
    assert insurer.book.totals().net_fen == settled.amount_fen
