"""`QueryStatement` of the SOAP basic system: its own writing of the service contract."""

from __future__ import annotations

from sandbox.clock import CHINA
from sandbox.statement_pages import Page
from schemas.money import yuan_of
from schemas.statement import LineKind, StatementLine
from schemas.wsdl import BASIC_NAMESPACE


def answer_of(page: Page | None, echo: str, off_by_fen: int = 0) -> str:
    """The whole answer; `echo` is the request's id as it is given back."""
    if page is None:
        said = "<infcode>-1</infcode><err_code>page</err_code><err_msg>没有该页</err_msg>"
    else:
        said = f"<infcode>0</infcode>{_info(page, off_by_fen)}{''.join(map(_row, page.lines))}"
    return (
        f'<QueryStatementResponse xmlns="{BASIC_NAMESPACE}"><request_id>{echo}</request_id>{said}'
        "</QueryStatementResponse>"
    )


def _info(page: Page, off_by_fen: int) -> str:
    return (
        f"<stmtinfo><stmt_date>{page.day.isoformat()}</stmt_date><page_num>{page.number}</page_num>"
        f"<page_cnt>{page.pages}</page_cnt><setl_cnt>{page.count}</setl_cnt>"
        f"<fund_pay_sumamt>{yuan_of(page.total_fen + off_by_fen)}</fund_pay_sumamt></stmtinfo>"
    )


def _row(line: StatementLine) -> str:
    assert line.at is not None
    number = f"<setl_id>{line.reference}</setl_id>" if line.reference else ""
    request = f"<omsgid>{line.request_id}</omsgid>" if line.request_id else ""
    return (
        f"<stmtdetail>{number}{request}<fixmedins_code>{line.institution}</fixmedins_code>"
        f"<settlement_no>{line.settlement_no}</settlement_no>"
        f"<refd_setl_flag>{int(line.kind is LineKind.REFUND)}</refd_setl_flag>"
        f"<medfee_sumamt>{yuan_of(line.total)}</medfee_sumamt><fund_pay_sumamt>{yuan_of(line.amount)}</fund_pay_sumamt>"
        f"<acct_pay>{yuan_of(line.account)}</acct_pay>"
        f"<setl_time>{line.at.astimezone(CHINA):%Y-%m-%d %H:%M:%S}</setl_time></stmtdetail>"
    )
