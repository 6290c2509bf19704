"""zeep as a party's SOAP client of the gateway, and a client that sends any bytes and takes the answer apart."""

from __future__ import annotations

from typing import Any

import requests
import zeep

from hub.gateway.identity import token_for
from hub.gateway.soap.versions import SOAP_11, SoapVersion
from schemas.soap import SERVICE
from tests.support.builders import HOSPITAL
from tests.support.http_client import Client
from tests.support.hub_in_process import TOKEN_SECRET
from tests.support.soap_messages import SoapReply

PATH = "/soap/settlement"


def password(party: str = HOSPITAL) -> str:
    """What a party writes where a client asks for a password."""
    return token_for(TOKEN_SECRET, party)


def zeep_service(port: int, version: str = "11", party: str = HOSPITAL) -> tuple[zeep.Client, Any]:
    """A zeep client that got the description from the gateway itself, and its service of one SOAP version."""
    session = requests.Session()
    session.trust_env = False
    session.auth = (party, password(party))
    settings = zeep.Settings(strict=True, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    transport = zeep.Transport(cache=None, session=session, timeout=20, operation_timeout=20)
    client = zeep.Client(f"http://127.0.0.1:{port}{PATH}?wsdl", transport=transport, settings=settings)
    return client, client.bind(SERVICE, f"{SERVICE}{version}")


def send(client: Client, raw: bytes, version: SoapVersion = SOAP_11, **headers: str) -> SoapReply:
    """Any bytes to the service, as one version of SOAP."""
    given = {"Content_Type": version.content_type} | headers
    reply = client.request("POST", PATH, raw, **given)
    return SoapReply(reply.status, reply.headers, reply.body)
