"""The adapters against the sandbox's parties, which read and write the contracts by themselves and keep books."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from adapters.registry import make_adapter
from sandbox.parties import ANKANG, ANKANG_PRODUCT, BASIC, CRITICAL_ILLNESS
from sandbox.server import Sandbox
from schemas.codes import Outcome
from schemas.payer import Decision, Operation, PartySettings, PayerTask
from tests.support.payer_tasks import a_fee, a_request, a_task, an_insurer_task


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as started:
        yield started


BILL = a_request(fees=tuple(a_fee(number, price="3000.00", quantity="2") for number in range(1, 6)))


def ask(sandbox: Sandbox, party: str, adapter: str, task: PayerTask) -> Decision:
    made = make_adapter(PartySettings(code=party, adapter=adapter, endpoint=sandbox.endpoints()[party]))
    try:
        return made.decode(task, made.send(made.prepare(task), 5.0))
    finally:
        made.close()


def cancel_of(task: PayerTask, decision: Decision) -> PayerTask:
    return replace(
        task,
        operation=Operation.CANCEL,
        request_id="R-CANCEL",
        original_request_id=task.request_id,
        original_reference=decision.payer_reference,
        original_amount_fen=decision.amount_fen,
    )


@pytest.mark.parametrize("adapter", ["basic.soap", "basic.soap12"])
def test_the_basic_system_settles_once_and_cancels_once(sandbox, adapter):
    task = a_task(request=BILL)

    trial = ask(sandbox, BASIC, adapter, replace(task, operation=Operation.TRIAL))
    first = ask(sandbox, BASIC, adapter, task)
    again = ask(sandbox, BASIC, adapter, task)

    assert first.outcome is Outcome.APPROVED
    assert first == again
    assert trial.basic == first.basic
    assert sandbox.books[BASIC].totals().net_fen == first.amount_fen

    cancelled = ask(sandbox, BASIC, adapter, cancel_of(task, first))

    assert (cancelled.outcome, cancelled.amount_fen) == (Outcome.CANCELLED, first.amount_fen)
    assert ask(sandbox, BASIC, adapter, cancel_of(task, first)) == cancelled
    assert sandbox.books[BASIC].totals().net_fen == 0


def test_the_basic_system_refuses_a_suspended_person(sandbox):
    insurance = BILL.insurance.model_copy(update={"person_no": "1-PAUSED"})

    decision = ask(sandbox, BASIC, "basic.soap", a_task(request=BILL.model_copy(update={"insurance": insurance})))

    assert (decision.outcome, decision.reason_code) == (Outcome.DECLINED, "P1")
    assert decision.reason_zh


def test_an_insurer_works_on_what_the_basic_system_left(sandbox):
    basic = ask(sandbox, BASIC, "basic.soap", a_task(request=BILL))
    task = an_insurer_task(
        request=BILL,
        request_id="R-2",
        payer=ANKANG,
        product=ANKANG_PRODUCT,
        policy_no="AK-20250101-00000001",
        basic=basic.basic,
        left_fen=basic.basic.cash_fen,
    )

    first = ask(sandbox, ANKANG, "insurer.rest", task)

    assert first.outcome is Outcome.APPROVED
    assert 0 < first.amount_fen <= task.left_fen
    assert ask(sandbox, ANKANG, "insurer.rest", task) == first

    cancelled = ask(sandbox, ANKANG, "insurer.rest", cancel_of(task, first))

    assert (cancelled.outcome, cancelled.amount_fen) == (Outcome.CANCELLED, first.amount_fen)
    assert sandbox.books[ANKANG].totals().net_fen == 0


def test_an_insurer_declines_a_product_that_it_does_not_sell(sandbox):
    decision = ask(sandbox, CRITICAL_ILLNESS, "insurer.rest", an_insurer_task(request=BILL, payer=CRITICAL_ILLNESS))

    assert decision.outcome is Outcome.DECLINED
    assert decision.reason_en
