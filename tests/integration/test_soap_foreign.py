"""The SOAP service as clients meet it that nobody here wrote: they read the description and settle a bill."""

from __future__ import annotations

import pytest
import zeep

from tests.support.builders import BASIC, HOSPITAL, a_settle_request
from tests.support.soap_client import zeep_service

VERSIONS = ("11", "12")


@pytest.mark.parametrize("version", VERSIONS)
def test_zeep_settles_asks_and_cancels(world, version):
    _, service = zeep_service(world.hub.gateway.port, version)

    settled = service.Settle(**a_settle_request(settlement_no="S-1"))
    again = service.Settle(**a_settle_request(settlement_no="S-1"))
    asked = service.QueryCase(institution=HOSPITAL, settlement_no="S-1")
    cancelled = service.CancelSettlement(institution=HOSPITAL, settlement_no="S-1", cancel_no="C-1", reason="退费")

    assert (settled.status, str(settled.total)) == ("settled", "300.00")
    assert settled.cash + sum(share.amount for share in settled.shares) == settled.total
    assert (again.case_id, asked.case_id) == (settled.case_id, settled.case_id)
    assert cancelled.status == "cancelled"
    assert len(world.payers[BASIC].settled) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_zeep_gets_a_typed_fault(world, version):
    client, service = zeep_service(world.hub.gateway.port, version)
    request = a_settle_request() | {"total": "1.00"}

    with pytest.raises(zeep.exceptions.Fault) as caught:
        service.Settle(**request)

    fault = client.get_element("{urn:settlement-hub:service:v1}HubFault").parse(
        caught.value.detail[0], client.wsdl.types
    )
    assert (fault.code, fault.violations[0].field) == ("message.invalid", "total")
    assert fault.message_zh
