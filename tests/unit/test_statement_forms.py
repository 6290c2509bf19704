"""The forms of a statement's file: what becomes of headings, cells and national rows before the database sees them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import orjson
import pytest
import xlsxwriter

from adapters.hospital.remedies import remedy_zh
from hub.gateway.national.clearing import rows_of
from hub.gateway.national.numbers import short_number
from hub.gateway.national.statements import lines_of
from hub.imports.layout import InvalidFile
from hub.recon.forms import Form, form_of
from hub.recon.forms.headings import columns_of
from schemas.errors import InvalidMessage, Violation
from schemas.statement import StatementHeader
from store.statements import COLUMNS
from tests.support.statement_files import a_zip

CASE = "01a2029c-0ca9-7385-b306-fb754f15710b"


def read(form: Form) -> str:
    """All of the lines."""
    with form.opened() as chunks:
        return b"".join(iter(chunks.read, b"")).decode()


def a_file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_headings_are_known_in_both_languages_and_any_order() -> None:
    assert columns_of(COLUMNS) == COLUMNS
    assert columns_of(["　支付金额 ", "Reference"]) == ("amount", "reference")


def test_every_wrong_heading_is_named_but_no_long_text_is_repeated() -> None:
    with pytest.raises(InvalidFile) as refusal:
        columns_of(["kind", "kind", "x" * 41, "\x07", "fee"])

    assert [one.split(":")[0] for one in refusal.value.complaints] == [
        "column 2", "column 3", "column 4", "column 5", "the heading must name amount", "columns"]  # fmt: skip
    assert "'fee'" in refusal.value.complaints[3]
    assert "xxx" not in str(refusal.value)
    assert "amount (支付金额), account (个人账户)" in refusal.value.complaints[-1]


def test_an_amount_in_a_row_of_a_file_is_no_quoted_text_in_either_language() -> None:
    in_file, in_message = (remedy_zh(Violation(field, "money", "")) for field in ("row 2, amount", "lines[0].amount"))

    assert ("文本" in in_file, "-1234.50" in in_file, "文本" in in_message) == (False, True, True)


def test_the_bytes_of_a_csv_go_on_as_they_are(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbfamount;reference\r\n1.00;R-1\r\n"
    form = form_of(a_file(tmp_path, "day.csv", content), institutions=False)

    assert (form.columns, form.separator, form.first_row) == (("amount", "reference"), ";", 2)
    assert form.sha256() == hashlib.sha256(content).hexdigest()
    assert read(form) == "1.00;R-1\r\n"
    assert form.sha256() == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("day.csv", b"\xff\xfea\x00m\x00"),
        ("day.csv", b"x" * 5000),
        ("day.csv", b"amount\n" + b"1" * 2 * 1024**2),
        ("day.xlsx", b"amount\n1.00\n"),
        ("day.zip", b"amount\n1.00\n"),
        ("day.txt", b""),
        ("day.pdf", b"%PDF"),
        ("day.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    ],
)
def test_what_is_of_no_form_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(InvalidFile):
        read(form_of(a_file(tmp_path, name, content), institutions=False))


GOOD, LONG = b'"1.00","R-1"\n', 200_000 * b'1.00,"R ""1"""\n'
ENDLESS = {
    "an unclosed quote": (GOOD + b'1.00,"R-2\n' + GOOD, "row 3: a quote is opened and not closed"),
    "far into a long file": (LONG + b'1.00,R-2"\n' + LONG, "row 200002: a quote is opened and not closed"),
    "one that a later one closes": (b'1.00,"R-2\n' + 200_000 * b"1.00,R-3\n" + b'"\n', "row 2: a quote is opened"),
    "no end of a line": (GOOD + 2_000_000 * b"1", "row 3: it is longer than any row can be"),
}


@pytest.mark.parametrize(("content", "said"), ENDLESS.values(), ids=list(ENDLESS))
def test_a_row_that_does_not_end_is_named_before_the_database_holds_it_all(
    tmp_path: Path, content: bytes, said: str
) -> None:
    form = form_of(a_file(tmp_path, "day.csv", b"amount,reference\n" + content), institutions=False)
    passed: list[int] = []

    with form.opened() as chunks, pytest.raises(InvalidFile) as refusal:
        passed.extend(map(len, iter(chunks.read, b"")))

    assert refusal.value.complaints[0].startswith(said)
    assert sum(passed) <= content.find(b"R-2") + 2**20


def test_quotes_that_are_closed_are_nobodys_business(tmp_path: Path) -> None:
    content = LONG + b'"1.00","two\nlines"\n' + LONG + b'1.00,"at the end"'

    assert (
        read(form_of(a_file(tmp_path, "day.csv", b"amount,reference\n" + content), institutions=False)).encode()
        == content
    )


LINE = {"institution": "H44030000001", "reference": "R-1", "amount": "1.00"}
MESSAGE = {"party": "CICI", "day": "2026-03-02", "count": 1, "total": "1.00"}


def a_message(folder: Path, *lines: dict[str, str], **changes: object) -> Path:
    return a_file(folder, "day.json", orjson.dumps(MESSAGE | {"lines": lines or (LINE,)} | changes))


