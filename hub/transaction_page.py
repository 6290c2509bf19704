"""docs/transactions.md, written from the registries: `python -m hub.transaction_page` writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from adapters.registry import ADAPTERS
from hub.gateway.national.table import HANDLERS
from routing.visits import RULES, Rule
from schemas.payer import Capabilities, Operation
from schemas.soap import OPERATIONS
from schemas.transactions import SPECS, SUMMARIES, TRANSACTION_OF_INFNO, Channel, Sender, Spec, Transaction
from schemas.visit import VisitState

PAGE = Path(__file__).parents[1] / "docs" / "transactions.md"
YES, NO = "yes", "–"
ASKED: dict[Operation, Transaction] = {
    Operation.SETTLE: Transaction.SETTLE,
    Operation.TRIAL: Transaction.TRIAL,
    Operation.CANCEL: Transaction.CANCEL,
    Operation.REVERSE: Transaction.REVERSE,
}
"""What a payer is asked because a party asked the hub; an inquiry is the hub's own idea."""
PASSED_ON = frozenset(name for name, spec in SPECS.items() if spec.passed_on) | {Transaction.CANCEL}
"""What the hub tells payers of."""
_CHANNELS = {
    Channel.AMQP: "AMQP",
    Channel.HTTP: "HTTP",
    Channel.SOAP: "SOAP",
    Channel.NATIONAL: "national `infno`",
    Channel.STAGING: "staging table",
    Channel.FILE: "file",
}

_HEAD = """# Transactions

Written by `python -m hub.transaction_page` from `schemas/transactions.py`, `routing/visits.py` and the adapters'
capabilities. `tests/integration/test_transaction_cells.py` sends a message through every way in that is claimed,
`tests/contract/test_certify.py` has every dialect say each of its cells to a make-believe party.

## In: what a party may say, and by which way
AMQP and HTTP take the canonical name ([send-a-settlement.md](how-to/send-a-settlement.md)), SOAP the operation
([soap.md](how-to/soap.md)), the national interface the number ([national.md](how-to/national.md)). All ways lead to one
desk: the same checks, the same stored answer to a repeat.
"""
_OUT_HEAD = """
## Out: what each dialect can carry
A column is an adapter of the rule book, as it is without further switches; a party can be trusted with less (`lacks`),
and is told only what it wants (`notices`).

### Asked of payers
"""
_NOTICES_HEAD = """
### Told to payers outside a settlement
`settlement.cancel` is told to whoever was told of a recorded adjudication that is taken back. What a dialect cannot
carry is refused when the rule book is checked.
"""
_VISIT_HEAD = """
## What a visit must be like
`admission.register` makes the visit. A message that comes too early or too late is refused with 409 and with what is to
be done first.
"""
_SETTLEMENT = """
A settlement of a registered visit needs fee lines that stand and a total that is their sum; a stay must be discharged
first, except for a trial; and only one settlement of a visit stands at a time.
"""
_UNDO_HEAD = """
## What takes what back
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD, *_ways_in(), "", _beside(), _OUT_HEAD, *_asked(), _NOTICES_HEAD, *_told()]
    parts += [_VISIT_HEAD, *_preconditions(), _SETTLEMENT.rstrip("\n"), _UNDO_HEAD, *_undos()]
    return "\n".join(parts) + "\n"


def notices_of(adapter: str) -> frozenset[Transaction]:
    """What parties of this adapter can be told about."""
    return frozenset(map(Transaction, ADAPTERS[adapter].capabilities.notices))


def can_be_asked(adapter: str, operation: Operation) -> bool:
    """Whether parties of this adapter can be asked this."""
    can: Capabilities = ADAPTERS[adapter].capabilities
    allowed = {
        Operation.SETTLE: True,
        Operation.TRIAL: can.trial,
        Operation.CANCEL: can.cancel,
        Operation.REVERSE: can.reversal,
        Operation.INQUIRE: can.inquiry,
    }
    return allowed[operation]


def _ways_in() -> Iterator[str]:
    yield from _head("transaction", "term", "what it does", "from", *_CHANNELS.values())
    for name, spec in SPECS.items():
        ways = [_way(name, spec, channel) for channel in _CHANNELS]
        yield _row(f"`{name.value}`", spec.source, SUMMARIES[name], _senders(spec.senders), *ways)


def _way(name: Transaction, spec: Spec, channel: Channel) -> str:
    if channel not in spec.channels:
        return NO
    if channel is Channel.SOAP:
        return f"`{OPERATIONS[name]}`"
    return ", ".join(spec.infnos) if channel is Channel.NATIONAL else YES


def _senders(senders: Iterable[Sender]) -> str:
    given = frozenset(senders)
    return "anybody" if given == frozenset(Sender) else ", ".join(one.value for one in Sender if one in given)


def _beside() -> str:
    others = ", ".join(sorted(HANDLERS.keys() - TRANSACTION_OF_INFNO.keys()))
    return f"The national interface also knows {others}: sign-in and sign-out, files, and a person's visits."


def _asked() -> Iterator[str]:
    yield from _head("asked", *(f"`{name}`" for name in ADAPTERS))
    for operation in Operation:
        said = f"`{ASKED[operation].value}`" if operation in ASKED else "what became of a request"
        yield _row(said, *(_mark(can_be_asked(name, operation)) for name in ADAPTERS))
    can = [adapter.capabilities for adapter in ADAPTERS.values()]
    yield _row("a repeat gives the first answer", *(_mark(one.idempotent_submit) for one in can))
    yield _row("by queue", *(_mark(one.by_queue) for one in can))
    yield _row("message numbers for one request", *(str(one.numbers or NO) for one in can))


def _told() -> Iterator[str]:
    named = {name: notices_of(name) for name in ADAPTERS if notices_of(name)}
    yield from _head("told", *(f"`{name}`" for name in named))
    for name in SPECS:
        if name in PASSED_ON:
            yield _row(f"`{name.value}`", *(_mark(name in notices) for notices in named.values()))
    silent = ", ".join(f"`{name}`" for name in ADAPTERS if name not in named)
    yield f"\n- Nothing can be told to parties of {silent}."
    for adapter, notices in named.items():
        if unused := [f"`{one.value}`" for one in SPECS if one in notices - PASSED_ON]:
            yield f"- `{adapter}` has a word for {', '.join(unused)} too; the hub does not pass that on."


def _preconditions() -> Iterator[str]:
    yield from _head("transaction", "the visit is", "and", "then it is")
    for name, rule in RULES.items():
        states = ", ".join(state.value for state in VisitState if state in rule.states)
        yield _row(
            f"`{name.value}`", states, "; ".join(_further(rule)) or NO, rule.then.value if rule.then else "the same"
        )


def _further(rule: Rule) -> Iterator[str]:
    if rule.unsettled:
        yield "no settlement of it stands"
    if rule.no_lines:
        yield "no fee line stands"


def _undos() -> Iterator[str]:
    yield from _head("takes back", "by")
    undone = {spec.undoes for spec in SPECS.values() if spec.undoes is not None}
    for name in SPECS:
        if name in undone:
            by = ", ".join(f"`{other.value}`" for other, spec in SPECS.items() if spec.undoes is name)
            yield _row(f"`{name.value}`", by)
    yield "\nA recorded adjudication (`adjudication.upload`) is a settlement and is taken back like one."


def _mark(true: bool) -> str:
    return YES if true else NO


def _head(*columns: str) -> Sequence[str]:
    return _row(*columns), "|" + "---|" * len(columns)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
