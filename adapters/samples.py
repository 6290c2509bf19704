"""Samples of an adapter: a task with the request it must become, answers with what they must mean.

A folder `samples/` beside an adapter's codec holds

    <task>.task.json                a PayerTask; money in yuan as text; "options" and "secrets" of the party, if any
    <task>.request.<ext>            the exact bytes that `prepare` makes of it (a final line feed is not counted)
    <task>.request.http             of a request without a body: its method and its path below the endpoint
    <answer>.answer.<ext>           recorded bytes
    <answer>.expected.json          adapter, task, status, content_type, and either "decision" or "error"

`python -m adapters.samples ADAPTER TASK_FILE` writes the request of a task to standard output.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from schemas.codes import Layer
from schemas.errors import HubError, InvalidMessage
from schemas.money import fen_of, yuan_of
from schemas.payer import (
    BasicResult,
    Decision,
    EarlierShare,
    MessageNumbers,
    Operation,
    PartySettings,
    PayerTask,
    RawAnswer,
)
from schemas.settlement import SettleRequest

ADAPTERS = Path(__file__).parent


def sample_tasks() -> list[Path]:
    """Every recorded task."""
    return sorted(ADAPTERS.glob("**/samples/*.task.json"))


def sample_answers() -> list[Path]:
    """What is expected of every recorded answer."""
    return sorted(ADAPTERS.glob("**/samples/*.expected.json"))


def name_of(path: Path) -> str:
    """`basic/soap/settle`: what `pytest -k` selects."""
    return f"{path.parent.parent.relative_to(ADAPTERS)}/{path.name.partition('.')[0]}"


def sibling(path: Path, kind: str) -> Path:
    """The one file of the same sample with `kind` in its name."""
    (found,) = path.parent.glob(f"{path.name.partition('.')[0]}.{kind}.*")
    return found


def read_task(path: Path) -> PayerTask:
    """A PayerTask from its file."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    basic = values.get("basic")
    return PayerTask(
        operation=Operation(values["operation"]),
        request_id=values["request_id"],
        case_id=values["case_id"],
        leg_no=values["leg_no"],
        payer=values["payer"],
        layer=Layer(values["layer"]),
        product=values["product"],
        policy_no=values.get("policy_no"),
        request=SettleRequest.model_validate_json(json.dumps(values["request"])),
        left_fen=fen_of(values["left"]),
        basic=_basic(basic) if basic else None,
        earlier=tuple(
            EarlierShare(each["payer"], Layer(each["layer"]), fen_of(each["amount"]))
            for each in values.get("earlier", ())
        ),
        answer_by=datetime.fromisoformat(values["answer_by"]) if "answer_by" in values else None,
        original_request_id=values.get("original_request_id"),
        original_reference=values.get("original_reference"),
        original_amount_fen=fen_of(values.get("original_amount", "0")),
        numbers=_numbers(values.get("numbers")),
        original_numbers=_numbers(values.get("original_numbers")),
    )


def read_settings(path: Path, adapter: str) -> PartySettings:
    """The party that a recorded task is for, with the switches and keys that the task's file gives it."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return PartySettings(
        code=values["payer"],
        adapter=adapter,
        endpoint="http://127.0.0.1:9/",
        region=values["request"]["region"],
        options=values.get("options", {}),
        secrets=values.get("secrets", {}),
    )


def _numbers(values: dict[str, Any] | None) -> MessageNumbers | None:
    return MessageNumbers(datetime.fromisoformat(values["at"]), values["first"]) if values else None


def read_answer(path: Path) -> tuple[dict[str, Any], PayerTask, RawAnswer]:
    """What is expected, the task it belongs to, and the answer as it came."""
    expected: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    task = read_task(path.parent / f"{expected['task']}.task.json")
    body = sibling(path, "answer").read_bytes()
    return expected, task, RawAnswer(body, expected.get("status", 0), expected.get("content_type", ""))


_OWN_FORM = ("amount_fen", "basic", "decided_at", "before_effect")


def meaning_of(decision: Decision) -> dict[str, Any]:
    """A decision in the words of an `.expected.json`: what is empty is left out, money is text."""
    values = {key: value for key, value in asdict(decision).items() if key not in _OWN_FORM}
    values |= {"outcome": decision.outcome.value, "amount": yuan_of(decision.amount_fen)}
    if decision.decided_at is not None:
        values["decided_at"] = decision.decided_at.isoformat()
    if decision.basic is not None:
        values["basic"] = _basic_meaning(decision.basic)
    return {key: value for key, value in values.items() if value not in ("", None)}


def meaning_of_error(error: HubError) -> dict[str, Any]:
    """An error in the same words: its class and, where there are any, the fields it blames."""
    meaning: dict[str, Any] = {"class": type(error).__name__}
    if isinstance(error, InvalidMessage) and error.violations:
        meaning["fields"] = [violation.field for violation in error.violations]
    return meaning


def _basic(values: dict[str, Any]) -> BasicResult:
    amounts = {f"{name}_fen": fen_of(text) for name, text in values.items() if name != "funds"}
    return BasicResult(**amounts, funds=tuple((kind, fen_of(text)) for kind, text in values.get("funds", {}).items()))


def _basic_meaning(basic: BasicResult) -> dict[str, Any]:
    amounts = {name.removesuffix("_fen"): fen for name, fen in asdict(basic).items() if name != "funds"}
    return {name: yuan_of(fen) for name, fen in amounts.items()} | {
        "funds": {kind: yuan_of(fen) for kind, fen in basic.funds}
    }


def request_of(adapter: str, task_file: Path) -> bytes:
    """The bytes to record as the request of a task: of one without a body its method and path."""
    from adapters.registry import make_adapter

    call = make_adapter(read_settings(task_file, adapter)).prepare(read_task(task_file))
    return call.body or f"{call.method} {call.path}".encode()


if __name__ == "__main__":
    sys.stdout.buffer.write(request_of(sys.argv[1], Path(sys.argv[2])) + b"\n")
