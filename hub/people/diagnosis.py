"""Why a letter died, in plain words by cause, and why its replay is harmless, by what it is. Text only, no look-ups."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hub.people.letters import LEG, Facts
from schemas.base import Bilingual


class Remedy(StrEnum):
    """What a replay without an edit would do about the cause."""

    REPLAY = "replay"
    """It helps, once what was wrong is mended."""
    EDIT = "edit"
    """The same bytes would die again."""
    DISCARD = "discard"
    """It was for nothing: the sender has to send something else."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What happened, why, and what to do."""

    happened: Bilingual
    why: Bilingual
    todo: Bilingual
    remedy: Remedy


def _cause(happened: tuple[str, str], why: tuple[str, str], todo: tuple[str, str], remedy: Remedy) -> Diagnosis:
    one, two, three = (Bilingual(zh=zh, en=en) for zh, en in (happened, why, todo))
    return Diagnosis(one, two, three, remedy)


_REFUSED = (
    "报文被拒绝，发送方没有可接收答复的队列。",
    "The message was refused, and its sender has no queue to be told.",
)
_BROKE = ("处理该报文时程序出错。", "A program error happened while this message was handled.")
_MEND_AND_REPLAY = (
    "请开发人员查看同一时刻的日志 delivery_condemned；修复后重放。",
    "Give the log line delivery_condemned of that moment to the developers; replay when it is mended.",
)
_ASK_SENDER = (
    "请发送方更正后以新报文重发，然后弃置本条；只有双方确认内容时才可编辑后重放。",
    "Ask the sender to mend it and send it anew, then discard this one; edit and replay only what both have agreed.",
)

