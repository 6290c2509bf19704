"""The report of a day as one HTML page: nothing from elsewhere, no script, and every value escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import NamedTuple

from hub.recon import report_words as words
from hub.recon.report import AGES, BalanceRow, PartyDay, Report, Side
from hub.recon.report_words import lasted, moment, said, side, switch, yuan
from schemas.base import Bilingual
from schemas.statement import CLASS_MEANINGS, BreakClass
from store.recon_reports import STATES, ListedBreak, Run, Seal, StatementHead

TROUBLE_MAX = 30
PROBLEMS_SHOWN = 3
Head = tuple[str, str]
"""A column's name in Chinese and English; the English one ends in # for a column of numbers."""


class Cell(NamedTuple):
    """A cell whose content is HTML already. `rows`: how many it spans."""

    html: str
    css: str = ""
    rows: int = 1


def as_html(report: Report) -> str:
    """The whole page."""
    title = f"{words.TITLE.zh} {words.TITLE.en} {report.day}"
    sections = (
        _head, _tiles, _trouble, _parties, _classes, _breaks, _late, _ledger, _statements, _switches, _seal,
    )  # fmt: skip
    style = (files("hub.recon") / "report.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="zh-CN"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>\n"
        f"{''.join(section(report) for section in sections)}</body></html>\n"
    )


# -------------------------------------------------------------------------------------------------------- the summary


def _head(report: Report) -> str:
    sealed = report.seal is not None
    verdict = ("clean", "无未决差异", "nothing is open") if report.clean else ("unclean", "有未决事项", "not closed")
    state = f"已封账 <i>sealed {moment(report.seal.sealed_at)}</i>" if report.seal else "未封账 <i>not sealed</i>"
    return (
        f'<header class="{verdict[0]}"><h1>{words.TITLE.zh} <small>{words.TITLE.en}</small></h1>'
        f'<p class="day">{report.day}</p>'
        f'<p class="verdict"><b>{verdict[1]}</b> <i>{verdict[2]}</i> · <span class="{"good" if sealed else ""}">'
        f"{state}</span></p>"
        f'<p class="made">生成 <i>made</i> {moment(report.made_at)} 北京时间 <i>China Standard Time</i>; '
        "金额单位：元 <i>amounts in yuan</i></p></header>\n"
    )


def _tiles(report: Report) -> str:
    totals, count = report.totals, report.count
    money = [
        ("结算笔数", "bills that stand", f"{totals.cases:,}"),
        ("总费用", "bills", yuan(totals.bills_fen)),
        ("支付方承担", "payers bear", yuan(totals.payers_fen)),
        ("个人账户", "personal account", yuan(totals.account_fen)),
        ("医院承担", "hospital bears", yuan(totals.hospital_fen)),
        ("个人现金", "cash", yuan(totals.cash_fen)),
        ("待结算额", "to be settled", yuan(sum(one.to_be_settled_fen for one in report.balances))),
    ]
    breaks = [
        *((said(words.STATES, state).zh, said(words.STATES, state).en, f"{count[state]:,}") for state in STATES),
        ("解决用时（中位）", "resolved in, median", lasted(report.resolution.median_s)),
        ("解决用时（最长）", "resolved in, worst", lasted(report.resolution.worst_s)),
    ]
    return "".join(
        '<ul class="tiles">'
        + "".join(f"<li><b>{escape(value)}</b><span>{zh} <i>{en}</i></span></li>" for zh, en, value in tiles)
        + "</ul>\n"
        for tiles in (money, breaks)
    )


def _trouble(report: Report) -> str:
    said = [(one.party, what) for one in report.parties for what in (one.finding, one.note) if what]
    lines = [f"<li><b>{escape(party)}</b> {escape(what)}</li>" for party, what in said] + [
        f"<li><b>{escape(party)}</b> 未对账 <i>has entries on this day and was not compared:</i> "
        f"<code>hub recon run --day {report.day} --party {escape(party)}</code></li>"
        for party in report.not_run
    ]
    if len(lines) > TROUBLE_MAX:
        more = len(lines) - TROUBLE_MAX
        lines[TROUBLE_MAX:] = [f"<li>另有 {more:,} 条，见下表 <i>and {more:,} more, see the table below</i></li>"]
    return f'<ul class="trouble">{"".join(lines)}</ul>\n' if lines else ""


