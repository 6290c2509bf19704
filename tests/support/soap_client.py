"""zeep as a party's SOAP client of the gateway, and a client that sends any bytes and takes the answer apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests
import zeep
from lxml import etree

from hub.gateway.identity import token_for
from hub.gateway.soap.versions import SOAP_11, SoapVersion
from schemas.soap import SERVICE
from tests.support.builders import HOSPITAL
from tests.support.http_client import Client, Reply
from tests.support.hub_in_process import TOKEN_SECRET

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


@dataclass(frozen=True)
class SoapReply:
    """An answer or a fault, taken apart by names."""

    http: Reply

    @property
    def root(self) -> etree._Element:
        return etree.fromstring(self.http.body)

    @property
    def status(self) -> int:
        return self.http.status

    def text(self, name: str) -> str:
        """The text of the first element with this local name; empty when there is none."""
        return next((str(found.text) for found in self.root.iter(f"{{*}}{name}", name)), "")

    @property
    def code(self) -> str:
        """The code of the typed fault; empty when this is none."""
        return self.text("code") if self.root.find(".//{*}HubFault") is not None else ""

    @property
    def blamed(self) -> str:
        """The local name of SOAP's own fault code."""
        return (self.text("faultcode") or self.text("Value")).rpartition(":")[2]


def send(client: Client, raw: bytes, version: SoapVersion = SOAP_11, **headers: str) -> SoapReply:
    """Any bytes to the service, as one version of SOAP."""
    given = {"Content_Type": version.content_type} | headers
    return SoapReply(client.request("POST", PATH, raw, **given))
