"""Our client of the national interface against our server of it: two readings of one document must fit together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.basic.national.client import BasicNational
from crypto import sm2
from schemas.codes import Outcome
from schemas.payer import Decision, MessageNumbers, Operation, PartySettings, PayerTask
from schemas.settlement import SettleRequest
from tests.support.builders import BASIC, CRITICAL, HOSPITAL, REGION, a_settle_request, an_id_card, as_bytes
from tests.support.hub_in_process import TestHub, a_hub
from tests.support.master_data import BASIC_PARTY
from tests.support.national_his import insured
from tests.support.payer_tasks import a_task

OURS, THEIRS = sm2.new_key(), sm2.new_key()
PROFILE = {
    "code": HOSPITAL,
    "name": "一院",
    "region": REGION,
    "visits": "optional",
    "national": {"signing": "envelope", "sign_in": "required"},
}
KINDS = [("outpatient", "11"), ("inpatient", "21"), ("pharmacy", "41")]


@pytest.fixture
def world(database_url: str, tmp_path: Any) -> Iterator[TestHub]:
    keys = {"own_private_key": OURS.secret.hex(), "their_public_key": THEIRS.public.encoded.hex()}
    secrets = tmp_path / "secrets.yaml"
    secrets.write_text(json.dumps({HOSPITAL: keys}), encoding="utf-8")
    with a_hub(
        database_url,
        parties=[BASIC_PARTY],
        institutions=[PROFILE],
        settings_changes={"party_secrets": str(secrets)},
    ) as running:
        insured(running)
        yield running


@pytest.fixture
def client(world: TestHub) -> Iterator[BasicNational]:
    settings = PartySettings(
        code="BASIC-440300",
        adapter="basic.national",
        endpoint=f"http://127.0.0.1:{world.hub.gateway.port}/national",
        region=REGION,
        timeout_s=10.0,
        options={
            "signing": "envelope",
            "sign_in": "yes",
            "confirm_person": "yes",
            "dept_code": "A03",
            "caty": "A03",
            "doctor_code": "D440300000001",
        },
        secrets={"own_private_key": THEIRS.secret.hex(), "region_public_key": OURS.public.encoded.hex()},
    )
    made = BasicNational(settings)
    yield made
    made.close()


def a_bill(kind: str, medical_type: str) -> SettleRequest:
    request = a_settle_request(30_000)
    request["visit"] |= {"kind": kind, "medical_type": medical_type, "department": "内科", "doctor_code": "D1"}
    request["visit"] |= {"ended_at": "2026-03-06T10:00:00+08:00"} if kind == "inpatient" else {}
    request["patient"] |= {"id_no": an_id_card()}
    return SettleRequest.model_validate_json(as_bytes(request))


def said(client: BasicNational, task: PayerTask) -> Decision:
    return client.decode(task, client.send(client.prepare(task), 10.0))


@pytest.mark.parametrize(("kind", "medical_type"), KINDS)
def test_what_the_client_settles_and_cancels_the_server_books(world, client, kind, medical_type):
    now = datetime.now(UTC)
    settle = replace(
        a_task(Operation.SETTLE), request=a_bill(kind, medical_type), left_fen=30_000, numbers=MessageNumbers(now, 1000)
    )
    asked = replace(
        settle,
        operation=Operation.INQUIRE,
        request_id=f"{settle.request_id}-q1",
        original_request_id=settle.request_id,
        numbers=MessageNumbers(now + timedelta(seconds=1), 2000),
        original_numbers=settle.numbers,
    )

    tried = said(client, replace(settle, operation=Operation.TRIAL, numbers=MessageNumbers(now, 3000)))
    settled = said(client, settle)
    found = said(client, asked)
    cancel = replace(
        asked,
        operation=Operation.CANCEL,
        numbers=MessageNumbers(now + timedelta(seconds=2), 4000),
        original_reference=settled.payer_reference,
        original_amount_fen=settled.amount_fen,
    )
    cancelled = said(client, cancel)

    # The server's own payers stand behind it: half of the bill, and half of what that left.
    assert (tried.outcome, tried.amount_fen) == (Outcome.APPROVED, 22_500)
    assert (settled.outcome, settled.amount_fen) == (Outcome.APPROVED, 22_500)
    assert settled.basic is not None
    assert settled.basic.cash_fen == 7_500
    assert kind == "pharmacy" or (found.outcome, found.amount_fen) == (Outcome.APPROVED, 22_500)
    assert cancelled.outcome is Outcome.CANCELLED
    assert world.payers[BASIC].net_fen == world.payers[CRITICAL].net_fen == 0
