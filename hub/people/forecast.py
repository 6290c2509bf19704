"""What a replay would do, said before anybody does it. Looks at cases as they stand now; nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import ValidationError
from sqlalchemy import Connection

from hub.broker.topology import UNROUTED, Topology
from hub.intake import content_hash
from hub.people.letters import Facts, Named, Way, facts_of, named_in
from routing.states import AWAITING_PAYER, CaseState, LegState
from schemas.base import Bilingual, Value, read_message_and_content
from schemas.errors import HubError, InvalidMessage
from schemas.payer import ClaimDecision
from schemas.settlement import CancelRequest, CaseQuery, SettlementRequest
from schemas.transactions import MESSAGES, SPECS, Group, Transaction
from store import answers, cases
from store.dead_letters import StoredLetter
from store.records import CaseRecord


class Effect(StrEnum):
    """How much a replay would change."""

    BLOCKED = "blocked"
    """It cannot be replayed."""
    REFUSED = "refused"
    """It would be refused again."""
    NOTHING = "nothing"
    """Nothing changes; at most a stored answer is given again."""
    WORK = "work"
    """Something happens: a case is made, a payer is asked, a party gets a message."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a replay of one letter would do now."""

    letter_id: int
    effect: Effect
    text: Bilingual


def forecast(connection: Connection, layout: Topology, letter: StoredLetter) -> Forecast:
    """The letter's replay as far as can be told; never an error."""
    if blocked := blocked_by(layout, letter):
        return Forecast(letter.id, Effect.BLOCKED, blocked)
    facts, named = facts_of(letter), named_in(letter)
    if facts.way is Way.IN:
        effect, text = _from_party(connection, letter, facts)
    elif facts.way is Way.COMMAND:
        effect, text = _command(connection, named)
    else:
        effect, text = Effect.WORK, Bilingual(zh=f"再次发给 {facts.party}。", en=f"{facts.party} gets it once more.")
    return Forecast(letter.id, effect, text)


def blocked_by(layout: Topology, letter: StoredLetter) -> Bilingual | None:
    """Why the letter cannot be replayed at all; None when it can."""
    if letter.state != "open":
        return Bilingual(zh=f"已处理（{letter.state}）。", en=f"it is {letter.state} already.")
    if not letter.exchange:
        return Bilingual(
            zh="无法证明发送方，不能代发；请发送方以原编号重发。",
            en="who sent it cannot be proven, so nobody may send it in that name; ask the sender to send it again.",
        )
    if layout.resolve(letter.exchange, letter.routing_key) == UNROUTED:
        return Bilingual(
            zh=f"没有队列接收 {letter.exchange} / {letter.routing_key}：交易名称有误，或规则库中该机构未启用队列。",
            en=f"no queue takes {letter.exchange} / {letter.routing_key}: the transaction is misspelt, or the rule "
            "book in force gives this party no queue (amqp).",
        )
    return None


def _from_party(connection: Connection, letter: StoredLetter, facts: Facts) -> tuple[Effect, Bilingual]:
    try:
        transaction = Transaction(facts.what)
        model = MESSAGES[transaction]
        message, content = read_message_and_content(model, letter.to_send)
    except HubError as error:
        return Effect.REFUSED, _again_refused(error)
    except (ValueError, ValidationError):
        return Effect.REFUSED, Bilingual(zh="交易名称未知，将再次成为死信。", en="the transaction is unknown still.")
    if isinstance(message, ClaimDecision):
        return _claim_answer(connection, facts, named_in(letter))
    if SPECS[transaction].group in (Group.VISIT, Group.CLEARING, Group.STATEMENT, Group.MASTER):
        return Effect.WORK, Bilingual(
            zh="按其请求编号再处理一次；已处理过的只会得到原来的答复。",
            en="it is taken by its own request number; if it was taken before, only its answer is given again.",
        )
    if getattr(message, "institution", facts.party) != facts.party:
        return Effect.REFUSED, Bilingual(
            zh="报文机构与发送方不符。", en="it names another institution than its sender."
        )
    if transaction is Transaction.TRIAL:
        return Effect.WORK, Bilingual(zh="再试算一次，不记账。", en="one more trial is made; nothing is booked.")
    case_id, digest = _find(connection, message)
    if isinstance(message, SettlementRequest):
        return _settle(connection, case_id, digest == content_hash(content))
    return _about_case(connection, message, case_id)


