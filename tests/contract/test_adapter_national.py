"""The client of national-style regions against the sandbox's region, which reads and writes the interface by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from crypto import sm2
from crypto.signing import BodySigning, EnvelopeSigning, GatewaySigning
from sandbox.adjudication import adjudicate_basic, bill_line, scheme_of
from sandbox.basic_national import Policy
from sandbox.faults import FaultKind
from schemas.codes import InsuranceType, Outcome, VisitKind
from schemas.errors import InvalidMessage, OutcomeUnknown, Unavailable
from schemas.payer import Operation
from tests.support.national_region import (
    INSTITUTION,
    PARTY,
    Region,
    a_bill,
    a_claim,
    a_region,
    cancel_of,
    inquiry_of,
    numbers,
    reversal_of,
)
from tests.support.payer_tasks import a_fee
from tests.support.sandbox_builders import cases

KINDS = pytest.mark.parametrize("kind", VisitKind)
PICKY = pytest.mark.parametrize("picky", [False, True], ids=["lenient", "picky"])


@pytest.fixture
def region() -> Iterator[Region]:
    with a_region() as made:
        yield made


@KINDS
@PICKY
def test_a_bill_is_settled_found_and_cancelled_once(kind: VisitKind, picky: bool) -> None:
    with a_region(Policy(picky=picky)) as region:
        client, claim = region.client(), a_claim(kind)

        settled = client.ask(claim)
        found = client.ask(inquiry_of(claim))

        assert settled.outcome is Outcome.APPROVED
        assert settled.amount_fen == region.net_fen > 0
        assert (found.basic, found.payer_reference) == (settled.basic, settled.payer_reference)

        cancelled = client.ask(cancel_of(claim, settled))

        assert (cancelled.outcome, cancelled.amount_fen) == (Outcome.CANCELLED, settled.amount_fen)
        assert client.ask(cancel_of(claim, settled)).outcome is Outcome.CANCELLED
        assert region.net_fen == 0
        assert client.ask(inquiry_of(claim)).outcome is Outcome.NOT_FOUND


@KINDS
def test_a_trial_leaves_nothing_and_tells_what_the_settlement_will(region: Region, kind: VisitKind) -> None:
    client, claim = region.client(), a_claim(kind)

    trial = client.ask(replace(claim, operation=Operation.TRIAL, numbers=numbers(5)))

    assert trial.outcome is Outcome.APPROVED
    assert trial.payer_reference is None
    assert region.net_fen == 0
    assert region.server.visits.of_person(claim.request.insurance.person_no, claim.request.visit.medical_type) == []
    assert client.ask(claim).basic == trial.basic


@KINDS
@PICKY
def test_an_attempt_that_broke_off_is_said_again(kind: VisitKind, picky: bool) -> None:
    """What an attempt before left behind is taken back first, also by a region that refuses what is said twice."""
    with a_region(Policy(picky=picky)) as region:
        client, claim = region.client(), a_claim(kind)
        region.suffers(FaultKind.HTTP_500, operation=Operation.SETTLE)
        assert client.ask(claim).outcome is Outcome.UNKNOWN

        settled = client.ask(claim)

        assert settled.outcome is Outcome.APPROVED
        assert region.net_fen == settled.amount_fen


@KINDS
@PICKY
def test_where_repeats_are_harmless_the_settlement_itself_has_the_word(kind: VisitKind, picky: bool) -> None:
    """The steps before a settlement that stands are refused; that says nothing about it."""
    with a_region(Policy(picky=picky)) as region:
        client, claim = region.client(repeats_harmless="yes"), a_claim(kind)
        region.suffers(FaultKind.LOST_ANSWER, operation=Operation.SETTLE)
        with pytest.raises(OutcomeUnknown):
            client.ask(claim)

        again, once_more = client.ask(claim), client.ask(claim)

        assert again == once_more
        assert (again.outcome, again.amount_fen) == (Outcome.APPROVED, region.net_fen)
        assert client.adapter.capabilities.idempotent_submit


def test_a_refused_step_stays_a_refusal_where_repeats_are_harmless() -> None:
    fees = (a_fee(1), a_fee(2, item_code="UNKNOWN"))
    with a_region(Policy(unknown_items=frozenset({"UNKNOWN"}))) as region:
        decision = region.client(repeats_harmless="yes").ask(a_claim(request=a_bill(fees=fees)))

        assert (decision.outcome, decision.reason_zh) == (Outcome.DECLINED, "目录编码不存在")
        assert region.net_fen == 0


def test_the_settlement_takes_the_first_number_and_every_call_its_own(region: Region) -> None:
    calls = region.client().calls(a_claim(VisitKind.INPATIENT))

    sent = {call.name: call.sent for call in calls}
    msgids = [call.sent.partition(b'"msgid":"')[2][:30].decode() for call in calls]
    assert len(set(msgids)) == len(calls)
    assert f'"msgid":"{INSTITUTION}202603090930000000"'.encode() in sent["2304"]
    assert b'"insuplc_admdvs":"360100"' in sent["2401"]


@pytest.mark.parametrize(("lines", "chunks"), [(100, 1), (101, 2), (250, 3)])
def test_fee_lines_go_up_in_chunks(region: Region, lines: int, chunks: int) -> None:
    claim = a_claim(request=a_bill(lines=lines))

    calls = region.client().calls(claim)

    assert [call.name for call in calls].count("2204") == chunks
    assert len({call.sent for call in calls}) == len(calls)
    assert region.net_fen > 0


@pytest.mark.parametrize("kind", [VisitKind.OUTPATIENT, VisitKind.INPATIENT])
def test_a_refused_chunk_takes_the_others_back_and_settles_nothing(kind: VisitKind) -> None:
    fees = (*(a_fee(number) for number in range(1, 101)), a_fee(101, item_code="UNKNOWN"))
    with a_region(Policy(unknown_items=frozenset({"UNKNOWN"}))) as region:
        client, claim = region.client(), a_claim(request=a_bill(kind, fees=fees))

        decision = client.ask(claim)

        assert (decision.outcome, decision.reason_zh) == (Outcome.DECLINED, "目录编码不存在")
        assert region.net_fen == 0
        (visit,) = region.server.visits.of_person(claim.request.insurance.person_no, claim.request.visit.medical_type)
        assert visit.lines == {}


def test_a_suspended_person_is_declined_in_the_regions_words(region: Region) -> None:
    bill = a_bill()
    insurance = bill.insurance.model_copy(update={"person_no": "36-PAUSED"})

    decision = region.client().ask(a_claim(request=bill.model_copy(update={"insurance": insurance})))

    assert (decision.outcome, decision.reason_code) == (Outcome.DECLINED, "national.2207")
    assert decision.reason_zh == "参保状态异常, 暂停享受待遇"


@KINDS
def test_a_lost_answer_is_found_by_the_number_of_its_message(region: Region, kind: VisitKind) -> None:
    client, claim = region.client(), a_claim(kind)
    region.suffers(FaultKind.LOST_ANSWER, operation=Operation.SETTLE)
    with pytest.raises(OutcomeUnknown):
        client.ask(claim)

    found = client.ask(inquiry_of(claim))

    assert found.outcome is Outcome.APPROVED
    assert found.amount_fen == region.net_fen
    assert client.ask(cancel_of(claim, found)).outcome is Outcome.CANCELLED
    assert region.net_fen == 0


def test_a_settlement_of_somebody_elses_message_is_not_ours(region: Region) -> None:
    client, claim = region.client(), a_claim()
    assert client.ask(claim).outcome is Outcome.APPROVED

    other = replace(claim, request_id="R-0002", numbers=numbers(7))

    assert client.ask(inquiry_of(other)).outcome is Outcome.NOT_FOUND


def test_a_region_that_does_not_find_at_first_is_believed_only_as_far_as_it_goes(region: Region) -> None:
    client, claim = region.client(), a_claim()
    assert client.ask(claim).outcome is Outcome.APPROVED
    region.suffers(FaultKind.NOT_FOUND_FIRST)

    assert client.ask(inquiry_of(claim)).outcome is Outcome.NOT_FOUND
    assert client.ask(inquiry_of(claim)).outcome is Outcome.APPROVED


def test_a_reversal_takes_back_what_nobody_knows_and_bars_what_comes_later(region: Region) -> None:
    client, claim = region.client(reversal_proves="yes"), a_claim()
    assert client.adapter.capabilities.reversal
    region.suffers(FaultKind.LOST_ANSWER, operation=Operation.SETTLE)
    with pytest.raises(OutcomeUnknown):
        client.ask(claim)

    assert client.ask(reversal_of(claim)).outcome is Outcome.CANCELLED
    assert client.ask(reversal_of(claim)).outcome is Outcome.CANCELLED
    assert region.net_fen == 0
    assert client.ask(claim).outcome is Outcome.DECLINED


def test_a_reversal_of_what_never_came_bars_it(region: Region) -> None:
    client, claim = region.client(reversal_proves="yes"), a_claim()

    assert client.ask(reversal_of(claim)).outcome is Outcome.CANCELLED
    assert client.ask(claim).outcome is Outcome.DECLINED
    assert region.net_fen == 0


def test_a_region_promises_nothing_unless_its_rule_book_says_so(region: Region) -> None:
    can = region.client().adapter.capabilities
    silent = region.client(queries="no").adapter.capabilities

    assert (can.idempotent_submit, can.inquiry, can.reversal, can.cancel) == (False, True, False, True)
    assert not silent.inquiry


@pytest.mark.parametrize("kind", [FaultKind.WRONG_TOTAL, FaultKind.GARBAGE, FaultKind.LATE, FaultKind.SLOW])
def test_spoiled_answers_never_become_a_decision_of_their_own(region: Region, kind: FaultKind) -> None:
    client, claim = region.client(), a_claim()
    region.suffers(kind, operation=Operation.SETTLE, seconds=0.01)

    if kind is FaultKind.WRONG_TOTAL:
        with pytest.raises(InvalidMessage) as held:
            client.ask(claim)
        assert [broken.code for broken in held.value.violations] == ["national.A8"]
    elif kind is FaultKind.GARBAGE:
        with pytest.raises((OutcomeUnknown, InvalidMessage)):
            client.ask(claim)
    else:
        assert client.ask(claim).outcome is Outcome.APPROVED
    assert client.ask(inquiry_of(claim)).amount_fen == region.net_fen


def test_the_region_adjudicates_a_hospitals_bills_as_every_basic_system_does(region: Region) -> None:
    client = region.client(dept_code="A03", doctor_code="D360100000001")
    for place, case in enumerate(cases(15)):
        bill = case.request()
        claim = a_claim(request=bill, left_fen=bill.total, numbers=numbers(place))

        assert client.ask(claim).basic == adjudicate_basic(
            scheme_of(bill.insurance.type),
            bill.visit.kind,
            [bill_line(line) for line in bill.fees],
            person_no=bill.insurance.person_no,
            use_account=bill.use_account,
        )


def test_a_doubled_settlement_has_one_effect(region: Region) -> None:
    region.suffers(FaultKind.DUPLICATE_ANSWER, operation=Operation.SETTLE)

    decision = region.client().ask(a_claim())

    assert region.net_fen == decision.amount_fen


def test_a_silent_region_is_doubt(region: Region) -> None:
    region.suffers(FaultKind.SILENT, operation=Operation.SETTLE, seconds=1)

    with pytest.raises(OutcomeUnknown):
        region.client().ask(a_claim(), timeout_s=0.5)
    assert region.net_fen == 0


@pytest.mark.parametrize("kind", [FaultKind.OTHER_WRAPPER, FaultKind.OTHER_SHAPE])
def test_other_wrappers_and_shapes_are_read_all_the_same(region: Region, kind: FaultKind) -> None:
    client, claim = region.client(), a_claim(VisitKind.INPATIENT)
    region.suffers(kind, count=None)

    decision = client.ask(claim)

    assert (decision.outcome, decision.amount_fen) == (Outcome.APPROVED, region.net_fen)
    assert client.ask(inquiry_of(claim)).basic == decision.basic


def test_a_refused_undo_is_told(region: Region) -> None:
    client, claim = region.client(), a_claim()
    settled = client.ask(claim)
    region.suffers(FaultKind.REFUSE_UNDO)

    refused = client.ask(cancel_of(claim, settled))

    assert (refused.outcome, refused.reason_zh) == (Outcome.DECLINED, "已月结, 不予撤销")
    assert region.net_fen == settled.amount_fen


def test_unknown_money_is_held_until_somebody_says_what_it_is() -> None:
    with a_region(Policy(extra_money={"hifxx_pay": 1, "known_amt": 2, "empty_pay": 0})) as region:
        claim = a_claim()
        with pytest.raises(InvalidMessage) as held:
            region.client(extra_money="known_amt").ask(claim)

        assert [(broken.field, broken.code) for broken in held.value.violations] == [
            ("setlinfo.hifxx_pay", "national.unknown_money")
        ]
        told = region.client(extra_money="known_amt|hifxx_pay").ask(inquiry_of(claim))
        assert told.outcome is Outcome.APPROVED


def test_a_region_that_counts_the_account_into_the_funds_says_so_in_its_options() -> None:
    employee = a_bill().insurance.model_copy(
        update={"type": InsuranceType.EMPLOYEE, "person_no": "36010000000000099999"}
    )
    claim = a_claim(request=a_bill().model_copy(update={"insurance": employee}))
    with a_region(Policy(fund_includes_account=True)) as region:
        client = region.client(fund_includes_account="yes")

        settled = client.ask(claim)

        assert settled.basic is not None
        assert settled.basic.account_fen > 0
        assert settled.amount_fen == region.net_fen == settled.basic.fund_fen
        assert client.ask(cancel_of(claim, settled)).amount_fen == settled.amount_fen

        other = replace(claim, numbers=numbers(8), request_id="R-3")
        with pytest.raises(InvalidMessage) as held:
            region.client().ask(other)
        assert {broken.code for broken in held.value.violations} >= {"national.A5", "national.A7"}


def test_a_sign_in_lasts_and_is_made_anew_when_the_region_forgets_it() -> None:
    with a_region(Policy(sign_in=True)) as region:
        client = region.client(sign_in="yes")
        first = [call.name for call in client.calls(a_claim())]
        second = client.calls(a_claim(request=a_bill(visit_no="V-2"), numbers=numbers(1)))
        assert first[0] == "sign:9001"
        assert all(call.name != "sign:9001" for call in second)

        region.suffers(FaultKind.SIGN_IN_LOST, operation=Operation.SETTLE)
        decision = client.ask(a_claim(request=a_bill(visit_no="V-3"), numbers=numbers(2)))

        assert decision.outcome is Outcome.APPROVED
        assert region.server.book.totals().settled == 3


def test_a_sign_in_that_never_holds_is_no_decision() -> None:
    with a_region(Policy(sign_in=True)) as region:
        region.suffers(FaultKind.SIGN_IN_LOST, count=None, operation=Operation.SETTLE)

        with pytest.raises(Unavailable):
            region.client(sign_in="yes").ask(a_claim())
        assert region.net_fen == 0


OURS, THEIRS = sm2.PrivateKey(b"\x01" * 32), sm2.PrivateKey(b"\x02" * 32)
SM4_KEY = b"0123456789abcdef"
KEYS = {"own_private_key": OURS.secret.hex(), "region_public_key": THEIRS.public.encoded.hex()}
DIALECTS = {
    "envelope": (EnvelopeSigning(THEIRS, OURS.public), KEYS, {}),
    "body": (
        BodySigning(THEIRS, OURS.public, SM4_KEY),
        KEYS | {"sm4_key": SM4_KEY.hex(), "client_secret": "s3cret", "client_id": "hub"},
        {"token_path": "/oauth/token"},
    ),
    "gateway": (GatewaySigning("paas", "gate"), {"gateway_secret": "gate"}, {"paas_id": "paas"}),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_signing_dialect_settles_and_cancels(dialect: str) -> None:
    signing, secrets, options = DIALECTS[dialect]
    policy = Policy(signing=signing, token="s3cret" if dialect == "body" else "")
    with a_region(policy) as region:
        client, claim = region.client(secrets, signing=dialect, **options), a_claim()

        settled = client.ask(claim)

        assert settled.amount_fen == region.net_fen > 0
        assert client.ask(cancel_of(claim, settled)).outcome is Outcome.CANCELLED


def test_a_wrong_key_settles_nothing() -> None:
    with a_region(Policy(signing=EnvelopeSigning(THEIRS, OURS.public))) as region:
        strangers = KEYS | {"own_private_key": sm2.PrivateKey(b"\x03" * 32).secret.hex()}

        assert region.client(strangers, signing="envelope").ask(a_claim()).outcome is Outcome.DECLINED
        assert region.net_fen == 0


def test_an_answer_that_is_not_proven_is_none() -> None:
    with a_region(Policy(signing=EnvelopeSigning(THEIRS, OURS.public))) as region:
        client, claim = region.client(KEYS, signing="envelope"), a_claim()
        region.suffers(FaultKind.WRONG_SIGNATURE, operation=Operation.SETTLE)

        with pytest.raises(OutcomeUnknown):
            client.ask(claim)
        assert client.ask(inquiry_of(claim)).amount_fen == region.net_fen


def test_an_expired_token_is_fetched_anew_and_the_call_said_once_more() -> None:
    signing, secrets, options = DIALECTS["body"]
    with a_region(Policy(signing=signing, token="s3cret")) as region:
        client = region.client(secrets, signing="body", **options)
        region.suffers(FaultKind.TOKEN_EXPIRED, operation=Operation.SETTLE)

        assert client.ask(a_claim()).amount_fen == region.net_fen > 0


def test_a_settled_visit_is_known_after_a_restart(tmp_path) -> None:
    claim = a_claim(VisitKind.INPATIENT)
    with a_region(book=tmp_path / "book.sqlite3") as region:
        settled = region.client().ask(claim)
    with a_region(book=tmp_path / "book.sqlite3") as region:
        client = region.client()

        assert client.ask(inquiry_of(claim)).basic == settled.basic
        assert client.ask(cancel_of(claim, settled)).outcome is Outcome.CANCELLED


@pytest.mark.parametrize(
    "changes",
    [
        {"signing": "morse"},
        {"fee_lines_max": "1"},
        {"sign_in_s": "soon"},
        {"colour": "blue"},
        {"signing": "envelope"},
        {"visits": "maybe"},
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused_at_the_start(region: Region, changes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=PARTY):
        region.client(**changes)
