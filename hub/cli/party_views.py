"""Parties for people and for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from hub.people.parties import PartyView
from routing.days import CHINA_STANDARD_TIME


def list_all(views: Sequence[PartyView], console: Console) -> None:
    """A line for each party, then what is not as it should be."""
    table = Table(box=None)
    for name in ("party", "kind", "ways", "door", "broker user", "changed"):
        table.add_column(name, overflow="fold")
    for view in views:
        table.add_row(view.code, view.kind, "AMQP, HTTP" if view.desk else "HTTP", _door(view), _user(view), _by(view))
    console.print(table)
    for view in views:
        for difference in view.differences:
            console.print(f"{view.code}: {difference}", markup=False, soft_wrap=True)


def standing(view: PartyView) -> str:
    """How the party's door stands, in one line."""
    return f"{view.code} ({view.kind}) {'may come in' if view.enabled else 'is shut out'}"


def show(view: PartyView, vhost: str, password: str, console: Console) -> None:
    """What the party must be told, one thing a line."""
    for name, value in _facts(view, vhost, password):
        console.print(f"  {name:<12}{value}", markup=False, soft_wrap=True)
    for difference in view.differences:
        console.print(f"  {difference}", markup=False, soft_wrap=True)


def as_dict(view: PartyView, vhost: str = "", password: str = "") -> dict[str, Any]:
    """The same as JSON; the password only where it is new."""
    told: dict[str, Any] = {
        "party": view.code,
        "kind": view.kind,
        "enabled": view.enabled,
        "token_generation": view.token_generation,
        "changed_by": view.access.changed_by if view.access else "",
        "changed_at": view.access.changed_at.isoformat() if view.access else None,
        "differences": list(view.differences),
    }
    if view.desk is not None:
        told["broker"] = {
            "user": view.code,
            "there": view.user is not None if view.asked else None,
            "vhost": vhost,
            "writes": view.desk.exchange,
            "routing_keys": list(view.desk.routing_keys),
            "reads": view.desk.queue,
            "limits": dict(view.user.limits) if view.user else {},
        }
    return told | ({"password": password} if password else {})


def steps(view: PartyView, what: str, connections: int, channels: int) -> Iterator[str]:
    """What a command would do."""
    http = {
        "add": "accept its HTTP token",
        "enable": "accept its HTTP token",
        "disable": "refuse its HTTP token",
        "rotate": f"begin generation {view.token_generation + 1} of its HTTP token",
    }
    yield http[what]
    if view.desk is None:
        return
    rights = view.desk.rights
    if what == "add" and view.user is None:
        yield f"create the broker user {view.code} with a new password"
    if what in ("add", "enable"):
        yield f"let it write {rights.write}, read {rights.read} and configure {rights.configure}"
        yield f"limit it to {connections} connections and {channels} channels"
    elif what == "rotate":
        yield "give its broker user a new password and close its connections"
    else:
        yield "take all its rights on the broker and close its connections; its queue stays as it is"


def _facts(view: PartyView, vhost: str, password: str) -> Iterator[tuple[str, str]]:
    if view.desk is not None and vhost:
        yield "user", _user_name(view)
        if password:
            yield "password", f"{password}    (shown this once)"
        yield "vhost", vhost
        yield "writes", view.desk.exchange
        yield "with key", ", ".join(view.desk.routing_keys)
        yield "reads", view.desk.queue
        if view.user is not None and view.user.limits:
            limits = view.user.limits
            yield "limits", f"{limits.get('max-connections')} connections, {limits.get('max-channels')} channels"
    yield "HTTP token", f"generation {view.token_generation}: hub party token {view.code}"
    if view.access is not None:
        yield "changed", _by(view)


def _user_name(view: PartyView) -> str:
    if view.user is None and view.asked:
        return f"none yet: hub party add {view.code}"
    return view.code


def _door(view: PartyView) -> str:
    return "open" if view.enabled else "shut"


def _user(view: PartyView) -> str:
    if view.desk is None:
        return ""
    if view.user is None:
        return "none" if view.asked else "not asked"
    return "differs" if view.differences else "as it should be"


def _by(view: PartyView) -> str:
    if view.access is None:
        return ""
    at = view.access.changed_at.astimezone(CHINA_STANDARD_TIME)
    return f"{at:%Y-%m-%d %H:%M} by {view.access.changed_by}"
