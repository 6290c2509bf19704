"""The ledger in the simulator: booked by the same rules, proved case by case and against the payers' own books (I4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from routing.life import totals
from routing.postings import STANDING, Account, Posting, borne, postings
from routing.states import CaseState
from schemas.payer import Operation
from simulation.memory import Tables, Transaction
from store.records import CaseRecord

LEDGER = "ledger"


def book(transaction: Transaction, case: CaseRecord) -> None:
    """What `store.ledger.post_cases` does, in memory: the case's entries are kept under its id, in their order."""
    made = postings(case) if case.purpose is Operation.SETTLE else []
    if made:
        booked = transaction.get(LEDGER, case.case_id) or ()
        transaction.put(LEDGER, case.case_id, (*booked, *made))


def balance(entries: Iterable[Posting], account: Account, leg_no: int | None = None) -> int:
    """Debit less credit of one account, of one leg when it is named; whole fen."""
    return sum(
        (entry.debit is account) * entry.amount_fen - (entry.credit is account) * entry.amount_fen
        for entry in entries
        if leg_no is None or entry.leg_no == leg_no
    )


def only_added(tables: Tables, writes: Tables) -> Iterator[str]:
    """Complaints about entries that were changed or taken away."""
    for case_id, entries in writes.get(LEDGER, {}).items():
        before = tables[LEDGER].get(case_id) or ()
        if tuple(entries[: len(before)]) != tuple(before):
            yield f"entries of case {case_id[-6:]} were changed"


def wrong(case: CaseRecord, entries: Sequence[Posting]) -> Iterator[str]:
    """Complaints about what is booked of one case."""
    name = f"case {case.case_id[-6:]}"
    if case.purpose is Operation.TRIAL:
        if entries:
            yield f"{name} is a trial and is booked"
        return
    if any(entry.amount_fen <= 0 or entry.debit is entry.credit for entry in entries):
        yield f"{name} has an entry that moves nothing"
    for leg in case.legs:
        accounts = (Account.RECEIVABLE, Account.PERSONAL, Account.HOSPITAL)
        booked = tuple(balance(entries, account, leg.leg_no) for account in accounts)
        if booked != tuple(borne(leg) or (0, 0, 0)):
            yield f"leg {leg.leg_no} of {name} is {leg.state} and booked with {booked}"
    charged = -balance(entries, Account.CHARGES)
    if charged != (case.total_fen if any(leg.state in STANDING for leg in case.legs) else 0):
        yield f"{name} of {case.total_fen} fen is charged with {charged}"
    if case.state is CaseState.SETTLED and balance(entries, Account.PATIENT) != totals(case).cash_fen:
        yield f"{name} leaves the patient {balance(entries, Account.PATIENT)} fen, and was told {totals(case).cash_fen}"
    if case.state in (CaseState.CANCELLED, CaseState.DECLINED) and any(balance(entries, one) for one in Account):
        yield f"{name} is {case.state} and something is booked"
