"""The report of a run: JSON for machines, one HTML page without anything from elsewhere for people."""

from __future__ import annotations

from dataclasses import asdict
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson

from hub.certify.checks import Group, Result, Verdict
from hub.certify.evidence import Evidence
from hub.certify.run import Left, Report
from routing.days import CHINA_STANDARD_TIME
from schemas.base import Bilingual
from schemas.money import yuan_of

_GROUPS = {
    Group.GOLDEN: "基本流程",
    Group.REFUSALS: "拒绝",
    Group.REPEATS: "重复",
    Group.UNDOING: "撤销与冲正",
    Group.INQUIRIES: "查询",
    Group.TROUBLE: "异常",
    Group.NOTICES: "通知",
    Group.BOOKS: "账簿",
    Group.SAMPLES: "样本",
}
_VERDICTS = {
    Verdict.PASSED: ("通过", "passed"),
    Verdict.FAILED: ("未通过", "failed"),
    Verdict.NOT_APPLICABLE: ("不适用", "not applicable"),
}


def as_dict(report: Report) -> dict[str, Any]:
    """The report as JSON-ready values."""
    return {
        "party": report.party,
        "name": report.name.model_dump(),
        "adapter": report.adapter,
        "ok": report.ok,
        "seed": report.seed,
        "begun_at": report.begun_at.isoformat(),
        "took_ms": round(report.took_ms, 1),
        "facts": dict(report.facts),
        "counts": {verdict.value: report.count(verdict) for verdict in Verdict},
        "left": [asdict(left) | {"amount_fen": left.amount_fen} for left in report.left],
        "checks": [_check(result) for result in report.results],
    }


def _check(result: Result) -> dict[str, Any]:
    return {
        "id": result.id,
        "group": result.group.value,
        "proves": result.proves.model_dump(),
        "expected": result.expected.model_dump(),
        "verdict": result.verdict.value,
        "got": list(result.got),
        "why": result.why.model_dump() if result.why else None,
        "took_ms": round(result.took_ms, 1),
        "evidence": [asdict(one) for one in result.evidence],
    }


