"""A combined answer or a refusal for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table


def show_answer(answer: dict[str, Any], console: Console, *, repeated: bool = False) -> None:
    """Status, each payer's part with reason and next step, and what the cashier collects."""
    final = "" if answer["final"] else ", more follows"
    again = ", given before" if repeated else ""
    console.print(
        f"[bold]{answer['status']}[/]{final}{again}: {answer['institution']} {answer['settlement_no']}, "
        f"case {answer['case_id']}, revision {answer['revision']}"
    )
    console.print(f"{answer['message']['zh']}  {answer['message']['en']}\n")
    table = Table(box=None, pad_edge=False)
    for column in ("payer", "layer", "product", "state"):
        table.add_column(column)
    table.add_column("yuan", justify="right")
    table.add_column("reason and next step", overflow="fold")
    for share in answer["shares"]:
        texts = [share[part] for part in ("reason", "next_step") if part in share]
        said = "; ".join(f"{text['zh']} {text['en']}" for text in texts)
        table.add_row(share["payer"], share["layer"], share["product"], share["state"], share["amount"], said)
    for what, name in (
        ("personal account", "account"), ("hospital bears", "hospital_borne"),
        ("[bold]patient, cash[/]", "cash"), ("  may still be paid", "deferred"), ("bill", "total"),
    ):  # fmt: skip
        table.add_row(what, "", "", "", answer[name], "")
    console.print(table)


def show_fields(answer: dict[str, Any], console: Console, *, repeated: bool = False) -> None:
    """An answer of another kind: a line for each field, lists as tables."""
    if repeated:
        console.print("given before:")
    for name, value in answer.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            table = Table(box=None, pad_edge=False, title=name, title_justify="left")
            columns = list(dict.fromkeys(key for row in value for key in row))
            for column in columns:
                table.add_column(column, overflow="fold")
            for row in value:
                table.add_row(*(_plain(row.get(column)) for column in columns))
            console.print(table)
        elif name != "schema_version":
            console.print(f"{name}: {_plain(value)}", markup=False, highlight=False, soft_wrap=True)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        if "zh" in value:
            return f"{value['zh']} {value['en']}"
        return ", ".join(f"{name} {_plain(one)}" for name, one in value.items())
    return "" if value is None or value == [] else str(value)


def problem_lines(problem: dict[str, Any]) -> Iterator[str]:
    """A refusal: what, and each field with its remedy."""
    code = problem.get("code") or problem.get("error") or "refused"
    message = problem.get("message") or {"zh": problem.get("detail_zh", ""), "en": problem.get("detail", "")}
    yield f"hub: refused: {code}: {message['zh']} {message['en']}".rstrip()
    for one in problem.get("errors") or problem.get("violations") or ():
        yield f"  {one['field']}: {one['remedy']}"
    if problem.get("case_id"):
        yield f"  case {problem['case_id']}"
