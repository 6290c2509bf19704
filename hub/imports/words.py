"""What people write at the head of a column and in its cells: English field names, national ones, Chinese terms."""

from __future__ import annotations

from collections.abc import Mapping

HEADINGS: dict[str, tuple[str, ...]] = {
    "valid_from": ("begndate", "生效日期", "开始日期", "起始日期", "有效期起", "参保开始日期", "保险起期"),
    "valid_until": ("enddate", "终止日期", "结束日期", "失效日期", "有效期止", "参保结束日期", "保险止期"),
    "list_type": ("目录类别", "目录类型"),
    "item_code": ("med_list_codg", "hilist_code", "医保目录编码", "项目编码", "医保编码", "国家编码"),
    "item_name": ("hilist_name", "医保目录名称", "项目名称", "医保名称"),
    "category": ("med_chrgitm_type", "收费类别", "费用类别", "人员类别", "贫困类别", "psn_type"),
    "level": ("chrgitm_lv", "收费项目等级", "目录等级", "甲乙类", "医院等级", "机构等级", "hosp_lv"),
    "price_max": ("hilist_pric_uplmt_amt", "最高限价", "限价"),
    "self_pay": ("selfpay_prop", "自付比例", "先行自付比例"),
    "spec": ("规格",),
    "unit": ("单位", "计价单位"),
    "local_code": ("fixmedins_hilist_id", "院内编码", "院内目录编码", "医院编码"),
    "local_name": ("fixmedins_hilist_name", "院内名称", "院内目录名称"),
    "payer": ("保险方", "支付方"),
    "code": (
        "diag_code", "fixmedins_code", "prac_psn_code",
        "编码", "疾病编码", "诊断编码", "机构编码", "医师编码", "人员编码",
    ),
    "name": (
        "diag_name", "fixmedins_name", "prac_psn_name", "psn_name",
        "名称", "姓名", "疾病名称", "诊断名称", "机构名称", "医师姓名", "被保险人",
    ),
    "region": ("insuplc_admdvs", "统筹区", "参保地", "统筹区编码", "参保地医保区划"),
    "institution": ("定点机构编码", "所属机构", "医疗机构编码"),
    "title": ("职称",),
    "department": ("科室", "科室名称"),
    "id_type": ("psn_cert_type", "证件类型", "身份类别"),
    "id_no": ("certno", "证件号码", "证件号", "身份证号", "身份证号码"),
    "sex": ("gend", "性别"),
    "birth_date": ("brdy", "出生日期"),
    "person_no": ("psn_no", "人员编号", "医保号", "个人编号"),
    "insurance_type": ("insutype", "险种类型", "险种", "医保类型"),
    "product": ("产品编码", "保险产品", "产品"),
    "policy_no": ("保单号", "合同号", "保险单号"),
    "sum_insured": ("保额", "保险金额"),
    "kind": ("类别", "对象类别"),
    "subject": ("对象", "对象编码", "对象编号"),
    "action": ("处理方式", "措施"),
    "reason": ("原因", "事由"),
}  # fmt: skip
"""Of each field, what else its column may be called. A term may stand for different fields in different kinds."""

_LEVELS = {"甲": "01", "甲类": "01", "乙": "02", "乙类": "02", "丙": "03", "丙类": "03", "自费": "03"}
_WORDS: dict[tuple[str, str], Mapping[str, str]] = {
    ("", "sex"): {"男": "1", "女": "2", "未知": "0", "男性": "1", "女性": "2"},
    ("", "id_type"): {
        "居民身份证": "01", "身份证": "01", "军官证": "02", "护照": "08", "社会保障卡": "90", "社保卡": "90",
    },
    ("", "list_type"): {
        "西药": "101", "中成药": "101", "西药中成药": "101", "中药饮片": "102", "自制剂": "103", "民族药": "104",
        "医疗服务项目": "201", "诊疗项目": "201", "医用耗材": "301", "耗材": "301",
    },
    ("", "insurance_type"): {"职工": "310", "职工基本医疗保险": "310", "居民": "390", "城乡居民基本医疗保险": "390"},
    ("catalogue", "level"): _LEVELS,
    ("blacklist", "kind"): {"人员": "person", "个人": "person", "机构": "institution", "医护人员": "staff"},
    ("blacklist", "action"): {"拒绝": "refuse", "禁止": "refuse", "关注": "flag"},
}  # fmt: skip
_TWO_DIGITS = {str(digit): f"0{digit}" for digit in range(1, 10)}
_PADDED = {("", "id_type"), ("catalogue", "level"), ("catalogue", "category")}
"""Codes of two digits, of which a spreadsheet keeps the second."""

DATES = frozenset({"valid_from", "valid_until", "birth_date"})
NUMBERS = frozenset({"price_max", "self_pay", "sum_insured"})
TOTALS = frozenset({"total", "count", "合计", "总计", "总行数", "记录数"})
"""What begins a last line that tells how many rows there are."""


def words_of(kind: str, field: str) -> dict[str, str]:
    """Words that stand for codes of this field."""
    found: dict[str, str] = {}
    for key in (("", field), (kind, field)):
        found |= _WORDS.get(key, {})
        found |= _TWO_DIGITS if key in _PADDED else {}
    return found
