"""What to do about a violation, in Chinese, by its code; the English sentence comes with the violation itself."""

from __future__ import annotations

from schemas.errors import Violation

_GENERAL = "请按接口规范填写该字段"
_REMEDIES = {
    "missing": "请补充该字段",
    "extra_forbidden": "请删除该字段：不属于本报文",
    "string_pattern_mismatch": "请仅使用规范允许的字符和长度",
    "string_too_long": "请缩短文本",
    "string_too_short": "请填写该字段",
    "string_type": "请以文本形式填写",
    "enum": "请使用代码表中的代码",
    "literal_error": "请使用规范规定的值",
    "bool_type": "请填写 true 或 false",
    "int_type": "请填写整数",
    "int_parsing": "请填写整数",
    "too_short": "请至少填写一条",
    "too_long": "条数超过上限，请减少",
    "timezone_aware": "请注明时区，例如 +08:00",
    "money": '请以文本填写金额（元），最多两位小数，例如 "1234.50"',
    "decimal": "请以文本填写数字，小数位数不得超过规定",
    "date.future": "日期不得晚于当前时间",
    "bill.total": "总费用必须等于各费用明细之和（精确到分），且不为零",
    "fee.amount": "金额必须等于单价×数量并四舍五入到分，请更正其中一项",
    "fees.line_no": "每条费用明细须有各自的行号",
    "diagnoses.main": "须且仅须标记一个主要诊断",
    "patient.id_no": "身份证号码有误，请与证件核对",
    "patient.birth_date": "出生日期与身份证号码不符，请更正",
    "visit.medical_type": "医疗类别与就诊类型不符",
    "visit.ended_at": "住院结算须填写出院时间，且不得早于入院时间",
    "date_parsing": "请填写日期，例如 2026-03-02",
    "datetime_parsing": "请填写带时区的时间，例如 2026-03-02T09:15:00+08:00",
    "xml.missing": "请按接口规范的顺序补充该元素",
    "xml.order": "请按接口规范的元素名称与顺序填写",
    "xml.unexpected": "请删除该元素：不属于本报文",
    "visit.discharged_at": "出院时间不得早于入院时间",
    "line.exists": "该明细号已存在，请先撤销原明细或更换明细号",
    "line.refund": "退费须指明在案明细、单价一致，且不超过其剩余数量",
    "line.not_found": "没有该费用明细，或已撤销",
    "fee.refunds": "负数明细须指明所冲减的明细，其他明细不得填写",
    "header.missing": "请在该请求头中填写本报文的自有编号，重发时保持不变",
    "header.invalid": "请填写一个编号：1 至 64 位字母、数字或 . _ : -",
    "query.number": "请填写规定范围内的整数",
    "query.settlement_no": "请填写已发送的结算号：1 至 64 位字母、数字或 . _ : -",
    "mapping.missing": "请先上传该院内编码的对码关系",
    "mapping.differs": "项目编码与已上传的对码关系不一致，请更正其中一项",
    "mapping.payer": "请核对 payer：医院对码不填，保险方填写本方编码",
    "catalogue.missing": "该编码不在当日有效的三大目录内，请核对",
    "disease.missing": "该编码不在当日有效的疾病字典内，请核对",
    "staff.missing": "请填写医师国家编码（doctor_code）",
    "staff.unknown": "该医师编码未登记，请先上传医护人员信息",
    "date.invalid": "请填写日期，例如 2026-01-31",
    "text.control": "含控制字符或文字方向字符，请删除",
    "number.too_long": "该列为数值格式，已丢失位数：请改为文本格式后重新填写",
    "row.columns": "列数与标题行不一致，请检查分隔符",
    "row.duplicate": "同一条目同一生效日出现两次，请保留一条",
    "validity.overlap": "有效期与同一条目的前一条重叠，请更正其中一条",
    "validity.order": "终止日期不得早于生效日期",
    "item.unknown": "所对应的项目编码不在有效目录内，请先上传目录或更正编码",
    "price.bounds": "限价须大于零且不超过规定上限，无限价请留空",
    "ratio.bounds": "比例须在 0 与 1 之间，例如 0.1",
    "region.foreign": "请填写本统筹区编码",
    "institution.foreign": "请填写本机构编码",
    "product.foreign": "请填写由本方承担的产品编码",
    "claim.request_id": "请原样返回任务中的 request_id",
    "statement.key": "请以 settlement_no、request_id 或 reference 指明结算",
    "statement.sign": "结算行金额不得为负，退费行金额不得为正",
    "statement.count": "行数与申报的行数不一致，请核对文件是否完整",
    "statement.total": "金额合计与申报的合计不一致，请核对文件是否完整",
    "statement.sha256": "文件与申报的摘要不一致，请重新发送",
    "statement.day": "日期不属于该对账单，请随其所属日期的对账单发送",
    "statement.payer": "请每行都填写支付方（按支付方列示），或都不填写（按整笔结算列示）",
    "scheme.unknown": "没有该对账方案，请使用所列方案",
    "party.unknown": "请填写支付方或医疗机构的编码",
    "institution.unknown": "请填写本方可列示的医疗机构编码",
    "payer.unknown": "请填写支付方编码",
    "datetime": "请填写时间，例如 2026-01-31T09:30:00+08:00",
    "file.invalid": "文件无法读取，请按接口规范重新生成",
}
_IN_FILES = {
    "money": "请填写金额（元），最多两位小数，数字之间不得有其他字符，例如 -1234.50",
    "string_pattern_mismatch": "请仅使用至多 64 位字母、数字或 . _ : -，不得有空格",
    "missing": "请填写支付金额，须为数值，不得为公式",
    "datetime": "请填写时间，例如 2026-01-31T09:30:00+08:00 或 2026/1/31 9:30（北京时间）",
}


def remedy_zh(violation: Violation) -> str:
    """The remedy in Chinese; a general one for a code without a sentence of its own."""
    return own_zh(violation) or _GENERAL


def own_zh(violation: Violation) -> str:
    """The sentence that is about this code; empty where there is none.

    In a row of a file amounts are no quoted text, and moments may be as spreadsheets write them.
    """
    if violation.field.startswith("row ") and violation.code in _IN_FILES:
        return _IN_FILES[violation.code]
    return _REMEDIES.get(violation.code, "")
