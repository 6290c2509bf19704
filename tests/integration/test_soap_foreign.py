"""The SOAP service as clients meet it that nobody here wrote: they read the description and settle a bill."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zeep
from lxml import etree
from zeep.plugins import HistoryPlugin
from zeep.wsse.username import UsernameToken

from schemas.soap import SERVICE_NAMESPACE
from tests.support import foreign
from tests.support.builders import BASIC, HOSPITAL, a_settle_request, as_bytes
from tests.support.soap_client import PATH, password, send, zeep_service

VERSIONS = ("11", "12")
MEDIA_TYPES = {"11": "text/xml", "12": "application/soap+xml"}
REQUEST = a_settle_request(settlement_no="S-1")
BY_NUMBER = {"institution": HOSPITAL, "settlement_no": "S-1"}
CALLS = (
    ("Settle", REQUEST),
    ("Settle", REQUEST),
    ("QueryCase", BY_NUMBER),
    ("Settle", REQUEST | {"total": "1.00"}),
    ("Settle", REQUEST | {"total": "1.005"}),
    ("CancelSettlement", BY_NUMBER | {"cancel_no": "C-1", "reason": "退费"}),
)


@pytest.mark.parametrize("version", VERSIONS)
def test_zeep_settles_asks_and_cancels(world, version):
    _, service = zeep_service(world.hub.gateway.port, version)

    settled = service.Settle(**REQUEST)
    again = service.Settle(**REQUEST)
    asked = service.QueryCase(**BY_NUMBER)
    cancelled = service.CancelSettlement(**BY_NUMBER, cancel_no="C-1", reason="退费")

    assert (settled.status, str(settled.total)) == ("settled", "300.00")
    assert settled.cash + sum(share.amount for share in settled.shares) == settled.total
    assert (again.case_id, asked.case_id) == (settled.case_id, settled.case_id)
    assert cancelled.status == "cancelled"
    assert len(world.payers[BASIC].settled) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_zeep_gets_a_typed_fault(world, version):
    client, service = zeep_service(world.hub.gateway.port, version)

    with pytest.raises(zeep.exceptions.Fault) as caught:
        service.Settle(**REQUEST | {"total": "1.00"})

    element = client.get_element(f"{{{SERVICE_NAMESPACE}}}HubFault")
    fault = element.parse(caught.value.detail[0], client.wsdl.types)
    assert (fault.code, fault.violations[0].field) == ("message.invalid", "total")
    assert fault.message_zh


@pytest.mark.parametrize("version", VERSIONS)
def test_zeep_proves_itself_inside_the_message_and_nobody_else_does_with_the_same(world, hospital, version):
    client, service = zeep_service(world.hub.gateway.port, version)
    client.transport.session.auth = None
    history = HistoryPlugin()
    client.plugins.append(history)
    client.wsse = UsernameToken(HOSPITAL, password(), use_digest=True)

    settled = service.Settle(**REQUEST)
    sent = history.last_sent
    replayed = send(hospital, etree.tostring(sent["envelope"]), Authorization="", Content_Type=MEDIA_TYPES[version])

    assert settled.status == "settled"
    assert (replayed.status, replayed.code) == (401, "party.unauthenticated")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("client", [foreign.php, foreign.node])
def test_php_and_node_settle_ask_and_cancel(world, client: Callable[[], list[str]], version):
    wsdl = f"http://127.0.0.1:{world.hub.gateway.port}{PATH}?wsdl"

    settled, again, asked, wrong_sum, no_money, cancelled = foreign.calls(
        client(), wsdl, HOSPITAL, password(), version, CALLS
    )

    assert (settled.answer["status"], settled.answer["total"], settled.answer["final"]) == ("settled", "300.00", True)
    assert [share["amount"] for share in settled.answer["shares"]] == ["150.00", "75.00"]
    assert again.answer == settled.answer
    assert asked.answer["case_id"] == settled.answer["case_id"]
    assert cancelled.answer["status"] == "cancelled"
    assert len(world.payers[BASIC].settled) == 1
    for result, code in ((wrong_sum, "bill.total"), (no_money, "money")):
        assert result.fault["code"].endswith("Client" if version == "11" else "Sender")
        assert result.fault["reason"].startswith("message.invalid: ")
        assert result.fault["detail"]["violations"]["code"] == code
        assert result.fault["detail"]["violations"]["field"] == "total"


def on_the_page(language: str) -> str:
    """The example of the how-to page in this language."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "soap.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.mark.parametrize(
    ("language", "command"), [("python", lambda: [sys.executable]), ("php", foreign.php), ("js", foreign.node)]
)
def test_the_examples_of_the_page_settle(world, tmp_path, language, command):
    program = tmp_path / f"example.{language}"
    address = f"127.0.0.1:{world.hub.gateway.port}"
    program.write_text(on_the_page(language).replace("127.0.0.1:8480", address), encoding="utf-8")
    (tmp_path / "settle.json").write_bytes(as_bytes(REQUEST))

    printed = foreign.run([command()[0], str(program)], tmp_path, TOKEN=password())

    assert printed.split() == ["settled", "75.00"]