_DIAGNOSES: dict[str, Diagnosis] = {
    "message.malformed": _cause(
        _REFUSED,
        ("内容不是可读取的 JSON。", "The body cannot be read as JSON."),
        _ASK_SENDER,
        Remedy.EDIT,
    ),
    "message.invalid": _cause(
        _REFUSED,
        ("字段不符合要求。", "A field breaks the schema."),
        _ASK_SENDER,
        Remedy.EDIT,
    ),
    "message.too_large": _cause(
        _REFUSED,
        ("报文大于 1 MiB。", "The body is larger than 1 MiB."),
        ("请发送方拆分后重发，然后弃置。", "Ask the sender to send it in parts, then discard this one."),
        Remedy.DISCARD,
    ),
    "message.unroutable": _cause(
        ("报文没有对应的队列。", "No queue takes this message."),
        (
            "交易名称写错，或规则库、拓扑中尚无该机构。",
            "The transaction's name is misspelt, or the party is not in the rule book and the topology yet.",
        ),
        (
            "名称写错：请发送方改正重发后弃置。机构缺失：激活规则库并执行 hub topology apply 后重放。",
            "Misspelt: ask the sender to send it rightly, then discard. Party missing: activate the rule book, run "
            "`hub topology apply`, then replay.",
        ),
        Remedy.REPLAY,
    ),
    "message.unknown_transaction": _cause(
        ("报文的交易名称未知。", "The message names a transaction that this version does not know."),
        ("路由键不是交易名称，或程序版本过旧。", "The routing key is no transaction, or this hub is too old."),
        ("升级后重放，或请发送方改正后弃置。", "Replay after the upgrade, or ask the sender to mend it and discard."),
        Remedy.REPLAY,
    ),
    "message.no_message_id": _cause(
        ("报文没有编号。", "The message came without an id."),
        (
            "没有编号无法分辨重复报文，因此不予处理。",
            "Without its sender's id a message cannot be told from its repeats, so it was not handled.",
        ),
        (
            "请发送方设置 message_id。重放会赋予编号：结算号仍防止重复记账。",
            "Ask the sender to set message_id. A replay gives it an id; the settlement number still prevents doubles.",
        ),
        Remedy.REPLAY,
    ),
    "message.id_reused": _cause(
        _REFUSED,
        ("该编号此前已用于另一报文。", "Its id was used before for another message."),
        ("确认内容有效后重放：重放使用新编号。", "Replay when the content is meant: the replay has an id of its own."),
        Remedy.REPLAY,
    ),
    "party.user_differs": _cause(
        ("报文声明的账户与来源通道不符。", "The message names another account than the exchange it came through."),
        ("发送方配置错误，或有人冒充。", "The sender is wrongly configured, or somebody pretends to be another."),
        (
            "先查清账户是谁在使用；不明者勿重放。",
            "Find out who uses that account first; never replay what nobody can explain.",
        ),
        Remedy.DISCARD,
    ),
    "party.forbidden": _cause(
        _REFUSED,
        ("报文所写机构不是发送方。", "It names another institution than its sender."),
        ("请发送方以自己的机构编码重发，然后弃置。", "Ask the sender to use its own code, then discard this one."),
        Remedy.EDIT,
    ),
    "party.unknown": _cause(
        _REFUSED,
        ("规则库中没有该机构。", "The institution is not in the active rule book."),
        ("登记机构并激活规则库后重放。", "Register it, activate the rule book, then replay."),
        Remedy.REPLAY,
    ),
    "case.conflict": _cause(
        _REFUSED,
        ("同一结算号已有不同内容。", "Its settlement number is used already with other content."),
        ("核对案件；内容有误则请发送方换号重发，弃置本条。", "Compare it with the case; for another bill the sender "
         "must use another number. Discard this one."),
        Remedy.DISCARD,
    ),
    "case.not_found": _cause(
        _REFUSED,
        (
            "报文所指的结算或理赔不存在：可能编号有误，或先于原报文到达。",
            "There is no such settlement or claim: the id is wrong, or the message overtook the one it is about.",
        ),
        ("案件已存在时重放；编号有误则请发送方改正。", "Replay when the case exists now; otherwise the sender must "
         "mend the id."),
        Remedy.REPLAY,
    ),
    "routing.no_basic_payer": _cause(
        _REFUSED,
        ("没有规则指定负责的基本医保。", "No rule names a basic insurance system for this bill."),
        ("补充规则（hub rules check、activate）后重放。", "Add the rule (`hub rules check`, `activate`), then replay."),
        Remedy.REPLAY,
    ),
    "leg.command_unreadable": _cause(
        ("内部指令无法读取。", "A command of the hub to itself cannot be read."),
        ("版本不一致，或有人写入内部队列。", "Two versions disagree, or somebody else wrote to an inner queue."),
        (
            "弃置：定时巡检会为未完成的支付方重新发出指令。",
            "Discard it: the sweep sends a new command for every payer's part that is not done.",
        ),
        Remedy.DISCARD,
    ),
    "leg.unknown": _cause(
        ("内部指令所指的案件不存在。", "A command names a case or a part of it that does not exist."),
        ("数据库可能恢复到了较早时刻。", "The database may have been restored to an earlier moment."),
        ("与备份恢复记录核对；案件恢复后可重放。", "Compare it with the restore; replay when the case is back."),
        Remedy.REPLAY,
    ),
    "leg.answer_not_applied": _cause(
        ("支付方已答复，但答复未能入库。", "A payer answered and its answer could not be stored."),
        ("程序出错；支付方可能已付款。", "A program error; the payer may have paid."),
        (
            "修复后重放：以同一请求号再次询问支付方，不会重复付款。修复前勿弃置。",
            "Replay when it is mended: the payer is asked again under the same request id and pays once.",
        ),
        Remedy.REPLAY,
    ),
    "hub.bug": _cause(
        _BROKE,
        ("错误类别见 detail；其他报文未受影响。", "Its kind stands in `detail`; other messages were not touched."),
        _MEND_AND_REPLAY,
        Remedy.REPLAY,
    ),
    "hub.error": _cause(
        _BROKE,
        ("错误说明见 detail。", "What it was stands in `detail`."),
        _MEND_AND_REPLAY,
        Remedy.REPLAY,
    ),
    "hub.illegal_transition": _cause(
        _BROKE,
        ("案件状态不允许该步骤。", "The case's state does not allow this step."),
        _MEND_AND_REPLAY,
        Remedy.REPLAY,
    ),
    "delivery.limit": _cause(
        ("每次投递后处理进程都终止了。", "Every time it was delivered, the process that took it ended."),
        (
            "报文使进程崩溃，或恰在反复崩溃时同被取走（多半无辜）。",
            "It kills the process, or it was only in hand while something else did (most are innocent).",
        ),
        (
            "先看 supervisor 日志中崩溃的原因。进程稳定后逐条重放。",
            "Look first why the process died. When it is steady, replay one, then the others.",
        ),
        Remedy.REPLAY,
    ),
    "broker.delivery_limit": _cause(
        ("投递次数超过上限，由消息服务器移出。", "The broker set it aside after too many deliveries."),
        (
            "接收方反复取走而未确认：对方程序崩溃，或队列消费者出错。",
            "Whoever took it never acknowledged it: a party's program crashes on it, or a consumer of ours did.",
        ),
        ("发往机构的报文：请对方修复后重放。其他：见 detail。", "On its way to a party: replay when they have mended "
         "their program. Otherwise see `detail`."),
        Remedy.REPLAY,
    ),
    "broker.rejected": _cause(
        ("接收方拒收该报文。", "Its receiver rejected it."),
        ("机构的程序以 reject/nack 退回。", "The party's program sent it back with reject or nack."),
        ("请对方查明原因后重放。", "Ask the party why; replay when it will take it."),
        Remedy.REPLAY,
    ),
    "broker.expired": _cause(
        ("报文在处理前过期。", "It expired before anybody handled it."),
        ("发送方设置了有效期。", "Its sender gave it a time to live."),
        ("请发送方以同一编号重发，勿设有效期。", "Ask the sender to send it again under its id, without expiration."),
        Remedy.DISCARD,
    ),
    "broker.maxlen": _cause(
        ("队列已满，报文被移出。", "The queue was full and the broker set it aside."),
        ("队列的 overflow 设置与拓扑不符。", "The queue's overflow differs from the topology."),
        ("执行 hub topology check，修复后重放。", "Run `hub topology check`, mend it, then replay."),
        Remedy.REPLAY,
    ),
}  # fmt: skip

