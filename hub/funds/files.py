"""Payment files for a payer's bank: CSV whose first line declares payer, count, total and the hash of all that follows.

An order is in one file at most; a file asked for again is the same bytes. What institutions pay back is in no file.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from hub.imports.report import harmless
from routing.rulebook import RuleBook
from schemas.bank import BankAccount
from schemas.errors import Conflict, Malformed
from schemas.money import yuan_of
from store import fund_payments
from store.fund_payments import Payment, PaymentFile

MARK = "#settlement-hub-payments"
VERSION = "1"
COLUMNS = (
    *("payment_no", "institution", "institution_name", "amount", "currency", "claims"),
    *("payee_name", "payee_bank", "payee_account", "payer_name", "payer_bank", "payer_account"),
)
_NO_ACCOUNT = ("", "", "")


def write(connection: Connection, payer: str, book: RuleBook, *, by: str, now: datetime) -> PaymentFile:
    """Put every order of a payer that no file carries into a new one. Conflict: there is none."""
    held = fund_payments.unwritten(connection, payer)
    if not held:
        raise Conflict(
            "no order waits for a file; --again writes an earlier one",
            code="payment.none",
        )
    names = {code: one.name for code, one in book.institution_by_code.items()}
    content, digest = content_of(payer, [(one, names.get(one.institution, "")) for one in held])
    return fund_payments.add_file(connection, payer, held, digest, content, by=by, now=now)


def content_of(payer: str, rows: Sequence[tuple[Payment, str]]) -> tuple[bytes, str]:
    """The file's bytes, and the SHA-256 that its first line declares."""
    body = io.StringIO(newline="")
    table = csv.writer(body, lineterminator="\n")
    table.writerow(COLUMNS)
    for one, name in rows:
        claims = " ".join(map(str, one.claims))
        accounts = [*_cells(one.institution_account), *_cells(one.payer_account)]
        about = [one.payment_no, one.institution, harmless(name), yuan_of(one.amount_fen), "CNY", claims]
        table.writerow([*about, *accounts])
    raw = body.getvalue().encode()
    digest = hashlib.sha256(raw).hexdigest()
    total = yuan_of(sum(one.amount_fen for one, _ in rows))
    head = ",".join((MARK, VERSION, payer, str(len(rows)), total, digest))
    return head.encode() + b"\n" + raw, digest


def _cells(account: BankAccount | None) -> tuple[str, str, str]:
    if account is None:
        return _NO_ACCOUNT
    return harmless(account.name), harmless(account.bank), account.number


def without_account(carried: Iterable[Payment]) -> list[str]:
    """The institutions whose payments name no account to pay to."""
    return sorted({one.institution for one in carried if one.institution_account is None})


def check(content: bytes) -> tuple[str, int, int]:
    """(payer, count, total fen) of a file that agrees with its first line; Malformed says what does not."""
    from schemas.money import fen_of

    head, _, raw = content.partition(b"\n")
    try:
        mark, version, payer, count, total, digest = head.decode().split(",")
        rows = list(csv.DictReader(io.StringIO(raw.decode(), newline="")))
        sums = (len(rows), sum(fen_of(row["amount"]) for row in rows))
        declared = (int(count), fen_of(total))
    except (ValueError, KeyError, TypeError):
        raise Malformed("this is no payment file") from None
    if (mark, version) != (MARK, VERSION):
        raise Malformed("this is no payment file of a known version")
    if hashlib.sha256(raw).hexdigest() != digest:
        raise Malformed("the file is not as it was written: its hash differs")
    if sums != declared:
        raise Malformed("the rows do not come to the declared count and total")
    return payer, *declared