# --------------------------------------------------------------------------------------------------------- the parties


def _parties(report: Report) -> str:
    heads = [
        ("对方", "party"), ("状态", "state"), ("账", "side"), ("结算", "settled, count#"), ("退费", "refunds#"),
        ("结算金额", "settled#"), ("退费金额", "refunded#"), ("净额", "net#"), ("其中个人账户", "account#"),
        ("差额", "off by#"), ("差异", "breaks"),
    ]  # fmt: skip
    groups = [_party(one) for one in report.parties]
    return _section("各方合计", "Totals by party and side", _grouped(heads, groups))


def _party(one: PartyDay) -> list[list[Cell]]:
    state = said(words.RUN_STATES, one.run.state) if one.run else Bilingual(zh="未对账", en="not compared")
    run = f"<br><i>run {one.run.run_id}</i>" if one.run else ""
    kind = said(words.KINDS, one.kind)
    name = f"<br>{escape(one.name)}" if one.name != one.party else ""
    who = f"<b>{escape(one.party)}</b>/{escape(one.scheme)}{name}<br><i>{kind.zh} {kind.en}</i>"
    counts = [f"{_both(said(words.STATES, state))} {count:,}" for state, count in one.states.items()]
    height = max(1, len(one.sides))
    lead = [Cell(who, rows=height), Cell(f"{_both(state)}{run}", "good" if one.agrees else "bad", height)]
    tail = Cell("<br>".join(counts) or words.UNKNOWN, rows=height)
    own = one.sides.get("hub")
    rows = [_side(name, figures, own) for name, figures in one.sides.items()]
    if not rows:
        rows = [[Cell(words.UNKNOWN), *[Cell(words.UNKNOWN, "n")] * 7]]
    rows[0] = [*lead, *rows[0], tail]
    return rows


def _side(name: str, figures: Side, own: Side | None) -> list[Cell]:
    numbers = (figures.settled_fen, figures.refunded_fen, figures.net_fen, figures.account_fen)
    return [
        Cell(_both(said(words.SIDES, name))),
        Cell(f"{figures.settlements:,}", "n"),
        Cell(f"{figures.refunds:,}", "n"),
        *(Cell(yuan(fen), "n") for fen in numbers),
        Cell(_off(figures.net_fen - own.net_fen) if own is not None and name != "hub" else "", "n"),
    ]


def _off(fen: int) -> str:
    return f'<span class="{"good" if fen == 0 else "bad"}">{yuan(fen)}</span>'


# ---------------------------------------------------------------------------------------------------------- the breaks


def _classes(report: Report) -> str:
    heads = [
        ("差异类别", "class"),
        *((said(words.STATES, state).zh, f"{said(words.STATES, state).en}#") for state in STATES),
        *((f"{name} 天", f"open {name} d#") for _, name in AGES),
        ("未决差额", "open, off by#"),
    ]
    rows = [
        [
            f"<b>{row.break_class.value}</b><br><i>{_both(CLASS_MEANINGS[row.break_class])}</i>",
            *(_count(row.states.get(state, 0), state in ("open", "waiting")) for state in STATES),
            *(_count(row.ages.get(name, 0), True) for _, name in AGES),
            yuan(row.open_fen),
        ]
        for row in report.classes
    ]
    took = report.resolution
    note = (
        f"<p>解决 <i>ended</i> {took.count:,}: 中位数 <i>median</i> {lasted(took.median_s)}, "
        f"最长 <i>worst</i> {lasted(took.worst_s)}. 账龄按首次发现之日起算 "
        "<i>Ages count from the first day that had the break.</i></p>"
    )
    table = _table(heads, rows) if rows else _nothing("没有差异", "no breaks")
    return _section("差异分类与账龄", "Breaks by class and age", table + note)


def _count(number: int, matters: bool) -> str:
    if not number:
        return "<i>0</i>"
    return f'<b class="bad">{number:,}</b>' if matters else f"{number:,}"


