"""Opening a stage: the party's adapter with its keys, the way to it, and whether it may be called at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from adapters.registry import HOSTED, Adapter, make_adapter
from hub.certify.bills import Bills, CannotCertify, TestData, terms_of
from hub.certify.control import Control, control_at
from hub.certify.queue_line import QueueLine
from hub.certify.stage import Line, Stage
from routing.rulebook import Party, RuleBook
from schemas.payer import PreparedCall, RawAnswer


@contextlib.contextmanager
def open_stage(
    book: RuleBook,
    party: Party,
    *,
    endpoint: str = "",
    product: str = "",
    data: TestData | None = None,
    control: str = "",
    seed: int = 1,
    test_system: bool = False,
    queue_url: str = "",
    queue_name_secret: str = "",
    secrets: Mapping[str, str] | None = None,
) -> Iterator[tuple[Stage, str]]:
    """A stage on the party, and its address without passwords; `secrets` are its own. CannotCertify says why not."""
    if party.adapter == HOSTED:
        raise CannotCertify(f"{party.code}: the hub adjudicates its products itself; there is no partner to certify")
    settings = party.settings(secrets)
    settings = replace(settings, endpoint=endpoint or settings.endpoint)
    terms = terms_of(book, party, product)
    try:
        adapter = make_adapter(settings)
    except ValueError as error:
        raise CannotCertify(str(error)) from None
    with contextlib.closing(adapter), contextlib.ExitStack() as stack:
        by_queue = adapter.capabilities.by_queue
        address = endpoint or (queue_url if by_queue else party.endpoint)
        _permitted(party, endpoint, queue_url if by_queue else party.endpoint, by_queue, test_system)
        if by_queue:
            line: Line = stack.enter_context(QueueLine(address, party.code, book, queue_name_secret))
        else:
            line = _called(adapter)
        side_door = _control(stack, control, "" if by_queue else address)
        bills = Bills(terms, seed, adapter.capabilities.numbers, data)
        yield Stage(party, adapter, bills, line, side_door, tuple((secrets or {}).values())), shown(address)


def _permitted(party: Party, endpoint: str, own: str, by_queue: bool, test_system: bool) -> None:
    """The rule book's address may be production: somebody has to say that it is not."""
    scheme = urlsplit(endpoint or own).scheme
    if scheme not in (("amqp", "amqps") if by_queue else ("http", "https")):
        what = "amqp(s)://… of a test broker" if by_queue else "http(s)://… of its test system"
        raise CannotCertify(f"{party.code}: give --endpoint {what}")
    same = not endpoint or endpoint.rstrip("/") == own.rstrip("/")
    if same and not test_system:
        raise CannotCertify(
            f"{party.code}: {shown(own)} is the address of the rule book, and claims would be settled there; give "
            "--endpoint of a test system, or say --yes-it-is-a-test-system"
        )


def _called(adapter: Adapter) -> Line:
    def line(call: PreparedCall, request_id: str, timeout_s: float) -> RawAnswer:
        return adapter.send(call, timeout_s)

    return line


def _control(stack: contextlib.ExitStack, url: str, endpoint: str) -> Control | None:
    found = control_at(url, endpoint)
    if found is not None:
        stack.callback(found.close)
    return found


def shown(address: str) -> str:
    """An address without user and password."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="").geturl()
