"""Holding books against each other: agreement is silence, a difference is named to the fen."""

from __future__ import annotations

from sandbox.book import Book
from sandbox.entries import APPROVED, CANCEL, CANCELLED, SETTLE, Entry
from sandbox.his_book import HospitalBook
from sandbox.proof import ACCOUNT, borne_as_told, borne_by_books, differences


def paying(amount_fen: int) -> Book:
    book = Book(volatile=True)
    book.record([Entry("R-1", SETTLE, APPROVED, amount_fen, amount_fen, institution="H1", settlement_no="S1")])
    return book


def told(amount: str) -> HospitalBook:
    book = HospitalBook()
    money = dict.fromkeys(("total", "account", "hospital_borne", "cash", "deferred"), "0.00")
    shares = [{"payer": "CICI", "state": "approved", "amount": amount}]
    facts = {"institution": "H1", "settlement_no": "S1", "case_id": "C", "revision": 1, "status": "settled"}
    book.write([{**facts, **money, "final": True, "shares": shares}])
    return book


def test_books_that_agree_have_no_differences() -> None:
    sides = {"hospital": borne_as_told(told("5.00")), "payers": borne_by_books({"CICI": paying(500)})}

    assert differences(sides) == []


def test_a_difference_names_payer_settlement_and_both_amounts() -> None:
    sides = {"hospital": borne_as_told(told("4.99")), "payers": borne_by_books({"CICI": paying(500)})}

    (found,) = differences(sides)

    assert (found.payer, found.institution, found.settlement_no) == ("CICI", "H1", "S1")
    assert found.said == (("hospital", 499), ("payers", 500))


def test_the_personal_account_is_compared_too() -> None:
    book = Book(volatile=True)
    entry = Entry("R-1", SETTLE, APPROVED, 500, 500, 70, institution="H1", settlement_no="S1")
    book.record([entry])

    (found,) = differences({"hospital": borne_as_told(told("5.00")), "payers": borne_by_books({"CICI": book})})

    assert (found.payer, found.said) == (ACCOUNT, (("hospital", 0), ("payers", 70)))


def test_a_payment_that_only_one_side_knows_is_a_difference() -> None:
    assert len(differences({"hospital": {}, "payers": borne_by_books({"CICI": paying(500)})})) == 1


def test_a_cancelled_payment_is_no_payment() -> None:
    book = paying(500)
    undo = Entry("X-1", CANCEL, CANCELLED, 500, institution="H1", settlement_no="S1", original_request_id="R-1")
    book.record([undo])

    assert differences({"hospital": {}, "payers": borne_by_books({"CICI": book})}) == []
