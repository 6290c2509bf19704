"""Parties that prove themselves to the broker by certificate, as docs/how-to/parties.md says."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pika
import pytest
import trustme
from pika.credentials import ExternalCredentials
from pika.exceptions import AMQPError, ChannelClosedByBroker

from hub.broker.admin import BrokerAdmin, Rights
from tests.support.processes import free_port
from tests.support.rabbitmq_server import LocalRabbit

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

ME, OTHER = "H44030000001", "H44030000002"
VHOST = "edge"


@dataclass
class Guarded:
    """A broker whose TLS port wants certificates of `authority`."""

    port: int
    authority: trustme.CA

    def connect(self, certificate: trustme.LeafCert | None) -> pika.BlockingConnection:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if certificate is not None:
            certificate.configure_cert(context)
        return pika.BlockingConnection(
            pika.ConnectionParameters(
                "localhost",
                self.port,
                VHOST,
                ExternalCredentials(),
                ssl_options=pika.SSLOptions(context, "localhost"),
            )
        )


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[Guarded]:
    folder: Path = tmp_path_factory.mktemp("certificates")
    authority, port, management_port = trustme.CA(), free_port(), free_port()
    server = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    server.private_key_pem.write_to_path(folder / "key.pem")
    server.cert_chain_pems[0].write_to_path(folder / "server.pem")
    rabbit = LocalRabbit()
    try:
        rabbit.reconfigure(
            f"listeners.ssl.1 = 127.0.0.1:{port}",
            f"ssl_options.cacertfile = {folder / 'ca.pem'}",
            f"ssl_options.certfile = {folder / 'server.pem'}",
            f"ssl_options.keyfile = {folder / 'key.pem'}",
            "ssl_options.verify = verify_peer",
            "ssl_options.fail_if_no_peer_cert = true",
            "ssl_cert_login_from = common_name",
            "auth_mechanisms.1 = EXTERNAL",
            "auth_mechanisms.2 = PLAIN",
            "management.tcp.ip = 127.0.0.1",
            f"management.tcp.port = {management_port}",
            plugins="rabbitmq_management,rabbitmq_auth_mechanism_ssl",
        )
        rabbit.add_vhost(VHOST)
        admin = BrokerAdmin(_management_url(rabbit.url, management_port), VHOST)
        for code in (ME, OTHER):
            admin.set_password(code, "a password that nobody uses")
            admin.allow(code, Rights(write=rf"^in\.{code}$"))
        yield Guarded(port, authority)
    finally:
        rabbit.close()


def _management_url(url: str, port: int) -> str:
    user = urlsplit(url).netloc.rpartition("@")[0]
    return f"http://{user}@127.0.0.1:{port}"


def named(authority: trustme.CA, party: str) -> trustme.LeafCert:
    return authority.issue_cert(f"{party.lower()}.example", common_name=party)


def test_the_name_in_the_certificate_is_the_party(broker):
    connection = broker.connect(named(broker.authority, ME))

    for exchange, code in ((f"in.{ME}", 404), (f"in.{OTHER}", 403)):
        channel = connection.channel()
        channel.confirm_delivery()
        with pytest.raises(ChannelClosedByBroker) as refused:
            channel.basic_publish(exchange, "settlement.settle", b"{}")
        assert refused.value.reply_code == code  # 404: allowed, and nobody has declared it here
    connection.close()


@pytest.mark.parametrize("who", ["nobody", "a stranger", "a name without a user"])
def test_nobody_else_comes_in(broker, who):
    certificate = {
        "nobody": None,
        "a stranger": named(trustme.CA(), ME),
        "a name without a user": named(broker.authority, "H44030000009"),
    }[who]

    with pytest.raises((AMQPError, OSError)):
        broker.connect(certificate)
