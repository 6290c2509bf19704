"""The report of a day as an Excel workbook: a sheet per part, amounts as numbers, text never as a formula or a link."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from xlsxwriter import Workbook
from xlsxwriter.worksheet import Worksheet

from hub.recon import report_words as words
from hub.recon.report import AGES, Report
from hub.recon.report_words import said, switch
from routing.days import CHINA_STANDARD_TIME
from schemas.base import Bilingual
from schemas.statement import CLASS_MEANINGS, BreakClass
from store.recon_reports import STATES

WIDTH_MAX = 48
_ROWS_OF_TITLE = 2


class Yuan(int):
    """Whole fen that a cell shows as yuan with two decimals."""


def write_excel(report: Report, path: Path) -> None:
    """Write the workbook; OSError when the file cannot be written."""
    options = {
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "default_date_format": "yyyy-mm-dd hh:mm:ss",
        "remove_timezone": True,
    }
    with path.open("wb") as target, Workbook(target, options) as workbook:
        book = _Book(workbook, report)
        for part in (_summary, _parties, _classes, _breaks, _late, _ledger, _statements, _runs):
            part(book, report)


class _Book:
    """Sheets of one look: a title, a row of heads that stays in sight, then the rows."""

    def __init__(self, workbook: Workbook, report: Report) -> None:
        self._workbook = workbook
        self._title = f"{words.TITLE.zh} {words.TITLE.en} {report.day}"
        line = {"border": 1, "border_color": "#D0D5DD", "valign": "top"}
        self._head = workbook.add_format({**line, "bold": True, "bg_color": "#F2F4F7", "text_wrap": True})
        self._text = workbook.add_format({**line, "num_format": "@"})
        self._whole = workbook.add_format({**line, "num_format": "#,##0"})
        self._yuan = workbook.add_format({**line, "num_format": "#,##0.00;[Red]-#,##0.00"})
        self._day = workbook.add_format({**line, "num_format": "yyyy-mm-dd"})
        self._moment = workbook.add_format({**line, "num_format": "yyyy-mm-dd hh:mm:ss"})
        self._bold = workbook.add_format({"bold": True, "font_size": 14})

    def sheet(self, zh: str, en: str, heads: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]]) -> None:
        """One more sheet. Rows are as long as the heads."""
        sheet = self._workbook.add_worksheet(f"{zh} {en}")
        sheet.write_string(0, 0, f"{self._title} · {zh} {en}", self._bold)
        sheet.freeze_panes(_ROWS_OF_TITLE + 1, 0)
        sheet.repeat_rows(_ROWS_OF_TITLE)
        sheet.set_landscape()
        sheet.set_paper(9)  # A4
        sheet.fit_to_pages(1, 0)
        sheet.set_footer("&L&F&R&P / &N")
        widths = [max(len(zh) * 2, len(en)) + 2 for zh, en in heads]
        for column, (zh_head, en_head) in enumerate(heads):
            sheet.write_string(_ROWS_OF_TITLE, column, f"{zh_head}\n{en_head}".strip(), self._head)
        last = _ROWS_OF_TITLE
        for last, row in enumerate(rows, _ROWS_OF_TITLE + 1):
            for column, (value, _) in enumerate(zip(row, heads, strict=True)):
                widths[column] = max(widths[column], self._write(sheet, last, column, value))
        for column, width in enumerate(widths):
            sheet.set_column(column, column, min(width, WIDTH_MAX))
        if heads and last > _ROWS_OF_TITLE:
            sheet.autofilter(_ROWS_OF_TITLE, 0, last, len(heads) - 1)

    def _write(self, sheet: Worksheet, row: int, column: int, value: Any) -> int:
        """Write one cell; how wide it is."""
        match value:
            case None:
                sheet.write_blank(row, column, None, self._text)
                return 0
            case Yuan():
                # Two decimals of a number below 10**13 fen are exact to the cent in Excel's 15 digits.
                sheet.write_number(row, column, int(value) / 100, self._yuan)
                return len(words.yuan(value)) + 2
            case int() | float():
                sheet.write_number(row, column, value, self._whole)
                return len(f"{value:,}") + 2
            case datetime():
                sheet.write_datetime(row, column, value.astimezone(CHINA_STANDARD_TIME), self._moment)
                return 20
            case date():
                sheet.write_datetime(row, column, datetime(value.year, value.month, value.day), self._day)
                return 12
            case _:
                written = str(value)
                sheet.write_string(row, column, written, self._text)
                return sum(2 if ord(character) > 0x2E80 else 1 for character in written) + 1


def _both(said_as: Bilingual) -> str:
    return said_as.zh if said_as.zh == said_as.en else f"{said_as.zh} {said_as.en}"


def _summary(book: _Book, report: Report) -> None:
    totals, took, seal = report.totals, report.resolution, report.seal
    rows: list[tuple[str, str, Any]] = [
        ("日期", "day", report.day),
        ("生成时间（北京时间）", "made (China Standard Time)", report.made_at),
        ("结论", "verdict", "无未决差异 nothing is open" if report.clean else "有未决事项 not closed"),
        ("结算笔数", "bills that stand", totals.cases),
        ("总费用", "bills", Yuan(totals.bills_fen)),
        ("支付方承担", "payers bear", Yuan(totals.payers_fen)),
        ("个人账户", "personal account", Yuan(totals.account_fen)),
        ("医院承担", "hospital bears", Yuan(totals.hospital_fen)),
        ("个人现金", "cash", Yuan(totals.cash_fen)),
        *((f"差异：{said(words.STATES, state).zh}", f"breaks, {state}", report.count[state]) for state in STATES),
        ("解决用时（中位数）", "resolution, median", words.lasted(took.median_s)),
        ("解决用时（最长）", "resolution, worst", words.lasted(took.worst_s)),
        ("封账时间", "sealed", seal.sealed_at if seal else None),
        ("封账人", "sealed by", seal.sealed_by if seal else None),
        ("复核人", "approved by", seal.approved_by if seal else None),
        ("当日指纹", "digest", seal.digest if seal else None),
        ("链", "chain", seal.chain if seal else None),
        *(
            (f"{zh} {name}", en, why if part != "compared" else f"run {why}")
            for part, (zh, en) in words.SEALED_BOOKS.items()
            for name, why in (seal.books.get(part, {}) if seal else {}).items()
        ),
        *(("未对账", "not compared", party) for party in report.not_run),
        *((f"提示 {one.party}", "finding", one.finding) for one in report.parties if one.finding),
        *((f"提示 {one.party}", "note", one.note) for one in report.parties if one.note),
    ]
    book.sheet("总览", "Summary", [("项目", "item"), ("", ""), ("值", "value")], rows)


def _parties(book: _Book, report: Report) -> None:
    heads = [
        ("对方", "party"), ("名称", "name"), ("类别", "kind"), ("方案", "scheme"), ("对账", "run"), ("状态", "state"),
        ("账", "side"), ("结算笔数", "settlements"), ("退费笔数", "refunds"), ("结算金额", "settled"),
        ("退费金额", "refunded"), ("净额", "net"), ("其中个人账户", "account"),
        ("待处理", "open"), ("处理中", "waiting"), ("未决差额", "open, off by"),
    ]  # fmt: skip
    rows = [
        (
            one.party, one.name, _both(said(words.KINDS, one.kind)), one.scheme, one.run and one.run.run_id,
            _both(said(words.RUN_STATES, one.run.state)) if one.run else None, _both(said(words.SIDES, name)),
            side.settlements, side.refunds, Yuan(side.settled_fen), Yuan(side.refunded_fen), Yuan(side.net_fen),
            Yuan(side.account_fen), one.states.get("open", 0), one.states.get("waiting", 0), Yuan(one.open_fen),
        )
        for one in report.parties
        for name, side in one.sides.items()
    ]  # fmt: skip
    book.sheet("各方合计", "Parties", heads, rows)


def _classes(book: _Book, report: Report) -> None:
    heads = [
        ("类别", "class"), ("含义", "meaning"),
        *((said(words.STATES, state).zh, state) for state in STATES),
        *((f"未决 {name} 天", f"open {name} d") for _, name in AGES),
        ("未决差额", "open, off by"),
    ]  # fmt: skip
    rows = [
        (
            row.break_class.value,
            _both(CLASS_MEANINGS[row.break_class]),
            *(row.states.get(state, 0) for state in STATES),
            *(row.ages.get(name, 0) for _, name in AGES),
            Yuan(row.open_fen),
        )
        for row in report.classes
    ]
    book.sheet("差异分类", "Classes", heads, rows)


def _breaks(book: _Book, report: Report) -> None:
    heads = [
        ("编号", "no"), ("类别", "class"), ("含义", "meaning"), ("状态", "state"), ("对方", "party"),
        ("方案", "scheme"), ("机构", "institution"), ("支付方", "payer"), ("结算号", "settlement"),
        ("请求号", "request"), ("支付方流水", "reference"), ("平台", "hub"), ("支付方账", "payer's books"),
        ("医院账", "hospital's books"), ("差额", "off by"), ("首次发现", "first day"),
        ("建议", "proposal"), ("原因", "reason"), ("操作", "action"),
    ]  # fmt: skip
    rows = [
        (
            one.break_id, one.break_class, CLASS_MEANINGS[BreakClass(one.break_class)].zh,
            _both(said(words.STATES, one.state)), one.party, one.scheme, one.institution, one.payer, one.settlement_no,
            one.request_id, one.reference, _net(one.hub), _net(one.payer_side), _net(one.hospital),
            Yuan(one.difference_fen), one.first_day,
            _both(said(words.REMEDIES, one.proposal)) if one.proposal else None, one.reason, one.action_id,
        )
        for one in report.breaks
    ]  # fmt: skip
    book.sheet("未决差异", "Breaks", heads, rows)
    if report.breaks_total > len(report.breaks):
        more = report.breaks_total - len(report.breaks)
        book.sheet("另有", "More", [("另有条数", "more breaks"), ("命令", "command")], [(more, report.list_command)])


def _net(figures: list[int] | None) -> Yuan | None:
    """What one side holds of a break: nothing where it was not compared."""
    return Yuan(figures[2] + figures[3]) if figures is not None else None


def _late(book: _Book, report: Report) -> None:
    heads = [
        ("分录", "entry"), ("种类", "kind"), ("发生日", "effective"), ("账务日", "counts on"), ("支付方", "payer"),
        ("机构", "institution"), ("借", "debit"), ("贷", "credit"), ("金额", "amount"), ("案件", "case"), ("腿", "leg"),
        ("依据", "cause"),
    ]  # fmt: skip
    rows = [
        (
            one.entry_id, _both(said(words.LEDGER_KINDS, one.kind)), one.effective_day, one.business_day, one.payer,
            one.institution, one.debit, one.credit, Yuan(one.amount_fen), one.case_id, one.leg_no, one.cause,
        )
        for one in report.late
    ]  # fmt: skip
    book.sheet("跨日入账", "Late", heads, rows)


def _ledger(book: _Book, report: Report) -> None:
    heads = [
        ("支付方", "payer"), ("机构", "institution"), ("本日垫付", "advanced this day"), ("已发生垫付额", "advanced"),
        ("已结算额", "settled"), ("待结算额", "to be settled"), ("审核扣款", "deducted"), ("核销", "written off"),
    ]  # fmt: skip
    rows = [
        (
            one.payer, one.institution, Yuan(one.day_fen), Yuan(one.advanced_fen), Yuan(one.settled_fen),
            Yuan(one.to_be_settled_fen), Yuan(one.deducted_fen), Yuan(one.written_off_fen),
        )
        for one in report.balances
    ]  # fmt: skip
    book.sheet("垫付与结算", "Ledger", heads, rows)


def _statements(book: _Book, report: Report) -> None:
    heads = [
        ("编号", "no"), ("对方", "party"), ("方案", "scheme"), ("形式", "form"), ("来源", "source"), ("行数", "rows"),
        ("合计", "total"), ("状态", "state"), ("接收人", "received by"), ("接收时间", "received"), ("指纹", "SHA-256"),
        ("拒收原因", "why it was refused"),
    ]  # fmt: skip
    rows = [
        (
            one.statement_id, one.party, one.scheme, one.form, one.source, one.rows, Yuan(one.total_fen),
            _both(said(words.STATEMENT_STATES, one.state)), one.received_by, one.received_at, one.sha256,
            "; ".join(words.problems(one.problems)) or None,
        )
        for one in report.statements
    ]  # fmt: skip
    book.sheet("对账单", "Statements", heads, rows)


def _runs(book: _Book, report: Report) -> None:
    heads = [
        ("对账", "run"), ("对方", "party"), ("方案", "scheme"),
        *((words.SWITCHES[name].zh, words.SWITCHES[name].en) for name in words.SWITCHES),
        ("规则版本", "rules"), ("分录至", "ledger to"), ("开始", "started"), ("结束", "finished"),
        ("发起", "started by"), ("签字", "signed by"), ("复核", "approved by"), ("签字时间", "signed"),
        ("作废次数", "voided"), ("指纹", "SHA-256"),
    ]  # fmt: skip
    rows = [
        (
            run.run_id, run.party, run.scheme, *(switch(run.switches.get(name)) for name in words.SWITCHES),
            run.rulebook_version, run.ledger_to, run.started_at, run.finished_at, run.started_by, run.signed_by,
            run.approved_by, run.signed_at, run.voided, run.digest,
        )
        for one in report.parties
        if (run := one.run) is not None
    ]  # fmt: skip
    book.sheet("对账口径", "Runs", heads, rows)
