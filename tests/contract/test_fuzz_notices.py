"""Damaged answers to notices, from those that the sandbox's parties really give: taken, refused or nothing of both.

More of it: `pytest --hypothesis-profile=soak tests/contract/test_fuzz_notices.py`. A failure prints its seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.registry import make_adapter
from sandbox.cast_dialects import SECRETS
from sandbox.parties import CRITICAL_ILLNESS
from sandbox.parties_dialects import NATIONAL_BASIC, PINGJIA, TAIHE, YONGTAI
from sandbox.rules_dialects import dialect_rule_book
from sandbox.server import CastSettings, Sandbox
from schemas.base import Value
from schemas.codes import Outcome
from schemas.errors import HubError, InvalidMessage, OutcomeUnknown
from schemas.payer import MessageNumbers, Notice, PartySettings, RawAnswer
from schemas.settlement import CancelRequest
from schemas.transactions import SPECS, Transaction
from schemas.visit import (
    AdmissionCancel,
    AdmissionRegister,
    DischargeCancel,
    DischargeRegister,
    FeesCancel,
    FeesUpload,
    UploadedLine,
)
from tests.support.dialect_payers import NUMBERS, a_record, a_stay
from tests.support.vandal import CANARY, Vandal

PARTIES = (CRITICAL_ILLNESS, YONGTAI, PINGJIA, TAIHE, NATIONAL_BASIC)
STAY = a_stay(lines=2)
WHO: dict[str, Any] = {"institution": STAY.institution, "request_no": "1", "visit_no": STAY.visit.visit_no}
UNDO = {**WHO, "reason": "误登记"}
ADMISSION = AdmissionRegister(
    **WHO,
    region=STAY.region,
    patient=STAY.patient,
    insurance=STAY.insurance,
    kind=STAY.visit.kind,
    medical_type=STAY.visit.medical_type,
    admitted_at=STAY.visit.started_at,
    diagnoses=STAY.diagnoses,
)
MESSAGES: dict[Transaction, Value] = {
    Transaction.ADMISSION_REGISTER: ADMISSION,
    Transaction.FEES_UPLOAD: FeesUpload(
        **WHO, batch_no="1", lines=tuple(UploadedLine(**dict(line)) for line in STAY.fees)
    ),
    Transaction.DISCHARGE_REGISTER: DischargeRegister(
        **WHO, discharged_at=STAY.visit.ended_at, diagnoses=STAY.diagnoses
    ),
    Transaction.DISCHARGE_CANCEL: DischargeCancel(**UNDO),
    Transaction.FEES_CANCEL: FeesCancel(**UNDO),
    Transaction.ADMISSION_CANCEL: AdmissionCancel(**UNDO),
    Transaction.ADJUDICATION_UPLOAD: STAY,
    Transaction.CANCEL: CancelRequest(
        institution=STAY.institution, settlement_no=STAY.settlement_no, cancel_no="C-1", reason="退费"
    ),
}
"""In the order in which a visit goes, and takes its way back."""
OUTCOMES = frozenset({Outcome.APPROVED, Outcome.CANCELLED, Outcome.DECLINED, Outcome.UNKNOWN})


@dataclass(frozen=True)
class Heard:
    """A notice as it was said by an adapter, and what came back."""

    adapter: Any
    notice: Notice
    answer: RawAnswer


@pytest.fixture(scope="module")
def heard() -> Iterator[list[Heard]]:
    """Every notice that each dialect can carry, said once to its party."""
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(CastSettings(dialects=True, volatile=True)))
        known = {party["code"]: party for party in dialect_rule_book(sandbox.endpoints())["parties"]}
        found: list[Heard] = []
        for code in PARTIES:
            settings = PartySettings(
                code=code,
                adapter=known[code]["adapter"],
                endpoint=known[code]["endpoint"],
                region=STAY.region,
                options=known[code].get("options", {}),
                secrets=SECRETS.get(code, {}),
            )
            adapter: Any = make_adapter(settings)
            stack.callback(adapter.close)
            found += _told(adapter, code)
        yield found


def _told(adapter: Any, code: str) -> Iterator[Heard]:
    references: dict[Transaction, str | None] = {}
    for number, (transaction, message) in enumerate(MESSAGES.items()):
        if transaction.value not in adapter.capabilities.notices:
            continue
        undone = SPECS[transaction].undoes or Transaction.ADJUDICATION_UPLOAD
        undone = Transaction.ADJUDICATION_UPLOAD if transaction is Transaction.CANCEL else undone
        of_record = transaction is Transaction.ADJUDICATION_UPLOAD
        notice = Notice(
            transaction.value,
            f"N-{number}",
            code,
            a_record(code, 1_234_56).message if of_record else message,
            original_request_id=f"N-{list(MESSAGES).index(undone)}",
            original_reference=references.get(undone),
            numbers=MessageNumbers(NUMBERS.at, NUMBERS.first + 1_000 * number),
            admission=ADMISSION,
            admission_reference=references.get(Transaction.ADMISSION_REGISTER),
        )
        answer = adapter.send(adapter.prepare_notice(notice), 5.0)
        references[transaction] = adapter.decode_notice(notice, answer).payer_reference
        yield Heard(adapter, notice, answer)


def test_what_is_damaged_was_heard_and_good(heard):
    decided = {
        (one.notice.payer, one.notice.transaction): one.adapter.decode_notice(one.notice, one.answer).outcome
        for one in heard
    }

    assert {payer for payer, _ in decided} == set(PARTIES)
    assert set(decided.values()) <= {Outcome.APPROVED, Outcome.CANCELLED, Outcome.DECLINED}
    assert list(decided.values()).count(Outcome.DECLINED) < len(decided) / 3


@given(at=st.integers(0, 10_000), seed=st.integers(0, 2**48), other=st.booleans())
def test_a_damaged_answer_to_a_notice(heard, at, seed, other):
    one = heard[at % len(heard)]
    answer = heard[(at + seed % 7) % len(heard)].answer if other else one.answer
    raw = replace(answer, body=Vandal(seed).damaged(answer.body))

    try:
        decision = one.adapter.decode_notice(one.notice, raw)
    except (InvalidMessage, OutcomeUnknown) as refusal:
        _is_clean(refusal)
        return

    assert decision.outcome in OUTCOMES
    assert decision.amount_fen >= 0
    assert decision.outcome is not Outcome.DECLINED or decision.amount_fen == 0
    assert len(decision.payer_reference or "") <= 100


def _is_clean(refusal: HubError) -> None:
    violations = refusal.violations if isinstance(refusal, InvalidMessage) else ()
    said = f"{refusal} {violations}"
    assert len(said) < 10_000
    assert CANARY not in said
