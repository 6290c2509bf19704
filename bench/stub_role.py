"""One role of the hub with payers that answer at once inside its own process: the hub alone is measured.

    python -m bench.stub_role adapters

Settings come from the environment as for `hub run`. The rest is the hub as it is: claims, evidence, checks, outbox.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import orjson

from hub.bootstrap import Role, bootstrap
from hub.logs import configure_logs
from hub.settings import read_settings
from schemas.codes import Layer, Outcome
from schemas.money import share_fen
from schemas.payer import (
    BasicResult,
    Capabilities,
    Decision,
    Operation,
    PartySettings,
    PayerTask,
    PreparedCall,
    RawAnswer,
)


class StubPayer:
    """Pays 70 % of the bill as the basic system, half of what is left as an insurer."""

    capabilities = Capabilities(idempotent_submit=True)

    def __init__(self, settings: PartySettings) -> None:
        self.code = settings.code

    def prepare(self, task: PayerTask) -> PreparedCall:
        facts = {"request_id": task.request_id, "left": task.left_fen, "person": task.request.insurance.person_no}
        return PreparedCall(orjson.dumps(facts), "application/json")

    def send(self, call: PreparedCall, timeout_s: float) -> RawAnswer:
        del timeout_s
        return RawAnswer(call.body, 200, "application/json")

    def decode(self, task: PayerTask, answer: RawAnswer) -> Decision:
        if orjson.loads(answer.body)["request_id"] != task.request_id:
            raise ValueError("an answer to another request")
        reference = f"R{task.request_id[:20]}"
        now = datetime.now(UTC)
        if task.operation is Operation.CANCEL:
            return Decision(Outcome.CANCELLED, task.original_amount_fen, reference, decided_at=now)
        if task.layer is not Layer.BASIC:
            return Decision(Outcome.APPROVED, share_fen(task.left_fen, 1, 2), reference, decided_at=now)
        total = task.request.total
        fund = share_fen(total, 70, 100)
        basic = BasicResult(total, 0, 0, 0, total, 0, fund, 0, total - fund, 0, (("310100", fund),))
        return Decision(Outcome.APPROVED, fund, reference, decided_at=now, basic=basic)

    def close(self) -> None:
        """Nothing is open."""


def main() -> None:
    role = Role(sys.argv[1])
    settings = read_settings(os.environ, Path.cwd())
    configure_logs("warning", "json", role=role.value)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    hub = bootstrap(settings, frozenset({role}), make=StubPayer)
    hub.start()
    stop.wait()
    hub.stop()


if __name__ == "__main__":
    main()