def write(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write `<party>.html` and `<party>.json` into the folder; OSError when it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    page, data = folder / f"{report.party}.html", folder / f"{report.party}.json"
    page.write_text(as_html(report), encoding="utf-8")
    data.write_bytes(orjson.dumps(as_dict(report), option=orjson.OPT_INDENT_2))
    return page, data


def as_html(report: Report) -> str:
    """The whole page."""
    title = f"{report.party} {report.name.zh} {report.name.en}"
    groups = groupby(report.results, key=lambda one: one.group)
    parts = [_head(report), *map(_left, report.left)]
    parts += [_group(group, list(results)) for group, results in groups]
    return (
        '<!DOCTYPE html>\n<html lang="zh"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n{''.join(parts)}</body></html>\n"
    )


def _head(report: Report) -> str:
    counts = " · ".join(
        f'<b class="{verdict.value}">{report.count(verdict)}</b> {zh} <i>{en}</i>'
        for verdict, (zh, en) in _VERDICTS.items()
    )
    begun = report.begun_at.astimezone(CHINA_STANDARD_TIME)
    rows = [
        ("adapter 适配器", report.adapter),
        *report.facts,
        ("seed 种子", str(report.seed)),
        ("run 时间", f"{begun:%Y-%m-%d %H:%M:%S %z}, {report.took_ms / 1000:.1f} s"),
    ]
    verdict = ("合格", "certified", "passed") if report.ok else ("不合格", "not certified", "failed")
    table = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return (
        f'<header class="{verdict[2]}"><h1>{escape(report.party)} <small>{_said(report.name)}</small></h1>'
        f'<p class="verdict">{verdict[0]} <i>{verdict[1]}</i></p></header>'
        f"<p>{counts}</p><table>{table}</table>\n"
    )


def _left(left: Left) -> str:
    amount = yuan_of(left.amount_fen)
    return (
        '<p class="left"><b>未撤回 NOT TAKEN BACK</b> '
        f"{escape(left.settlement_no)}, {escape(left.request_id)}: {left.standing} {amount} "
        f"{escape(left.reference)}</p>\n"
    )


def _group(group: Group, results: list[Result]) -> str:
    return f"<h2>{_GROUPS[group]} <i>{group.value}</i></h2>\n" + "".join(map(_result, results))


def _result(result: Result) -> str:
    zh, en = _VERDICTS[result.verdict]
    why = f'<p class="why">{_said(result.why)}</p>' if result.why else ""
    got = "".join(f"<li>{escape(line)}</li>" for line in result.got)
    evidence = "".join(map(_evidence, result.evidence))
    return (
        f'<section class="{result.verdict.value}"><h3><code>{escape(result.id)}</code>'
        f"<span>{zh} {en}</span></h3><p>{_said(result.proves)}</p>{why}"
        f"<dl><dt>期望 expected</dt><dd>{_said(result.expected)}</dd>"
        f"<dt>实际 got</dt><dd><ul>{got or '<li>–</li>'}</ul></dd></dl>"
        f"<p class='took'>{result.took_ms:.0f} ms</p>{evidence}</section>\n"
    )


def _evidence(one: Evidence) -> str:
    status = f", HTTP {one.status}" if one.status else ""
    head = f"{one.operation} <code>{escape(one.request_id)}</code>: {escape(one.ended)}{status}, {one.took_ms:.0f} ms"
    return (
        f"<details><summary>{head}</summary><h4>发送 sent</h4><pre>{escape(one.sent)}</pre>"
        f"<h4>收到 received</h4><pre>{escape(one.answer) or '–'}</pre></details>"
    )


def _said(words: Bilingual) -> str:
    """Chinese, then English unless it is the same."""
    return escape(words.zh) + (f" <i>{escape(words.en)}</i>" if words.en != words.zh else "")


_STYLE = """
:root{color-scheme:light dark;--good:#1a7f37;--bad:#b42318;--dull:#6b7280;--line:#8884}
body{font:15px/1.5 system-ui,"Noto Sans CJK SC","Microsoft YaHei",sans-serif;max-width:62rem;margin:1.5rem auto;
padding:0 1rem}
header{border-left:.5rem solid var(--good);padding-left:1rem}header.failed{border-color:var(--bad)}
h1{margin:0}h1 small{font-size:1rem;font-weight:400}h2{margin:2rem 0 .5rem;border-bottom:1px solid var(--line)}
.verdict{font-size:1.3rem;font-weight:700;margin:.2rem 0;color:var(--good)}header.failed .verdict{color:var(--bad)}
i{font-style:normal;color:var(--dull);font-weight:400}
table{border-collapse:collapse}th{text-align:left;padding:.1rem 1.5rem .1rem 0;font-weight:400;color:var(--dull)}
b.passed{color:var(--good)}b.failed{color:var(--bad)}b.not_applicable{color:var(--dull)}
section{border:1px solid var(--line);border-left:.4rem solid var(--good);border-radius:.3rem;padding:.5rem 1rem;
margin:.6rem 0}
section.failed{border-left-color:var(--bad)}section.not_applicable{border-left-color:var(--dull);color:var(--dull)}
section h3{margin:0;display:flex;justify-content:space-between;font-size:1rem;gap:1rem}section p{margin:.2rem 0}
section.passed h3 span{color:var(--good)}section.failed h3 span,.why{color:var(--bad)}
section.not_applicable .why{color:inherit}
dl{display:grid;grid-template-columns:8rem 1fr;gap:.1rem 1rem;margin:.3rem 0}dt{color:var(--dull)}dd{margin:0}
ul{margin:0;padding-left:1.1rem}.took{font-size:.8rem;color:var(--dull)}
.left{background:var(--bad);color:#fff;padding:.6rem 1rem;border-radius:.3rem}
summary{cursor:pointer;font-size:.85rem;overflow-wrap:anywhere}
h4{margin:.5rem 0 .2rem;font-size:.8rem;color:var(--dull)}
pre{background:#8881;padding:.6rem;border-radius:.3rem;overflow:auto;max-height:24rem;font-size:.75rem;
white-space:pre-wrap;overflow-wrap:anywhere}
@media print{details{display:none}}
""".strip()