def _breaks(report: Report) -> str:
    heads = [
        ("编号", "no"), ("类别", "class"), ("对方 · 机构", "party · institution"), ("结算号", "settlement"),
        ("平台", "hub#"), ("支付方", "payer#"), ("医院", "hospital#"), ("差额", "off by#"), ("首次", "since"),
        ("建议与原因", "proposal, reason"),
    ]  # fmt: skip
    if not report.breaks_total:
        return _section("未决差异", "Open breaks", _nothing("没有", "none"))
    note = _more(report.breaks_total - len(report.breaks), report.list_command)
    table = _table(heads, map(_break, report.breaks)) if report.breaks else ""
    return _section("未决差异", "Open breaks", table + note)


def _break(one: ListedBreak) -> list[str]:
    state = f" <i>{_both(said(words.STATES, one.state))}</i>" if one.state == "waiting" else ""
    action = f"<br><i>action {one.action_id}</i>" if one.action_id else ""
    numbers = "<br>".join(escape(number) for number in (one.settlement_no, one.reference) if number)
    where = escape(one.institution) if one.institution != one.party else escape(one.payer)
    return [
        f"{one.break_id}{state}",
        f"{escape(one.break_class)}<br><i>{_both(CLASS_MEANINGS[BreakClass(one.break_class)])}</i>",
        f"{escape(one.party)}<br>{where}",
        numbers or escape(one.key),
        *(side(figures) for figures in (one.hub, one.payer_side, one.hospital)),
        yuan(one.difference_fen),
        f'<span class="nw">{one.first_day}</span>',
        f"<b>{_both(said(words.REMEDIES, escape(one.proposal))) if one.proposal else words.UNKNOWN}</b>"
        f"<br>{escape(one.reason)}{action}",
    ]


# ------------------------------------------------------------------------------------------------------- the rest of it


def _late(report: Report) -> str:
    if not report.late_totals:
        return _section("跨日入账", "Entries of another day", _nothing("没有", "none"))
    into, away = "计入本日 <i>counts on this day</i>", "计入后日 <i>counts on a later day</i>"
    sums = [
        [into if one.into else away, _both(said(words.LEDGER_KINDS, one.kind)), f"{one.count:,}", yuan(one.amount_fen)]
        for one in report.late_totals
    ]
    rows = [
        [
            str(one.entry_id),
            _both(said(words.LEDGER_KINDS, one.kind)),
            f"{escape(one.payer)}<br>{escape(one.institution)}",
            f"{one.effective_day}",
            f"{one.business_day}",
            f"{escape(one.debit)} ← {escape(one.credit)}",
            yuan(one.amount_fen),
            escape(f"{one.case_id}/{one.leg_no}" if one.case_id else one.cause),
        ]
        for one in report.late
    ]
    summed = _table([("方向", "where"), ("种类", "kind"), ("笔数", "entries#"), ("金额", "amount#")], sums)
    heads = [
        ("分录", "entry"), ("种类", "kind"), ("对方 · 机构", "payer · institution"), ("发生日", "effective"),
        ("账务日", "counts on"), ("借 ← 贷", "debit ← credit"), ("金额", "amount#"), ("依据", "case or cause"),
    ]  # fmt: skip
    more = (
        f'<p class="more">另有 {report.late_more:,} 条 <i>and {report.late_more:,} more</i></p>'
        if report.late_more
        else ""
    )
    return _section("跨日入账", "Entries of another day", summed + _table(heads, rows) + more)


def _ledger(report: Report) -> str:
    heads = [
        ("支付方", "payer"), ("机构", "institution"), ("本日垫付", "advanced this day#"), ("已发生垫付额", "advanced#"),
        ("已结算额", "settled#"), ("待结算额", "to be settled#"), ("审核扣款", "deducted#"), ("核销", "written off#"),
    ]  # fmt: skip
    payers = dict.fromkeys(one.payer for one in report.balances)
    groups = [_balances(payer, [one for one in report.balances if one.payer == payer]) for payer in payers]
    table = _grouped(heads, groups) if groups else _nothing("没有", "nothing booked")
    note = f"<p>截至 {report.day} 日终 <i>up to the end of {report.day}</i></p>"
    return _section("垫付与结算", "Advanced, settled, to be settled", note + table + _more(report.balances_more))