_UNKNOWN = _cause(
    ("报文未能处理。", "The message could not be handled."),
    ("原因代码没有收录，说明见 detail。", "Its cause is not in our table; `detail` says more."),
    _MEND_AND_REPLAY,
    Remedy.EDIT,
)
_READING = _cause(
    _REFUSED,
    ("内容无法按其格式读取。", "Its content cannot be read in its format."),
    _ASK_SENDER,
    Remedy.EDIT,
)
_READING_PREFIXES = ("message.", "xml.", "soap.", "answer.")

CAUSES = frozenset(_DIAGNOSES)


def diagnosis_of(cause: str) -> Diagnosis:
    """The words for a cause; general ones for one that nobody has described."""
    if cause in _DIAGNOSES:
        return _DIAGNOSES[cause]
    return _READING if cause.startswith(_READING_PREFIXES) else _UNKNOWN


_BY_NUMBER = Bilingual(
    zh="安全：一个结算号只有一个案件；内容相同则再次给出已存答复，不同则拒绝。",
    en="Safe: a settlement number has one case. The same content gets the stored answer again, other is refused.",
)
_SAFETY: dict[str, Bilingual] = {
    "settlement.settle": _BY_NUMBER,
    "settlement.trial": Bilingual(
        zh="安全：试算不记账；重放产生一次新的试算。",
        en="Safe: a trial books nothing; a replay is one more trial.",
    ),
    "settlement.cancel": Bilingual(
        zh="安全：同一撤销号只登记一次，已撤销的案件不再变动。",
        en="Safe: a cancel number counts once, and a case that is undone stays as it is.",
    ),
    "settlement.reverse": Bilingual(
        zh="安全：冲正按结算号进行，已冲正的不再变动。",
        en="Safe: a reversal is by settlement number, and what is reversed stays as it is.",
    ),
    "case.query": Bilingual(zh="安全：查询不改变任何内容。", en="Safe: a query changes nothing."),
    "claim.answer": Bilingual(
        zh="安全：答复按请求号对应到支付方；已决定的部分不再变动。",
        en="Safe: an answer is matched by our request id, and a part that is decided stays as it is.",
    ),
    LEG: Bilingual(
        zh="安全：指令只含编号，做什么由状态决定；再次询问支付方时使用同一请求号。",
        en="Safe: a command holds ids only and the state says what to do; a payer is asked again under the same id.",
    ),
    "settlement.answer": Bilingual(
        zh="安全：机构再次收到同一版本的答复。", en="Safe: the party gets the same revision of the answer once more."
    ),
    "error.answer": Bilingual(
        zh="安全：机构再次收到同一拒绝通知。", en="Safe: the party gets the same refusal once more."
    ),
}
_CLAIM_OUT = Bilingual(
    zh="安全：保险公司按请求号识别重复任务，只处理一次。",
    en="Safe: the insurer knows the task by its request id and carries it out once.",
)
_CANNOT_TELL = Bilingual(
    zh="无法识别该报文；重放后若无法处理会再次成为死信，不会记账。",
    en="Nobody knows what it is; a replay that cannot be handled only dies again.",
)


def safety_of(facts: Facts) -> Bilingual:
    """Why a replay does no harm."""
    if facts.what in _SAFETY:
        return _SAFETY[facts.what]
    return _CLAIM_OUT if facts.what.startswith("claim.") else _CANNOT_TELL
