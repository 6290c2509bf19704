"""Files for trying the hub by hand against the sandbox: rule book, coverage, a settlement and its cancellation."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path

import orjson

from hub.demo.rulebook import FEW_PLACES, fixed_endpoints, rule_book_text
from routing.days import CHINA_STANDARD_TIME
from sandbox.day import DayCase, HospitalDay
from sandbox.people import CoverageRow

COLUMNS = ("id_type", "id_no", "product", "policy_no", "region", "valid_from", "valid_until")
_TRIED = 400


def write_samples(folder: Path, *, amqp: bool) -> None:
    """Write rules.yaml, coverage.csv, settle.json, cancel.json; `amqp` gives the institutions queues."""
    folder.mkdir(parents=True, exist_ok=True)
    day = HospitalDay(_TRIED, day=yesterday())
    case = _case_with_many_payers(day)
    rules = rule_book_text(fixed_endpoints(), amqp=len(FEW_PLACES) if amqp else 0)
    (folder / "rules.yaml").write_text(rules, encoding="utf-8")
    write_coverage(folder / "coverage.csv", day.coverage())
    for name, body in (("settle.json", case.body), ("cancel.json", case.cancel_body())):
        (folder / name).write_bytes(orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2) + b"\n")


def write_coverage(file: Path, policies: Iterable[CoverageRow]) -> int:
    """The policies as `hub coverage import` reads them; how many."""
    count = 0
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(COLUMNS)
        for policy in policies:
            writer.writerow(columns_of(policy))
            count += 1
    return count


def columns_of(policy: CoverageRow) -> tuple[str, ...]:
    """A policy's cells in the order of COLUMNS."""
    region = FEW_PLACES[0].region
    return (
        policy.id_type, policy.id_no, policy.product, policy.policy_no, region, policy.valid_from, policy.valid_to,
    )  # fmt: skip


def yesterday() -> date:
    """The last whole day of the sample city: nothing in it lies in the future."""
    return (datetime.now(CHINA_STANDARD_TIME) - timedelta(days=1)).date()


def _case_with_many_payers(day: HospitalDay) -> DayCase:
    """An inpatient bill of the first hospital whose patient holds most policies: it shows the most."""
    here = [case for case in day if case.institution == FEW_PLACES[0].code and case.visit_kind == "inpatient"]
    return max(here, key=lambda case: len(day.population.policies(case.person)))