def _balances(payer: str, mine: Sequence[BalanceRow]) -> list[list[Cell]]:
    figures = [
        (one.day_fen, one.advanced_fen, one.settled_fen, one.to_be_settled_fen, one.deducted_fen, one.written_off_fen)
        for one in mine
    ]
    rows = [
        [Cell(escape(payer)), Cell(escape(one.institution)), *(Cell(yuan(fen), "n") for fen in row)]
        for one, row in zip(mine, figures, strict=True)
    ]
    if len(mine) > 1:
        sums = [Cell(yuan(sum(column)), "n sum") for column in zip(*figures, strict=True)]
        rows.append([Cell(escape(payer), "sum"), Cell("合计 <i>total</i>", "sum"), *sums])
    return rows


def _statements(report: Report) -> str:
    heads = [
        ("编号", "no"), ("对方", "party"), ("来源", "source"), ("行数", "rows#"), ("合计", "total#"),
        ("状态", "state"), ("接收", "received"), ("指纹", "SHA-256"),
    ]  # fmt: skip
    rows = [
        [
            str(one.statement_id),
            f"{escape(one.party)}/{escape(one.scheme)}",
            f"{escape(one.source)} <i>{escape(one.form)}</i>",
            f"{one.rows:,}",
            yuan(one.total_fen),
            _both(said(words.STATEMENT_STATES, one.state)) + _why(one),
            f'<span class="nw">{moment(one.received_at)}</span><br>{escape(one.received_by)}',
            f'<code class="hash">{escape(one.sha256)}</code>',
        ]
        for one in report.statements
    ]
    table = _table(heads, rows) if rows else _nothing("没有对账单", "none has come")
    return _section("对账单", "Statements", table)


def _why(one: StatementHead) -> str:
    """Why a statement was refused, as far as there is room."""
    told = [escape(line) for line in words.problems(one.problems)]
    more = len(told) - PROBLEMS_SHOWN
    if more > 0:
        told[PROBLEMS_SHOWN:] = [f"另有 {more} 条 <i>and {more} more: hub recon statements</i>"]
    return "".join(f"<br><i>{line}</i>" for line in told)


def _switches(report: Report) -> str:
    runs = [one.run for one in report.parties if one.run is not None]
    if not runs:
        return ""
    names = [name for name in words.SWITCHES if any(name in run.switches for run in runs)]
    heads = [
        ("对账", "run"), *((words.SWITCHES[name].zh, words.SWITCHES[name].en) for name in names),
        ("规则版本", "rules"), ("分录至", "ledger to"),
    ]  # fmt: skip
    rows = [
        [
            f"<b>{escape(run.party)}</b>/{escape(run.scheme)}<br><i>run {run.run_id}</i>",
            *(escape(switch(run.switches.get(name))) for name in names),
            str(run.rulebook_version),
            str(run.ledger_to),
        ]
        for run in runs
    ]
    return _section("对账口径", "How each comparison was made", _table(heads, rows, "small") + _signed(runs))


def _signed(runs: Sequence[Run]) -> str:
    heads = [
        ("对账", "run"), ("开始", "started"), ("用时", "took#"), ("签字", "signed off by"), ("复核", "approved by"),
        ("签字时间", "signed"), ("作废次数", "voided runs#"), ("指纹", "SHA-256"),
    ]  # fmt: skip
    rows = [
        [
            f"{escape(run.party)}/{escape(run.scheme)} <i>{run.run_id}</i>",
            f"{moment(run.started_at)} {escape(run.started_by)}",
            lasted((run.finished_at - run.started_at).total_seconds()) if run.finished_at else words.UNKNOWN,
            escape(run.signed_by) or words.UNKNOWN,
            escape(run.approved_by) or words.UNKNOWN,
            moment(run.signed_at),
            str(run.voided),
            f'<code class="hash">{escape(run.digest) or words.UNKNOWN}</code>',
        ]
        for run in runs
    ]
    return _table(heads, rows, "small")


