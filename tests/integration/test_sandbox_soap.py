"""The basic system as a foreign SOAP client sees it (zeep, both versions)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import urllib3
import zeep

from sandbox import parties
from sandbox.faults import Fault, FaultKind
from sandbox.server import CastSettings, Sandbox
from schemas.money import fen_of
from tests.support.sandbox_builders import a_bill, soap_bill


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(CastSettings(data=tmp_path)) as running:
        yield running


@pytest.fixture(params=["BasicSettlement11", "BasicSettlement12"])
def service(sandbox: Sandbox, request: pytest.FixtureRequest) -> Any:
    client = zeep.Client(f"{sandbox.endpoints()[parties.BASIC]}?wsdl")
    return client.bind("BasicSettlementService", request.param)


def fen(amount: Decimal) -> int:
    return fen_of(str(amount))


def test_a_settlement_keeps_the_identities_and_stands_in_the_book(sandbox: Sandbox, service: Any) -> None:
    bill = a_bill()

    answer = service.Settle(**soap_bill(bill))

    info = answer.setlinfo
    assert (answer.infcode, answer.request_id) == ("0", "R-1")
    assert fen(info.medfee_sumamt) == bill.total
    scopes = ("fulamt_ownpay_amt", "overlmt_selfpay", "preselfpay_amt", "inscp_scp_amt")
    assert sum(fen(info[name]) for name in scopes) == bill.total
    assert sum(fen(info[name]) for name in ("fund_pay_sumamt", "psn_part_amt", "hosp_part_amt")) == bill.total
    assert fen(info.acct_pay) + fen(info.psn_cash_pay) == fen(info.psn_part_amt)
    assert sum(fen(fund.fund_payamt) for fund in answer.setldetail) == fen(info.fund_pay_sumamt)
    assert sandbox.books[parties.BASIC].effective("R-1") == fen(info.fund_pay_sumamt) > 0


def test_a_repeat_gets_the_first_answer_and_books_nothing(sandbox: Sandbox, service: Any) -> None:
    first = service.Settle(**soap_bill(a_bill()))

    again = service.Settle(**soap_bill(a_bill()))

    assert zeep.helpers.serialize_object(again) == zeep.helpers.serialize_object(first)
    assert sandbox.books[parties.BASIC].totals().entries == 1


def test_an_id_used_for_another_bill_is_refused(sandbox: Sandbox, service: Any) -> None:
    service.Settle(**soap_bill(a_bill()))

    answer = service.Settle(**soap_bill(a_bill("outpatient")))

    assert (answer.infcode, answer.err_code) == ("-1", "request_reused")


def test_a_trial_answers_alike_and_leaves_no_trace(sandbox: Sandbox, service: Any) -> None:
    trial = service.Trial(**soap_bill(a_bill()))
    settled = service.Settle(**soap_bill(a_bill()))

    assert trial.setlinfo.psn_cash_pay == settled.setlinfo.psn_cash_pay
    assert sandbox.books[parties.BASIC].totals().entries == 1


def undo(service: Any, request_id: str, original: str, **known: str) -> Any:
    bill = a_bill()
    return service.Cancel(
        request_id=request_id,
        fixmedins_code=bill.institution,
        mdtrtarea_admvs=bill.region,
        settlement_no=bill.settlement_no,
        psn_no=bill.insurance.person_no,
        omsgid=original,
        **known,
    )


def test_a_cancel_mirrors_its_original_once(sandbox: Sandbox, service: Any) -> None:
    settled = service.Settle(**soap_bill(a_bill()))

    first = undo(service, "X-1", "R-1", fund_pay_sumamt=str(settled.setlinfo.fund_pay_sumamt))
    undo(service, "X-2", "R-1")

    assert (first.cancelinfo.refd_setl_flag, first.cancelinfo.setl_id) == ("1", settled.setlinfo.setl_id)
    assert first.cancelinfo.fund_pay_sumamt == settled.setlinfo.fund_pay_sumamt
    assert first.cancelinfo.acct_pay == settled.setlinfo.acct_pay
    book = sandbox.books[parties.BASIC]
    assert (book.effective("R-1"), book.totals().net_fen, book.totals().net_account_fen) == (0, 0, 0)


def test_a_cancel_of_an_unknown_request_bars_it(sandbox: Sandbox, service: Any) -> None:
    cancelled = undo(service, "X-1", "R-1")

    late = service.Settle(**soap_bill(a_bill()))

    assert (cancelled.infcode, cancelled.cancelinfo.refd_setl_flag) == ("0", "0")
    assert (late.infcode, late.err_code) == ("-1", "cancelled_before")
    assert sandbox.books[parties.BASIC].totals().net_fen == 0


def test_a_cancel_of_a_settlement_that_does_not_exist_is_refused(service: Any) -> None:
    refused = undo(service, "X-1", "R-1", setl_id="SL1", fund_pay_sumamt="1.00")

    assert (refused.infcode, refused.err_code, refused.cancelinfo) == ("-1", "unknown_original", None)


def test_a_reversal_tells_what_an_earlier_one_took_back(sandbox: Sandbox, service: Any) -> None:
    settled = service.Settle(**soap_bill(a_bill()))
    first, again, other = (undo(service, name, "R-1").cancelinfo for name in ("X-1", "X-1", "X-2"))

    assert {each.fund_pay_sumamt for each in (first, again, other)} == {settled.setlinfo.fund_pay_sumamt}
    assert {each.refd_setl_flag for each in (first, again, other)} == {"1"}
    assert sandbox.books[parties.BASIC].totals().net_account_fen == 0


def test_a_refused_undo_says_why(sandbox: Sandbox, service: Any) -> None:
    service.Settle(**soap_bill(a_bill()))
    sandbox.set_faults(parties.BASIC, [Fault(kind=FaultKind.REFUSE_UNDO, count=1)])

    refused, undone = undo(service, "X-1", "R-1"), undo(service, "X-1", "R-1")

    assert (refused.infcode, refused.err_code) == ("-1", "undo_refused")
    assert (undone.infcode, undone.cancelinfo.refd_setl_flag) == ("0", "1")


def test_an_inquiry_tells_what_became_of_a_request(service: Any) -> None:
    def state(original: str) -> str:
        code, person = a_bill().institution, a_bill().insurance.person_no
        return str(service.Inquire(request_id="Q-1", fixmedins_code=code, psn_no=person, omsgid=original).omsg_stas)

    before = state("R-1")
    service.Settle(**soap_bill(a_bill()))
    settled = state("R-1")
    undo(service, "X-1", "R-1")
    service.Settle(**soap_bill(a_bill(), "R-2", psn_no="4403-PAUSED"))

    assert (before, settled, state("R-1"), state("R-2")) == ("0", "1", "3", "2")


def test_a_suspended_person_is_refused_in_words(service: Any) -> None:
    answer = service.Settle(**soap_bill(a_bill(), psn_no="4403-PAUSED"))

    assert (answer.infcode, answer.setlinfo) == ("-1", None)
    assert "参保状态" in answer.err_msg


def test_a_bill_that_does_not_add_up_is_refused(service: Any) -> None:
    answer = service.Settle(**soap_bill(a_bill(), medfee_sumamt="1.00"))

    assert (answer.infcode, answer.err_code) == ("-1", "A1")


def test_a_message_against_the_schema_gets_a_typed_fault(service: Any) -> None:
    with pytest.raises(zeep.exceptions.Fault) as caught:
        service.Settle(**soap_bill(a_bill(), insutype="3100"))

    names = {child.tag.rpartition("}")[2]: child.text for child in caught.value.detail[0]}
    assert (names["code"], names["retryable"]) == ("schema", "false")
    assert "3100" not in str(names)


HOSTILE = {
    "not xml": b"settle please",
    "empty": b"",
    "doctype": b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><x>&e;</x>',
    "external dtd": b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd"><x/>',
    "not an envelope": b"<a/>",
    "two payloads": b'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><a/><b/></e:Body></e:Envelope>',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_get_a_fault(sandbox: Sandbox, name: str) -> None:
    answer = urllib3.request("POST", sandbox.endpoints()[parties.BASIC], body=HOSTILE[name], retries=False)

    assert answer.status == 500
    assert b"BasicFault" in answer.data
    assert b"Traceback" not in answer.data
