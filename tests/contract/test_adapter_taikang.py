"""The Taikang-type dialect against an insurer that speaks it by itself and holds the lines against the total."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from adapters.conversation import calls_of
from adapters.insurer.taikang.client import Taikang, TaikangRepeats
from adapters.registry import make_adapter
from sandbox.adjudication import CommercialPlan
from sandbox.book import Book
from sandbox.faults import Fault, FaultKind
from sandbox.insurer_taikang import PRODUCT, REFUSED_CODES, PlatformKeys, TaikangInsurer
from schemas.codes import FeeCategory, InsuranceType, Layer, MedicalType, Outcome, VisitKind
from schemas.errors import InvalidMessage, Malformed, OutcomeUnknown, Unavailable
from schemas.payer import (
    Decision,
    EarlierShare,
    MessageNumbers,
    Notice,
    Operation,
    PartySettings,
    PayerTask,
    RawAnswer,
)
from schemas.settlement import Diagnosis, Insurance
from schemas.visit import AdmissionCancel, AdmissionChange, AdmissionRegister, FeesCancel, FeesUpload, UploadedLine
from tests.support.one_party import listening
from tests.support.payer_tasks import a_fee, a_patient, a_request, an_insurer_task
from tests.support.scripted_server import Peer, scripted_server

CODE = "ZHIPEI"
KEYS = PlatformKeys("hub-app", "an app secret", "0123456789abcdef")
SECRETS = {"aes_key": "0123456789abcdef", "app_secret": "an app secret"}
OPTIONS = {
    "app_id": "hub-app",
    "receiver_code": "TK001",
    "receiver_name": "直赔健康险",
    "identity": "yes",
    "refused_codes": ",".join(REFUSED_CODES),
}
NUMBERS = MessageNumbers(datetime(2026, 3, 2, 2, 0, tzinfo=UTC), 17)
BILL = a_request(fees=(a_fee(1, price="3000.00"), a_fee(2, price="12.50", category=FeeCategory.BED)))
TASK = an_insurer_task(request=BILL, payer=CODE, product=PRODUCT, policy_no="TK-20250101-00000001", numbers=NUMBERS)
PAID = 1_446_00
"""80 % of the in-scope burden of 6,025.00 that the basic fund left."""


@contextmanager
def insurer(**options) -> Iterator[tuple[TaikangInsurer, Callable[..., Taikang]]]:
    """The insurer, and a maker of adapters that speak to it."""
    app = TaikangInsurer(CODE, Book(volatile=True), KEYS, **options)
    made: list[Taikang] = []

    def adapter(name: str = "insurer.taikang", secrets: dict[str, str] | None = None, **changes: str) -> Taikang:
        given = PartySettings(
            CODE, name, url, options=OPTIONS | changes, secrets=SECRETS if secrets is None else secrets
        )
        made.append(make_adapter(given))
        return made[-1]

    with listening(app) as url:
        try:
            yield app, adapter
        finally:
            for one in made:
                one.close()


def ask(adapter: Taikang, task: PayerTask = TASK, timeout_s: float = 5.0) -> Decision:
    return adapter.decode(task, adapter.send(adapter.prepare(task), timeout_s))


def tell(adapter: Taikang, notice: Notice) -> Decision:
    return adapter.decode_notice(notice, adapter.send(adapter.prepare_notice(notice), 5.0))


def cancel_of(decision: Decision) -> PayerTask:
    return replace(
        TASK,
        operation=Operation.CANCEL,
        request_id="R-CANCEL",
        original_request_id=TASK.request_id,
        original_reference=decision.payer_reference,
        original_amount_fen=decision.amount_fen,
        numbers=MessageNumbers(NUMBERS.at, 100),
    )


def test_a_settlement_is_identity_file_lines_and_settle():
    with insurer() as (app, adapter):
        decision = ask(adapter())

        assert (decision.outcome, decision.amount_fen) == (Outcome.APPROVED, PAID)
        assert decision.payer_reference
        assert "剩余额度" in decision.reason_zh
        assert app.calls == ["S200", "S210", "S260", "S250", "S291"]
        assert app.book.totals().settled_fen == PAID
        assert app.book.entries()[0].request_id == TASK.request_id


def test_what_is_cancelled_is_undone_once():
    with insurer() as (app, adapter):
        made = adapter()
        undo = cancel_of(ask(made))

        first, again = ask(made, undo), ask(made, undo)

        assert (first.outcome, first.amount_fen) == (Outcome.CANCELLED, PAID)
        assert (again.outcome, again.amount_fen) == (Outcome.CANCELLED, PAID)
        assert app.book.totals().net_fen == 0


def test_a_trial_leaves_nothing_that_a_settlement_would_stumble_over():
    with insurer() as (app, adapter):
        made = adapter()
        other = a_request(fees=(a_fee(1, price="9.00"),))
        trial = replace(TASK, operation=Operation.TRIAL, request=other, basic=None, left_fen=other.total)

        assert ask(made, trial).outcome is Outcome.DECLINED
        assert ask(made, replace(TASK, operation=Operation.TRIAL)).amount_fen == PAID
        assert app.book.totals().entries == 0
        assert ask(made).amount_fen == PAID


def test_many_lines_go_in_chunks_of_a_hundred():
    fees = tuple(a_fee(number) for number in range(1, 251))
    request = a_request(fees=fees)
    task = an_insurer_task(request=request, payer=CODE, product=PRODUCT, numbers=NUMBERS)
    with insurer() as (app, adapter):
        decision = ask(adapter(), task)

        assert decision.outcome is Outcome.APPROVED
        assert app.calls.count("S250") == 3
        assert len(app.lines_of("V-1")) == 250


def test_a_chunk_that_is_refused_takes_the_others_back():
    fees = (*(a_fee(number) for number in range(1, 151)), a_fee(151, item_code="NO-SUCH-ITEM"))
    task = an_insurer_task(request=a_request(fees=fees), payer=CODE, product=PRODUCT, numbers=NUMBERS)
    with insurer() as (app, adapter):
        app.refused_items.add("NO-SUCH-ITEM")

        decision = ask(adapter(), task)

        assert (decision.outcome, decision.reason_code) == (Outcome.DECLINED, "E250")
        assert decision.reason_zh == "项目编码不存在"
        assert app.calls == ["S200", "S210", "S260", "S250", "S250", "S260"]
        assert app.lines_of("V-1") == {}


def test_a_refusal_that_nobody_documented_settles_nothing_and_is_tried_again():
    with insurer() as (app, adapter):
        app.refused_items.add(BILL.fees[0].item_code)

        with pytest.raises(Unavailable):
            ask(adapter(refused_codes="E100"))

        assert app.book.totals().entries == 0


def test_a_person_without_a_policy_is_declined_before_anything_is_opened():
    with insurer() as (app, adapter):
        app.uninsured.add(BILL.patient.id_no)

        decision = ask(adapter())

        assert (decision.outcome, decision.reason_code) == (Outcome.DECLINED, "no_policy")
        assert app.calls == ["S200"]
        assert ask(adapter(identity="no")).outcome is Outcome.APPROVED


def test_what_cannot_be_decided_at_once_is_deferred_with_the_insurers_reason():
    plan = CommercialPlan(PRODUCT, deductible_fen=0, percent=80, cap_fen=50_000_00, review_above_fen=1)
    with insurer(plan=plan) as (_, adapter):
        decision = ask(adapter())

    assert (decision.outcome, decision.amount_fen) == (Outcome.DEFERRED, 0)
    assert (decision.reason_code, decision.reason_zh) == ("non_immediate", "金额较大，转人工审核")
    assert decision.payer_reference


def test_an_exclusion_is_a_refusal_with_its_reason():
    excluded = BILL.model_copy(update={"diagnoses": (Diagnosis(code="Z41.100", name="美容手术", main=True),)})
    with insurer() as (_, adapter):
        decision = ask(adapter(), replace(TASK, request=excluded))

    assert (decision.outcome, decision.reason_code) == (Outcome.DECLINED, "waiver")
    assert decision.reason_zh == "诊断属于责任免除"


def test_every_figure_of_the_bill_adds_up_for_the_insurer():
    funds = (("310100", 1000_00), ("320100", 200_00), ("390200", 30_00), ("610100", 40_00), ("999997", 5_00))
    fund_fen = sum(fen for _, fen in funds)
    basic = replace(TASK.basic, fund_fen=fund_fen, account_fen=100_00, hospital_fen=3_00, funds=funds)
    earlier = (EarlierShare("CICI", Layer.CRITICAL_ILLNESS, 70_00), EarlierShare("ANKANG", Layer.COMMERCIAL, 80_00))
    left_fen = BILL.total - fund_fen - 100_00 - 3_00 - 150_00
    with insurer() as (_, adapter):
        decision = ask(adapter(), replace(TASK, basic=basic, earlier=earlier, left_fen=left_fen))

    assert decision.outcome is Outcome.APPROVED


@pytest.mark.parametrize("kind", [VisitKind.OUTPATIENT, VisitKind.INPATIENT])
def test_a_self_paid_bill_is_settled_too(kind):
    request = BILL
    if kind is VisitKind.INPATIENT:
        ended_at = datetime(2026, 3, 9, 4, 0, tzinfo=UTC)
        changed = {"kind": kind, "medical_type": MedicalType.INPATIENT, "ended_at": ended_at}
        request = BILL.model_copy(update={"visit": BILL.visit.model_copy(update=changed)})
    task = replace(TASK, request=request, basic=None, left_fen=request.total)
    plan = CommercialPlan(PRODUCT, deductible_fen=0, percent=50, cap_fen=50_000_00, only_in_catalogue=False)
    with insurer(plan=plan) as (_, adapter):
        assert ask(adapter(), task).amount_fen == request.total // 2


def test_an_expired_token_is_renewed_once_and_the_call_repeated():
    with insurer() as (app, adapter):
        made = adapter()
        ask(made, replace(TASK, operation=Operation.TRIAL))
        app.forget_tokens()

        assert ask(made).outcome is Outcome.APPROVED
        assert app.book.totals().settled == 1


def test_a_token_that_expires_at_the_settle_is_renewed_and_settles_once():
    with insurer() as (app, adapter):
        app.faults.set([Fault(kind=FaultKind.TOKEN_EXPIRED, operation=Operation.SETTLE, count=1)])

        assert ask(adapter()).outcome is Outcome.APPROVED
        assert (app.calls.count("S291"), app.book.totals().settled) == (2, 1)


def test_a_token_that_is_never_good_settles_nothing():
    with insurer() as (app, adapter):
        app.faults.set([Fault(kind=FaultKind.TOKEN_EXPIRED, operation=Operation.SETTLE)])

        with pytest.raises(Unavailable) as error:
            ask(adapter())

        assert error.value.code == "token.refused"
        assert (app.calls.count("S291"), app.book.totals().entries) == (2, 0)


def test_nobody_waits_longer_than_its_time_for_a_token_that_does_not_come():
    released = threading.Event()

    def silent(peer: Peer) -> None:
        peer.read_request()
        released.wait(5)

    with scripted_server(silent) as server, ThreadPoolExecutor(4) as pool:
        made = make_adapter(PartySettings(CODE, "insurer.taikang", server.url, options=OPTIONS, secrets=SECRETS))
        asked = [pool.submit(ask, made, TASK, 0.2) for _ in range(4)]
        endings = [one.exception(5) for one in asked]
        released.set()
        made.close()

    assert [type(one) for one in endings] == [Unavailable] * 4


@pytest.mark.parametrize("secrets", [{}, {**SECRETS, "app_secret": "wrong"}], ids=["no keys", "a wrong secret"])
def test_without_keys_nothing_is_called(secrets):
    with insurer() as (app, adapter), pytest.raises(Unavailable):
        ask(adapter(secrets=secrets))

    assert app.calls == []


def test_a_wrong_key_settles_nothing():
    with insurer() as (app, adapter), pytest.raises(Unavailable):
        ask(adapter(secrets={**SECRETS, "aes_key": "fedcba9876543210"}))

    assert app.book.totals().entries == 0


@pytest.mark.parametrize(
    "kind", [FaultKind.LOST_ANSWER, FaultKind.SILENT, FaultKind.DELAYED_EFFECT], ids=lambda kind: kind.value
)
def test_a_lost_answer_to_the_settle_is_a_doubt(kind):
    with insurer() as (app, adapter):
        app.faults.set([Fault(kind=kind, operation=Operation.SETTLE, seconds=5)])

        with pytest.raises(OutcomeUnknown):
            ask(adapter(), timeout_s=1.0)


def test_whether_a_repeat_is_answered_is_a_matter_of_agreement():
    with insurer() as (app, adapter):
        made = adapter()
        ask(made)
        assert ask(made) == Decision(Outcome.UNKNOWN, raw_code="E409")
        assert app.book.totals().settled == 1

    with insurer(repeats=True) as (app, adapter):
        made = adapter("insurer.taikang.repeats")
        assert ask(made) == ask(made)
        assert app.book.totals().settled == 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FaultKind.WRONG_TOTAL, "InvalidMessage"),
        (FaultKind.HTTP_500, Outcome.UNKNOWN),
        (FaultKind.GARBAGE, Outcome.UNKNOWN),
    ],
    ids=lambda value: getattr(value, "value", value),
)
def test_a_wrong_answer_is_never_booked(kind, expected):
    with insurer() as (app, adapter):
        made = adapter()
        app.faults.set([Fault(kind=kind, operation=Operation.SETTLE)])
        answers = [made.send(made.prepare(replace(TASK, request_id=f"R-{turn}")), 5.0) for turn in range(6)]

        for answer in answers:
            try:
                found: object = made.decode(TASK, answer).outcome
            except (Malformed, OutcomeUnknown):
                found = Outcome.UNKNOWN
            except Exception as error:  # noqa: BLE001
                found = type(error).__name__
            assert found == expected or (kind is FaultKind.GARBAGE and found is Outcome.UNKNOWN)


def test_the_customer_accepts_what_is_within_the_bill():
    with insurer() as (app, adapter):
        decision = ask(adapter(confirm_products=f"OTHER, {PRODUCT}"))

        assert (decision.outcome, decision.amount_fen) == (Outcome.APPROVED, PAID)
        assert app.calls[-2:] == ["S300", "S310"]
        assert app.book.totals().net_fen == PAID


def test_what_exceeds_the_bill_is_declined_for_the_customer_and_taken_back(monkeypatch):
    with insurer() as (app, adapter):
        monkeypatch.setitem(app._calls, "S300", lambda package: app._claim(package) | {"mngFinalPay": 99999.99})

        decision = ask(adapter(confirm_products=PRODUCT))

        assert (decision.outcome, decision.reason_code) == (Outcome.DECLINED, "not_accepted")
        assert app.book.totals().net_fen == 0


def test_a_claim_that_is_still_open_is_deferred(monkeypatch):
    with insurer() as (app, adapter):
        monkeypatch.setitem(app._calls, "S300", lambda package: app._claim(package) | {"mngFinalPay": ""})

        decision = ask(adapter(confirm_products=PRODUCT))

        assert (decision.outcome, decision.reason_code) == (Outcome.DEFERRED, "case_open")
        assert "S310" not in app.calls


def test_the_script_holds_every_word_before_it_is_said_and_the_transcript_can_be_read():
    with insurer() as (_, adapter):
        made = adapter()
        call = made.prepare(TASK)
        answer = made.send(call, 5.0)

    said = calls_of(answer)
    assert [one.name for one in said] == ["S200", "S210", "S260", "S250", "S291"]
    assert made.prepare(TASK) == call
    for one in said:
        assert b'"sendTradeNum":"20260302100000-H44030000001-0000' in one.sent
        assert one.answer.startswith(b'{"package"')
    assert len({one.sent.split(b'"sendTradeNum":"')[1][:40] for one in said}) == len(said)


def admission(**changes) -> AdmissionRegister:
    fields = {
        "institution": "H44030000001",
        "request_no": "Q-1",
        "visit_no": "V-1",
        "region": "440300",
        "patient": a_patient(),
        "insurance": Insurance(type=InsuranceType.EMPLOYEE, person_no="1", region="440300"),
        "kind": VisitKind.INPATIENT,
        "medical_type": MedicalType.INPATIENT,
        "admitted_at": datetime(2026, 3, 1, 1, 0, tzinfo=UTC),
        "diagnoses": (Diagnosis(code="E11.900", name="2型糖尿病", main=True),),
    }
    return AdmissionRegister(**fields | changes)


def a_line(number: int, quantity: str = "2", **changes) -> UploadedLine:
    fee = a_fee(number)
    amount = int(fee.price * Decimal(quantity) * 100)
    fields = fee.model_dump() | {"quantity": Decimal(quantity), "amount": amount}
    return UploadedLine(**fields | changes)


def notice(transaction: str, message: object, first: int = 1) -> Notice:
    return Notice(transaction, f"N-{first}", CODE, message, PRODUCT, numbers=MessageNumbers(NUMBERS.at, first * 100))


ABOUT = {"institution": "H44030000001", "visit_no": "V-1"}


def test_a_visit_is_told_and_taken_back_and_repeats_are_harmless():
    lines = (*(a_line(number) for number in range(1, 121)), a_line(121, "-1", refunds="L1"))
    upload = FeesUpload(**ABOUT, request_no="Q-2", batch_no="B-1", lines=lines)
    with insurer() as (app, adapter):
        made = adapter()
        register = notice("admission.register", admission())

        for _ in range(2):
            assert tell(made, register).outcome is Outcome.APPROVED
        for _ in range(2):
            assert tell(made, notice("fees.upload", upload, 2)).outcome is Outcome.APPROVED
        assert sum(app.lines_of("V-1").values()) == sum(line.amount for line in lines)

        one = FeesCancel(**ABOUT, request_no="Q-3", line_nos=("L2", "L3"), reason="错录")
        assert tell(made, notice("fees.cancel", one, 3)).outcome is Outcome.APPROVED
        assert len(app.lines_of("V-1")) == 119
        everything = FeesCancel(**ABOUT, request_no="Q-4", batch_no="B-1", reason="错录")
        assert tell(made, notice("fees.cancel", everything, 4)).outcome is Outcome.APPROVED
        assert app.lines_of("V-1") == {}

        away = AdmissionCancel(**ABOUT, request_no="Q-5", reason="错录")
        assert tell(made, notice("admission.cancel", away, 5)).outcome is Outcome.APPROVED
        assert not app.has_file("V-1")


def test_a_registration_is_changed():
    with insurer() as (app, adapter):
        made = adapter()
        tell(made, notice("admission.register", admission()))

        changed = AdmissionChange(**admission(patient=a_patient(phone="13800000000")).model_dump())

        assert tell(made, notice("admission.change", changed, 2)).outcome is Outcome.APPROVED
        assert app.calls == ["S210", "S230"]


def test_an_upload_without_a_registration_is_refused_and_one_with_a_bad_line_leaves_nothing():
    lines = (*(a_line(number) for number in range(1, 101)), a_line(101, item_code="NO-SUCH-ITEM"))
    upload = notice("fees.upload", FeesUpload(**ABOUT, request_no="Q-2", batch_no="B-1", lines=lines), 2)
    with insurer() as (app, adapter):
        made = adapter()
        app.refused_items.add("NO-SUCH-ITEM")

        refused = tell(made, upload)
        assert (refused.outcome, refused.reason_code) == (Outcome.DECLINED, "E210")

        tell(made, notice("admission.register", admission()))
        refused = tell(made, upload)
        assert (refused.outcome, refused.reason_code) == (Outcome.DECLINED, "E250")
        assert app.lines_of("V-1") == {}


def test_a_hub_that_is_the_sender_makes_visits_unique():
    with insurer() as (app, adapter):
        assert ask(adapter(sender_code="HUB1")).outcome is Outcome.APPROVED

        assert app.has_file("H44030000001-V-1")


def test_rubbish_is_no_transcript():
    with insurer() as (_, adapter):
        made = adapter()
        for body in (b"", b"[]", b"{}", b'[{"name":"S291"}]'):
            with pytest.raises(Malformed):
                made.decode(TASK, RawAnswer(body, 200, "application/vnd.settlement-hub.transcript+json"))


def test_what_the_guide_does_not_promise_is_not_declared():
    can = Taikang.capabilities

    assert not any((can.idempotent_submit, can.inquiry, can.reversal, can.by_queue))
    assert TaikangRepeats.capabilities == replace(can, idempotent_submit=True)
    for operation in (Operation.INQUIRE, Operation.REVERSE):
        with pytest.raises(InvalidMessage), insurer() as (_, adapter):
            adapter().prepare(replace(TASK, operation=operation))