def _books(seal: Seal, part: str) -> str:
    """With whose books a sealed day was (not) compared; the first of them."""
    found = seal.books.get(part, {})
    told = [escape(name if part == "compared" else f"{name}: {why}") for name, why in found.items()]
    more = f" … +{len(told) - words.BOOKS_SHOWN:,}" if len(told) > words.BOOKS_SHOWN else ""
    return f"{'<br>'.join(told[: words.BOOKS_SHOWN])}{more}" or words.UNKNOWN


def _seal(report: Report) -> str:
    seal = report.seal
    if seal is None:
        return _section("封账", "Seal", _nothing("尚未封账", "not sealed yet"))
    rows = [
        ("封账", "sealed", f"{moment(seal.sealed_at)} {escape(seal.sealed_by)}"),
        ("复核", "approved by", escape(seal.approved_by)),
        ("分录", "entries", f"{seal.entries:,} ({yuan(seal.amount_fen)}), 至 <i>up to</i> {seal.last_entry_id}"),
        ("当日指纹", "digest", f'<code class="hash">{escape(seal.digest)}</code>'),
        ("前一日", "chained to", f'<code class="hash">{escape(seal.previous) or words.UNKNOWN}</code>'),
        ("链", "chain", f'<code class="hash">{escape(seal.chain)}</code>'),
        ("说明", "reason", escape(seal.reason) or words.UNKNOWN),
        *((zh, en, _books(seal, part)) for part, (zh, en) in words.SEALED_BOOKS.items()),
        ("验证", "verify", f"<code>hub verify --only seals --expect {seal.business_day}={escape(seal.chain)}</code>"),
    ]
    made = "".join(f"<tr><th>{zh} <i>{en}</i></th><td>{value}</td></tr>" for zh, en, value in rows)
    return _section("封账", "Seal", f'<table class="facts">{made}</table>{_SIGNATURES}')


_SIGNATURES = (
    '<p class="sign">'
    + "".join(
        f"<span>{zh} <i>{en}</i></span>" for zh, en in (("制表", "made by"), ("复核", "checked by"), ("日期", "date"))
    )
    + "</p>"
)


# ------------------------------------------------------------------------------------------------------------- building


def _both(said_as: Bilingual) -> str:
    same = said_as.en == said_as.zh
    return escape(said_as.zh) + ("" if same else f" <i>{escape(said_as.en)}</i>")


def _nothing(zh: str, en: str) -> str:
    return f'<p class="good">{zh} <i>{en}</i></p>'


def _more(count: int, command: str = "") -> str:
    """What a list leaves out, and the command that shows it."""
    listed = f": <code>{escape(command)}</code>" if command else ""
    return f'<p class="more">另有 {count:,} 条 <i>and {count:,} more</i>{listed}</p>' if count else ""


def _section(zh: str, en: str, body: str) -> str:
    return f"<section><h2>{zh} <i>{en}</i></h2>{body}</section>\n"


def _heads(heads: Sequence[Head]) -> str:
    cells = "".join(
        f'<th class="n">{zh}<br><i>{en[:-1]}</i></th>' if en.endswith("#") else f"<th>{zh}<br><i>{en}</i></th>"
        for zh, en in heads
    )
    return f"<thead><tr>{cells}</tr></thead>"


def _table(heads: Sequence[Head], rows: Iterable[Sequence[str]], css: str = "") -> str:
    """A table of cells that are HTML already."""
    numbers = [en.endswith("#") for _, en in heads]
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="n">{cell}</td>' if number else f"<td>{cell}</td>"
            for cell, number in zip(row, numbers, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table class="{css}">{_heads(heads)}<tbody>{body}</tbody></table></div>'


def _grouped(heads: Sequence[Head], groups: Iterable[Sequence[Sequence[Cell]]]) -> str:
    """A table whose groups of rows stay together on paper."""
    body = "".join(
        "<tbody>" + "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in group) + "</tbody>"
        for group in groups
    )
    return f'<div class="scroll"><table class="grouped">{_heads(heads)}{body}</table></div>'


def _cell(cell: Cell) -> str:
    css = f' class="{cell.css}"' if cell.css else ""
    span = f' rowspan="{cell.rows}"' if cell.rows > 1 else ""
    return f"<td{css}{span}>{cell.html}</td>"
