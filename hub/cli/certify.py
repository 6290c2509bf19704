"""`hub certify`: run a partner through the contract and write a report."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.common import NEGATIVE, USAGE, AsJson, console, fail, open_database, settings, show_json

if TYPE_CHECKING:
    from hub.certify.bills import TestData
    from hub.certify.run import Report, Told
    from hub.certify.stage import Stage
    from hub.settings import Settings
    from routing.rulebook import Party, RuleBook

PartyName = Annotated[
    str,
    typer.Argument(metavar="PARTY", help="The party's code in the rule book; with --offline also an adapter's name."),
]
Rules = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, help="The rule book's file; the one in force in the database if left out."
    ),
]
Endpoint = Annotated[
    str, typer.Option(help="The address of the test system (http(s)://…; amqp://… for a party by queue).")
]
Offline = Annotated[bool, typer.Option("--offline", help="Recorded messages only: nobody is called.")]
ReportFolder = Annotated[Path, typer.Option("--report", help="Folder for PARTY.html and PARTY.json.")]
Product = Annotated[str, typer.Option(help="Which product, where the party sells several.")]
Data = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, help="YAML with a person whom the test system knows: docs/how-to/certify.md."
    ),
]
ControlUrl = Annotated[str, typer.Option("--control", help="Root address of a sandbox party: its faults and its book.")]
Seed = Annotated[int, typer.Option(help="The same people and amounts again; a new one if left out.")]
IsATest = Annotated[
    bool,
    typer.Option("--yes-it-is-a-test-system", help="The rule book's own address may be used: nobody's real money."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("certify", short_help="Run a partner through the contract and write a report.")(certify)


def certify(
    party: PartyName,
    rules: Rules = None,
    endpoint: Endpoint = "",
    offline: Offline = False,
    report: ReportFolder = Path("certificates"),
    product: Product = "",
    data: Data = None,
    control: ControlUrl = "",
    seed: Seed = 0,
    test_system: IsATest = False,
    as_json: AsJson = False,
) -> None:
    """Run a partner through the contract with made-up claims: golden path, refusals, repeats, undoing, inquiries, lost
    answers, notices, books. Everything that it settles is taken back; no case of the hub is touched.

    Exit code 0 only when nothing failed and nothing is left at the party.

    Example: hub certify ANKANG --rules rules.yaml --endpoint http://127.0.0.1:18803 --report certificates
    """
    from hub.certify.bills import CannotCertify

    seed = seed or secrets.randbelow(2**31) + 1
    told = _tell if not as_json else _nothing
    if not as_json:
        console().print(f"certifying {party}, seed {seed}", markup=False)
    try:
        if offline:
            made = _offline(party, rules, seed, told)
        else:
            with _stage(party, rules, endpoint, product, _test_data(data), control, seed, test_system) as (stage, at):
                from hub.certify.run import certify as run

                made = run(stage, seed, at, told)
    except CannotCertify as error:
        fail(str(error), USAGE)
    _show(made, report, as_json=as_json)


def _offline(party: str, rules: Path | None, seed: int, told: Told) -> Report:
    from adapters.registry import ADAPTERS
    from hub.certify.offline import certify_offline
    from schemas.base import Bilingual

    if party in ADAPTERS:
        return certify_offline(party, party, Bilingual(zh="样本", en="samples"), seed, told)
    found = _party(_book(settings(), rules), party)
    return certify_offline(found.adapter, found.code, found.name, seed, told)


@contextlib.contextmanager
def _stage(
    code: str,
    rules: Path | None,
    endpoint: str,
    product: str,
    data: TestData | None,
    control: str,
    seed: int,
    test_system: bool,
) -> Iterator[tuple[Stage, str]]:
    """Everything a run needs, and where it goes."""
    from hub.certify.open import open_stage
    from hub.party_secrets import read_secrets

    given = settings()
    book = _book(given, rules)
    party = _party(book, code)
    queue_url = given.edge_broker_url.get_secret_value() or given.broker_url.get_secret_value()
    with open_stage(
        book,
        party,
        endpoint=endpoint,
        product=product,
        data=data,
        control=control,
        seed=seed,
        test_system=test_system,
        queue_url="" if given.embedded_broker else queue_url,
        queue_name_secret=given.queue_name_secret.get_secret_value(),
        secrets=read_secrets(given.party_secrets).get(code, {}),
    ) as opened:
        yield opened


def _book(given: Settings, rules: Path | None) -> RuleBook:
    from datetime import UTC, datetime

    from hub.rulebook_check import read_checked
    from store import rulebooks

    if rules is not None:
        return read_checked(rules.read_text(encoding="utf-8"))
    with open_database(given) as engine, engine.connect() as connection:
        stored = rulebooks.active(connection, datetime.now(UTC))
    if stored is None:
        fail("no rule book is in force: name one with --rules FILE")
    return read_checked(stored.content)


def _party(book: RuleBook, code: str) -> Party:
    found = book.party_by_code.get(code)
    if found is None:
        fail(f"PARTY: {code} is not among the parties: {', '.join(sorted(book.party_by_code))}", USAGE)
    return found


def _test_data(file: Path | None) -> TestData | None:
    if file is None:
        return None
    import yaml
    from pydantic import ValidationError

    from hub.certify.bills import TestData

    try:
        return TestData.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError, UnicodeDecodeError) as error:
        wrong = ", ".join(".".join(map(str, one["loc"])) for one in getattr(error, "errors", list)())
        fail(f"--data: {file}: {wrong or type(error).__name__}", USAGE)


def _nothing(_: object) -> None:
    return


def _tell(result: object) -> None:
    from hub.certify.checks import Result, Verdict

    assert isinstance(result, Result)
    word = {Verdict.PASSED: "passed", Verdict.FAILED: "FAILED", Verdict.NOT_APPLICABLE: "n/a"}[result.verdict]
    why = f"  {result.why.en}" if result.why else ""
    console().print(f"  {word:<7} {result.id:<26}{why}".rstrip(), markup=False, soft_wrap=True)


def _show(made: Report, folder: Path, *, as_json: bool) -> None:
    from hub.certify import report

    page, file = report.write(made, folder)
    if as_json:
        show_json(report.as_dict(made))
    else:
        counts = report.as_dict(made)["counts"]
        figures = f"{counts['passed']} passed, {counts['failed']} failed, {counts['not_applicable']} not applicable"
        console().print(f"{made.party}: {'certified' if made.ok else 'NOT certified'}: {figures}", markup=False)
        console().print(f"report: {page}, {file}", markup=False, soft_wrap=True)
    for left in made.left:
        typer.echo(
            f"hub: NOT TAKEN BACK at {made.party}: settlement {left.settlement_no}, request {left.request_id}, "
            f"{left.standing}, {left.amount_fen / 100:.2f} yuan {left.reference}",
            err=True,
        )
    if not made.ok:
        raise typer.Exit(NEGATIVE)