def test_a_message_in_a_file_becomes_the_same_lines(tmp_path: Path) -> None:
    path = a_message(tmp_path, LINE, LINE | {"kind": "refund", "amount": "-1.00", "at": "2026-03-02T01:00:00Z"})
    header = StatementHeader.model_validate(MESSAGE)

    form = form_of(path, institutions=False, header=header)

    assert (form.name, form.columns, form.first_row) == ("json", COLUMNS, 1)
    assert read(form) == (
        "settle,H44030000001,,,,R-1,0.00,1.00,0.00,0.00,\n"
        "refund,H44030000001,,,,R-1,0.00,-1.00,0.00,0.00,2026-03-02T09:00:00+08:00\n"
    )
    with pytest.raises(InvalidFile, match="total: the file itself says something else"):
        form_of(path, institutions=False, header=header.model_copy(update={"total": 99}))


def test_what_is_wrong_with_a_message_in_a_file_is_named_by_its_row(tmp_path: Path) -> None:
    def told(path: Path) -> list[str]:
        with pytest.raises(InvalidFile) as refusal:
            form_of(path, institutions=False)
        return list(refusal.value.complaints)

    wrong = a_message(tmp_path, LINE, LINE | {"amount": "1e3"}, LINE | {"reference": "=1+1"})
    assert [one.partition(":")[0] for one in told(wrong)] == ["row 2, amount", "row 3, reference"]
    assert told(a_message(tmp_path, *[LINE] * 5_001)) == [
        "lines: a message holds 5,000 lines at most: send the statement as a CSV file"
    ]
    assert "a key occurs twice" in told(a_file(tmp_path, "day.json", b'{"party": "A", "party": "B"}'))[0]
    assert "larger than 8 MiB" in told(a_file(tmp_path, "day.json", b" " * (8 * 1024**2 + 1)))[0]


def test_numbers_of_a_sheet_become_the_text_that_was_meant(tmp_path: Path) -> None:
    path = tmp_path / "day.xlsx"
    with xlsxwriter.Workbook(str(path)) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate((("reference", "amount"), (17, 0.1 + 0.2), (" R-2", -80), ("R-3", 1e-7))):
            sheet.write_row(number, 0, row)

    form = form_of(path, institutions=False)

    assert read(form).splitlines() == ['"17","0.3"', '"R-2","-80"', '"R-3","0.0000001"']


def test_a_number_that_has_lost_digits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "day.xlsx"
    with xlsxwriter.Workbook(str(path)) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ("reference", "amount"))
        sheet.write_row(1, 0, (12345678901234567890, 1))

    with pytest.raises(InvalidFile, match="row 2: a number has lost digits"):
        read(form_of(path, institutions=False))


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("A\tM\tP\t3.00\t2.00\t1.00\t0\tnull", 'settle,"A",,"3.00","2.00","1.00"'),
        ("A\tM\tP\t-3.00\t-2.00\tnull\t1\tnull", 'refund,"A",,"-3.00","-2.00","0"'),
        ("A\tM\tP\t3.00\t2.00\t0\t1", 'settle,"A",,"3.00","2.00","0"'),
        ("A\tM\tP\t0\t0.00\tnull\t1\tnull", 'refund,"A",,"0","0.00","0"'),
        ('A","B\tM\tP\t1\t1\t0\t0\tnull', 'settle,"A"",""B",,"1","1","0"'),
    ],
)
def test_national_rows_leave_persons_and_visits_outside(tmp_path: Path, row: str, line: str) -> None:
    form = form_of(a_file(tmp_path, "day.zip", a_zip(row)), institutions=False)

    assert read(form) == f"{line}\n"


def test_an_institution_names_settlements_by_our_numbers(tmp_path: Path) -> None:
    number = short_number(CASE)
    path = a_file(tmp_path, "day.txt", f"setl_id\tx\tx\tx\tx\tx\tx\tx\n{number}\tM\tP\t1\t1\t0\t0\tnull\n".encode())

    ours, theirs = (read(form_of(path, institutions=one)) for one in (True, False))

    assert ours == f'settle,"{number}",{CASE},"1","1","0"\n'
    assert theirs == f'settle,"{number}",,"1","1","0"\n'


def test_the_sign_says_which_row_of_3202_takes_back() -> None:
    packed = a_zip(
        "A\tM\tP\t3.00\t2.00\t0\t1\tnull", "A\tM\tP\t-3.00\t-2.00\t0\t1\tnull", "B\tM\tP\t3.00\t2.00\t0\t0\tnull"
    )

    lines = lines_of("H44030000001", rows_of(packed), {"B": "S-1"})

    told = [(line.kind, line.settlement_no, line.reference, line.amount) for line in lines]
    assert told == [("settle", None, "A", 200), ("refund", None, "A", -200), ("settle", "S-1", None, 200)]


def test_a_row_of_3202_with_two_signs_is_refused() -> None:
    with pytest.raises(InvalidMessage):
        lines_of("H44030000001", rows_of(a_zip("A\tM\tP\t3.00\t-2.00\t0\t0\tnull")), {})
