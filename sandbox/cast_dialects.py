"""The parties that play when `CastSettings.dialects` is on: one line each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sandbox import basic_national, insurer_chinalife, insurer_picc, insurer_taikang
from sandbox import parties_dialects as parties
from sandbox.basic_national import BasicNationalServer
from sandbox.basic_soap import PATH as BASIC_PATH
from sandbox.basic_soap import BasicSoapServer
from sandbox.book import Book
from sandbox.faults import Faults
from sandbox.insurer_chinalife import ChinaLifeInsurer
from sandbox.insurer_picc import PiccInsurer
from sandbox.insurer_taikang import TaikangInsurer
from sandbox.parties_dialects import DESKS
from sandbox.web import PartyApp

Make = Callable[[str, Book, Faults], PartyApp]


@dataclass(frozen=True, slots=True)
class Role:
    """One party: its code, its fixed port, the path of its endpoint, and how it is made."""

    code: str
    port: int
    path: str
    make: Make


ROLES: tuple[Role, ...] = (
    Role(parties.GUANGXI_BASIC, 18805, BASIC_PATH, BasicSoapServer),
    Role(parties.RECORDED_BASIC, 18810, BASIC_PATH, BasicSoapServer),
    Role(
        parties.YONGTAI,
        18806,
        insurer_chinalife.PATH,
        lambda code, book, faults: ChinaLifeInsurer(code, book, DESKS[code], faults),
    ),
    Role(
        parties.PINGJIA,
        18807,
        insurer_picc.PATH,
        lambda code, book, faults: PiccInsurer(code, book, DESKS[code], faults),
    ),
    Role(
        parties.TAIHE,
        18808,
        "",
        lambda code, book, faults: TaikangInsurer(
            code, book, insurer_taikang.SANDBOX_KEYS, faults, plan=DESKS[code].commercial[parties.TAIHE_PRODUCT]
        ),
    ),
    Role(parties.NATIONAL_BASIC, 18809, basic_national.PATH, BasicNationalServer),
)
ROLE_OF = {role.code: role for role in ROLES}
CODES = tuple(ROLE_OF)
SECRETS = {parties.TAIHE: insurer_taikang.SECRETS}
"""What a hub needs in its file of secrets (HUB_PARTY_SECRETS) to speak to the cast."""
FIXED_PORTS = {role.code: role.port for role in ROLES}
