"""Certifying without the party: its adapter against the recorded messages in `samples/` beside its codec."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from time import perf_counter

from adapters.registry import ADAPTERS, Adapter, make_adapter
from adapters.samples import (
    meaning_of,
    meaning_of_error,
    name_of,
    read_answer,
    read_settings,
    read_task,
    sample_answers,
    sample_tasks,
    sibling,
)
from hub.certify.bills import CannotCertify
from hub.certify.checks import CheckFailed, Group, Result, Verdict, both, must
from hub.certify.evidence import Evidence, answer_text, mask_of, personal_values, sent_text
from hub.certify.run import Report, Told, stumbled
from schemas.base import Bilingual
from schemas.codes import Outcome
from schemas.errors import HubError
from schemas.payer import Capabilities, Operation, PayerTask, PreparedCall, RawAnswer

MUTATIONS = 40
_REQUEST = both(("任务逐字节编成记录的报文，重复不变", "A task becomes the recorded bytes, and the same bytes again"))
_SAME_BYTES = both(("与记录逐字节相同", "the recorded bytes"))
_ANSWER = both(("记录的答复按约定解读", "A recorded answer means what was agreed"))
_MUTILATED = both(("残缺的答复不致出错，也不超付", "Mutilated answers neither crash the codec nor overpay"))
_WITHIN = both(("拒读，或金额不超过剩余账单", "refused, or within what is left"))
_COMPLETE = both(("样本齐全：声明的能力都有例子", "There are samples of everything that is promised"))
_ALL = both(("无缺项", "nothing is missing"))


def certify_offline(adapter: str, party: str, name: Bilingual, seed: int, told: Told = lambda _: None) -> Report:
    """Hold the codec against its samples; CannotCertify for an adapter that nobody knows or that has none."""
    if adapter not in ADAPTERS:
        raise CannotCertify(f"no adapter named {adapter}; there are {', '.join(sorted(ADAPTERS))}")
    answers = [path for path in sample_answers() if _adapter_of(path) == adapter]
    if not answers:
        raise CannotCertify(f"{adapter} has no samples of its own: record them, or certify against an endpoint")
    begun_at, begun = datetime.now(UTC), perf_counter()
    results = []
    for result in _results(adapter, answers, seed):
        results.append(result)
        told(result)
    facts = (("samples 样本", str(answers[0].parent.parent.name) + f", {len(answers)}"),)
    took_ms = (perf_counter() - begun) * 1000
    return Report(party, name, adapter, facts, seed, begun_at, took_ms, tuple(results))


def _results(adapter: str, answers: list[Path], seed: int) -> Iterator[Result]:
    folder = answers[0].parent
    for path in sample_tasks():
        if path.parent == folder and _owner(folder) == adapter:
            yield _request_result(adapter, path)
    for path in answers:
        yield _answer_result(adapter, path)
    yield _mutilated_result(adapter, answers, seed)
    # Versions of one dialect share a folder: what one shows, the others need not repeat.
    yield _complete_result(ADAPTERS[adapter].capabilities, [one for one in sample_answers() if one.parent == folder])


def _adapter_of(answer: Path) -> str:
    return str(json.loads(answer.read_text(encoding="utf-8"))["adapter"])


def _owner(folder: Path) -> str:
    """Of several versions of a dialect, the one whose requests are recorded: that of the first answer."""
    return next(_adapter_of(path) for path in sample_answers() if path.parent == folder)


def _request_result(name: str, path: Path) -> Result:
    begun = perf_counter()
    task = read_task(path)
    recorded = sibling(path, "request")
    why, call = None, PreparedCall(b"", "")
    try:
        adapter = make_adapter(read_settings(path, name))
        call = adapter.prepare(task)
        made = f"{call.method} {call.path}".encode() if recorded.suffix == ".http" else call.body
        same = made == recorded.read_bytes().removesuffix(b"\n")
        must(same, "与记录不同", f"differs from {recorded.name}")
        must(adapter.prepare(task) == call, "两次编码不同", "the second time the bytes differ")
    except CheckFailed as failed:
        why = failed.words
    except HubError as error:
        why = _same(f"{type(error).__name__} {error.code}")
    mask = mask_of(personal_values(task))
    took_ms = (perf_counter() - begun) * 1000
    evidence = Evidence(task.operation.value, task.request_id, mask(sent_text(call)), "", 0, "prepared", took_ms)
    id = f"sample.request.{_short(path)}"
    said = (f"{task.operation}: {len(call.body)} bytes",)
    return Result(id, Group.SAMPLES, _REQUEST, _SAME_BYTES, _verdict(why), said, why, took_ms, (evidence,))


def _answer_result(name: str, path: Path) -> Result:
    begun = perf_counter()
    expected, task, answer = read_answer(path)
    adapter = make_adapter(read_settings(path.parent / f"{expected['task']}.task.json", name))
    wanted: dict[str, Mapping[str, object]] = {key: expected[key] for key in ("decision", "error") if key in expected}
    try:
        found: dict[str, Mapping[str, object]] = {"decision": meaning_of(adapter.decode(task, answer))}
    except HubError as error:
        found = {"error": meaning_of_error(error)}
    why = None if found == wanted else _same(f"differs from {path.name}: {found}")
    mask = mask_of(personal_values(task))
    took_ms = (perf_counter() - begun) * 1000
    ended = _brief(found)
    sent = f"({expected['task']}.task.json)"
    evidence = Evidence(
        task.operation.value, task.request_id, sent, mask(answer_text(answer)), answer.status, ended, took_ms
    )
    id = f"sample.answer.{_short(path)}"
    words = _same(_brief(wanted))
    return Result(id, Group.SAMPLES, _ANSWER, words, _verdict(why), (ended,), why, took_ms, (evidence,))


def _mutilated_result(name: str, answers: list[Path], seed: int) -> Result:
    begun, random, why, tried = perf_counter(), Random(seed), None, 0
    for path in answers:
        expected, task, answer = read_answer(path)
        adapter = make_adapter(read_settings(path.parent / f"{expected['task']}.task.json", name))
        for _ in range(MUTATIONS):
            tried += 1
            why = why or _wrong_of_mutation(adapter, task, _mutilated(random, answer), path.name)
    took_ms = (perf_counter() - begun) * 1000
    said = (f"{tried} mutilated answers",)
    return Result("sample.mutilated", Group.SAMPLES, _MUTILATED, _WITHIN, _verdict(why), said, why, took_ms)


def _mutilated(random: Random, answer: RawAnswer) -> RawAnswer:
    start, length = random.randrange(len(answer.body) + 1), random.randrange(30)
    inserted = random.randbytes(random.randrange(6))
    return RawAnswer(answer.body[:start] + inserted + answer.body[start + length :], answer.status, answer.content_type)


def _wrong_of_mutation(adapter: Adapter, task: PayerTask, answer: RawAnswer, sample: str) -> Bilingual | None:
    try:
        decision = adapter.decode(task, answer)
    except HubError:
        return None
    except Exception as error:  # noqa: BLE001 - what a codec stumbles over is the finding
        return _same(f"{sample}: {stumbled(error).en}")
    if decision.amount_fen <= task.left_fen or decision.outcome is Outcome.CANCELLED:
        return None
    return _same(f"{sample}: a mutilated answer pays more than is left")


def _complete_result(can: Capabilities, answers: list[Path]) -> Result:
    begun = perf_counter()
    seen: set[tuple[Operation, str]] = set()
    for path in answers:
        expected, task, _ = read_answer(path)
        found = expected.get("decision", {}).get("outcome") or expected["error"]["class"]
        seen.add((task.operation, found))
    missing = [
        f"{operation}: {' or '.join(found)}"
        for operation, found in _wanted(can)
        if not any((operation, one) in seen for one in found)
    ]
    why = None if not missing else _same("missing: " + ", ".join(missing))
    said = tuple(sorted(f"{operation}: {found}" for operation, found in seen))
    took_ms = (perf_counter() - begun) * 1000
    return Result("sample.complete", Group.SAMPLES, _COMPLETE, _ALL, _verdict(why), said, why, took_ms)


def _wanted(can: Capabilities) -> Iterator[tuple[Operation, tuple[str, ...]]]:
    yield Operation.SETTLE, (Outcome.APPROVED.value,)
    yield Operation.SETTLE, (Outcome.DECLINED.value,)
    yield Operation.SETTLE, ("InvalidMessage", "Malformed")
    yield Operation.SETTLE, ("OutcomeUnknown",)
    if can.cancel:
        yield Operation.CANCEL, (Outcome.CANCELLED.value,)
    if can.reversal:
        yield Operation.REVERSE, (Outcome.CANCELLED.value,)
    if can.inquiry:
        yield Operation.INQUIRE, (Outcome.APPROVED.value,)
        yield Operation.INQUIRE, (Outcome.NOT_FOUND.value,)


def _verdict(why: Bilingual | None) -> Verdict:
    return Verdict.PASSED if why is None else Verdict.FAILED


def _brief(meaning: Mapping[str, Mapping[str, object]]) -> str:
    if "decision" in meaning:
        found = meaning["decision"]
        return " ".join(str(found[name]) for name in ("outcome", "amount", "reason_code") if found.get(name))
    error = meaning["error"]
    fields = error.get("fields")
    return f"{error['class']}" + (f" {fields}" if fields else "")


def _short(path: Path) -> str:
    return name_of(path).rpartition("/")[2]


def _same(text: str) -> Bilingual:
    return Bilingual(zh=text, en=text)
