"""A hospital's system that speaks only the national envelope, at a real gateway: from the registration to the books."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from schemas.national.identities import Switches, broken_amounts
from tests.support.builders import HOSPITAL, REGION
from tests.support.hub_in_process import TestHub, a_hub
from tests.support.master_data import BASIC_PARTY
from tests.support.national_his import (
    PERSON,
    NationalHis,
    a_bill,
    fen,
    insured,
)

INSTITUTIONS = [
    {"code": HOSPITAL, "name": "一院", "region": REGION, "visits": "optional"},
]


@pytest.fixture
def world(database_url: str) -> Iterator[TestHub]:
    with a_hub(database_url, parties=[BASIC_PARTY], institutions=INSTITUTIONS) as running:
        insured(running)
        yield running


@pytest.fixture
def his(world: TestHub) -> NationalHis:
    return NationalHis(world.hub.gateway.port)


def in_fen(node: dict[str, Any]) -> dict[str, Any]:
    money = ("_pay", "_amt", "sumamt", "selfpay", "_dedc", "_payamt")
    return {name: fen(value) if name.endswith(money) and name != "pool_prop_selfpay" else value
            for name, value in node.items()}  # fmt: skip


def checked(output: dict[str, Any]) -> dict[str, Any]:
    """setlinfo in fen, its identities proven with the client's own rules."""
    info = {"hifdm_pay": 0, **in_fen(output["setlinfo"])}
    assert broken_amounts(info, [in_fen(row) for row in output["setldetail"]], Switches()) == []
    return info


def test_an_outpatient_from_1101_to_the_settlement(world, his):
    base = his.identify()
    mdtrt_id = his.charged(20_000, 10_000)

    trial = checked(his.done("2206", {"data": a_bill(mdtrt_id, 30_000)}))
    settled = his.settle(mdtrt_id, 30_000)
    info = checked(settled)

    assert (base["baseinfo"]["psn_no"], base["insuinfo"][0]["insuplc_admdvs"]) == (PERSON, REGION)
    assert "setl_id" not in trial
    assert info["medins_setl_id"] == his.last_msgid
    assert (info["hifp_pay"], info["hifmi_pay"], info["fund_pay_sumamt"]) == (15_000, 7_500, 22_500)
    assert (info["psn_cash_pay"], info["mdtrt_id"], len(info["setl_id"])) == (7_500, mdtrt_id, 25)
    kinds = [(row["fund_pay_type"], fen(row["fund_payamt"])) for row in settled["setldetail"]]
    assert kinds == [("310100", 15_000), ("390200", 7_500)]
