"""docs/transactions.md says what the registries say."""

from __future__ import annotations

import re

from adapters.registry import ADAPTERS
from hub import transaction_page
from hub.transaction_page import PAGE, PASSED_ON, page
from routing.visits import RULES
from schemas.transactions import SPECS, Group, Transaction


def test_the_page_is_written_from_the_registries() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_transaction_and_every_adapter_is_on_the_page() -> None:
    ways_in = re.findall(r"^\| `([a-z]+(?:\.[a-z]+)+)` \| [\u4e00-\u9fff]+ \|", page(), re.MULTILINE)

    assert ways_in == [name.value for name in SPECS]
    assert all(f"`{name}`" in page() for name in ADAPTERS)


def test_every_message_about_a_visit_has_its_preconditions() -> None:
    about_visits = {name for name, spec in SPECS.items() if spec.group is Group.VISIT}

    assert about_visits - RULES.keys() == {Transaction.ADMISSION_REGISTER}


def test_no_dialect_claims_what_the_hub_never_heard_of() -> None:
    for name in ADAPTERS:
        assert transaction_page.notices_of(name) <= SPECS.keys()
    assert set().union(*map(transaction_page.notices_of, ADAPTERS)) >= PASSED_ON