def _again_refused(error: HubError) -> Bilingual:
    violations = error.violations if isinstance(error, InvalidMessage) else ()
    fields = ", ".join(f"{one.field}: {one.remedy}" for one in violations[:3]) or error.message
    return Bilingual(zh=f"将再次被拒绝：{fields}", en=f"it would be refused again: {fields}")


def _find(connection: Connection, message: Value) -> tuple[str, str]:
    key = (str(getattr(message, "institution", "")), str(getattr(message, "settlement_no", "")))
    return cases.find_by_key(connection, [key]).get(key, ("", ""))


def _settle(connection: Connection, case_id: str, same: bool) -> tuple[Effect, Bilingual]:
    if not case_id:
        return Effect.WORK, Bilingual(
            zh="尚无此案件：将建立案件并请求支付方。", en="there is no such case yet: it is made and payers are asked."
        )
    if not same:
        return Effect.REFUSED, Bilingual(
            zh=f"案件 {case_id} 已用此结算号，内容不同：将被拒绝。",
            en=f"case {case_id} has this number with other content: it is refused.",
        )
    if answers.latest(connection, [case_id]):
        return _stored_answer(case_id)
    return Effect.NOTHING, Bilingual(
        zh=f"案件 {case_id} 已在处理：无变化。", en=f"case {case_id} is under way with this content: nothing changes."
    )


def _stored_answer(case_id: str) -> tuple[Effect, Bilingual]:
    return Effect.NOTHING, Bilingual(
        zh=f"案件 {case_id} 已有此结算：再次给出已存答复。",
        en=f"case {case_id} has this settlement already: the stored answer is given again.",
    )


def _about_case(connection: Connection, message: Value, case_id: str) -> tuple[Effect, Bilingual]:
    if isinstance(message, CaseQuery):
        return Effect.NOTHING, Bilingual(zh="查询：不改变任何内容。", en="a query: nothing changes.")
    if not case_id and isinstance(message, CancelRequest):
        return Effect.REFUSED, Bilingual(zh="没有此结算。", en="there is no such settlement: it is refused.")
    case = cases.read(connection, [case_id])[case_id] if case_id else None
    if case is not None and case.state in (CaseState.CANCELLED, CaseState.CANCELLING):
        return Effect.NOTHING, Bilingual(
            zh=f"案件 {case_id} 已撤销或正在撤销：无变化。",
            en=f"case {case_id} is {case.state} already: nothing changes.",
        )
    if case is None:
        return Effect.WORK, Bilingual(
            zh="该结算从未到达：登记后，其后到达的将被拒绝。",
            en="that settlement never came: it is noted, and refused should it come later.",
        )
    return Effect.WORK, Bilingual(
        zh=f"将撤销案件 {case_id}（现为 {case.state}）。", en=f"case {case_id} ({case.state}) would be undone."
    )


def _claim_answer(connection: Connection, facts: Facts, named: Named) -> tuple[Effect, Bilingual]:
    case, leg_no = _case(connection, named), named.leg_no
    if case is None or not 1 <= leg_no <= len(case.legs) or case.leg(leg_no).payer != facts.party:
        return Effect.REFUSED, Bilingual(zh="没有此理赔。", en="this insurer has no such claim: it is refused.")
    return _leg(case, leg_no, Bilingual(zh="答复将记入", en="the answer is applied to"))


def _command(connection: Connection, named: Named) -> tuple[Effect, Bilingual]:
    case = _case(connection, named)
    if case is None or not 1 <= named.leg_no <= len(case.legs):
        return Effect.NOTHING, Bilingual(zh="没有此案件：无变化。", en="there is no such case: nothing happens.")
    return _leg(
        case, named.leg_no, Bilingual(zh="以同一请求号处理", en="under its one request id the payer is asked for")
    )


_OPEN_LEGS = AWAITING_PAYER | {LegState.PLANNED, LegState.DEFERRED, LegState.HELD}


def _leg(case: CaseRecord, leg_no: int, does: Bilingual) -> tuple[Effect, Bilingual]:
    state = case.leg(leg_no).state
    zh, en = f"案件 {case.case_id} 第 {leg_no} 方（{state}）", f"part {leg_no} of case {case.case_id} ({state})"
    if state not in _OPEN_LEGS:
        return Effect.NOTHING, Bilingual(zh=f"{zh}已决定：无变化。", en=f"{en} is decided: nothing changes.")
    return Effect.WORK, Bilingual(zh=f"{does.zh}{zh}。", en=f"{does.en} {en}.")


def _case(connection: Connection, named: Named) -> CaseRecord | None:
    return cases.read(connection, [named.case_id]).get(named.case_id) if named.case_id else None
