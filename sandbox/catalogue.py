"""Invented fee items in the shape of the national catalogue: drugs, services, consumables, with codes and prices."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

_INGREDIENTS = (
    ("XA10BA", "盐酸二甲双胍缓释片"),
    ("XC08CA", "苯磺酸氨氯地平片"),
    ("XC10AA", "阿托伐他汀钙片"),
    ("XJ01CA", "阿莫西林胶囊"),
    ("XM01AE", "布洛芬缓释胶囊"),
    ("XA02BC", "奥美拉唑肠溶胶囊"),
    ("XC09CA", "缬沙坦胶囊"),
    ("XR06AX", "氯雷他定片"),
    ("XN02BE", "对乙酰氨基酚片"),
    ("XJ01DC", "头孢呋辛酯片"),
    ("XA10BH", "磷酸西格列汀片"),
    ("XB01AC", "硫酸氢氯吡格雷片"),
    ("XR03AC", "沙丁胺醇吸入气雾剂"),
    ("XC07AB", "酒石酸美托洛尔片"),
    ("XV06DC", "葡萄糖注射液"),
    ("XB05XA", "氯化钠注射液"),
)
_PATENT_CHINESE = (
    "连花清瘟胶囊",
    "复方丹参滴丸",
    "板蓝根颗粒",
    "六味地黄丸",
    "藿香正气口服液",
    "蒲地蓝消炎口服液",
    "通心络胶囊",
    "感冒灵颗粒",
)
_SERVICES = (
    ("12", "普通门诊诊查费", 1000, 5000),
    ("13", "挂号费", 100, 500),
    ("04", "血常规检查", 1500, 4000),
    ("04", "肝功能全套", 6000, 14000),
    ("04", "肾功能检查", 3000, 7000),
    ("04", "糖化血红蛋白测定", 5000, 9000),
    ("03", "彩色多普勒超声", 8000, 20000),
    ("03", "数字化摄影", 6000, 12000),
    ("03", "CT平扫", 18000, 42000),
    ("03", "磁共振平扫", 40000, 80000),
    ("03", "心电图", 1500, 4000),
    ("05", "静脉输液", 800, 2500),
    ("05", "针灸治疗", 3000, 8000),
    ("05", "换药", 1500, 6000),
    ("05", "雾化吸入", 800, 2500),
    ("07", "Ⅰ级护理", 2000, 5000),
    ("07", "Ⅱ级护理", 1200, 2500),
    ("02", "住院诊查费", 1500, 4000),
    ("05", "康复治疗", 4000, 12000),
)
_OPERATIONS = (
    ("腹腔镜胆囊切除术", 180000, 320000),
    ("阑尾切除术", 90000, 180000),
    ("白内障超声乳化术", 220000, 380000),
    ("冠状动脉支架置入术", 350000, 650000),
    ("全膝关节置换术", 420000, 700000),
    ("剖宫产术", 180000, 300000),
)
_CONSUMABLES = (
    ("一次性输液器", 150, 900),
    ("留置针", 1500, 6000),
    ("医用敷料", 500, 4000),
    ("吻合器", 90000, 260000),
    ("药物洗脱支架", 70000, 160000),
    ("人工关节假体", 500000, 980000),
    ("人工晶体", 80000, 260000),
)
DIAGNOSES: dict[str, tuple[tuple[str, str], ...]] = {
    "outpatient": (
        ("I10.x00", "特发性高血压"),
        ("E11.900", "2型糖尿病"),
        ("J06.900", "急性上呼吸道感染"),
        ("K29.500", "慢性胃炎"),
        ("M54.500", "腰痛"),
        ("J20.900", "急性支气管炎"),
        ("L30.900", "皮炎"),
        ("I25.100", "冠心病"),
        ("K02.900", "龋病"),
        ("H10.900", "结膜炎"),
        ("N39.000", "泌尿道感染"),
        ("Z41.100", "美容整形"),
    ),
    "inpatient": (
        ("I63.900", "脑梗死"),
        ("I21.900", "急性心肌梗死"),
        ("K80.200", "胆囊结石"),
        ("J18.900", "肺炎"),
        ("M17.100", "膝关节病"),
        ("C34.900", "肺恶性肿瘤"),
        ("H25.900", "老年性白内障"),
        ("K35.800", "急性阑尾炎"),
        ("I50.900", "心力衰竭"),
        ("E11.200", "2型糖尿病肾病"),
        ("O82.000", "选择性剖宫产"),
        ("S82.600", "踝部骨折"),
    ),
    "pharmacy": (("Z76.000", "配药"), ("I10.x00", "特发性高血压"), ("J00.x00", "急性鼻咽炎"), ("E11.900", "2型糖尿病")),
}


@dataclass(frozen=True, slots=True)
class Item:
    """One catalogue item; price in fen."""

    code: str
    name: str
    category: str
    level: str
    price_fen: int


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The items of a city, by what they are used for."""

    drugs: tuple[Item, ...]
    costly_drugs: tuple[Item, ...]
    services: tuple[Item, ...]
    operations: tuple[Item, ...]
    consumables: tuple[Item, ...]
    costly_consumables: tuple[Item, ...]
    bed: Item
    registration: Item


def build(seed: int) -> Catalogue:
    """A catalogue of some 700 items; the same for the same seed."""
    random = Random(seed)
    western = [_western(random, number) for number in range(320)]
    chinese = [_chinese(random, number) for number in range(120)]
    services = [_service(random, number, row) for number in range(8) for row in _SERVICES]
    operations = [_operation(random, number, row) for number in range(3) for row in _OPERATIONS]
    goods = [_consumable(random, number, row) for number in range(10) for row in _CONSUMABLES]
    drugs = western + chinese
    return Catalogue(
        drugs=tuple(item for item in drugs if item.price_fen < 150_00),
        costly_drugs=tuple(item for item in drugs if item.price_fen >= 150_00),
        services=tuple(services),
        operations=tuple(operations),
        consumables=tuple(item for item in goods if item.price_fen < 500_00),
        costly_consumables=tuple(item for item in goods if item.price_fen >= 500_00),
        bed=Item("001109000010000-110900001", "普通病房床位费", "01", "01", 52_00),
        registration=Item("001101000010000-110100001", "挂号费", "13", "01", 5_00),
    )


def _western(random: Random, number: int) -> Item:
    group, name = _INGREDIENTS[number % len(_INGREDIENTS)]
    # X, four ATC characters and a route letter, ingredient, form, pack and maker: 23 characters
    code = f"{group}{chr(65 + random.randrange(26))}{random.randrange(1000):03d}A001{random.randrange(1, 10):02d}01"
    code = f"{code}{number:0{23 - len(code)}d}"
    costly = random.random() < 0.12
    price = random.randrange(150_00, 2_400_00) if costly else random.randrange(4_80, 96_00)
    unit = "片" if name.endswith("片") else "粒" if name.endswith("囊") else "支"
    return Item(code, f"{name}({random.choice((7, 14, 20, 28, 30))}{unit})", "09", _level(random, 55, 37), price)


def _chinese(random: Random, number: int) -> Item:
    name = _PATENT_CHINESE[number % len(_PATENT_CHINESE)]
    code = f"ZA{random.randrange(1, 10):02d}AAX{random.randrange(1000):04d}0101{number:08d}"
    return Item(code, name, "11", _level(random, 40, 45), random.randrange(9_80, 68_00))


def _service(random: Random, number: int, row: tuple[str, str, int, int]) -> Item:
    category, name, low, high = row
    serial = random.randrange(10**8)
    code = f"0{serial:08d}{number:06d}-{serial % 10**9:09d}"
    return Item(code, name, category, _level(random, 78, 15), random.randrange(low, high) // 10 * 10)


def _operation(random: Random, number: int, row: tuple[str, int, int]) -> Item:
    name, low, high = row
    serial = random.randrange(10**8)
    return Item(f"0033{serial:08d}{number:03d}-33{serial % 10**7:07d}", name, "06", "01", random.randrange(low, high))


def _consumable(random: Random, number: int, row: tuple[str, int, int]) -> Item:
    name, low, high = row
    code = f"C{random.randrange(10**10):010d}{number:010d}"
    return Item(code, name, "08", _level(random, 30, 50), random.randrange(low, high))


def _level(random: Random, full_percent: int, partly_percent: int) -> str:
    drawn = random.randrange(100)
    if drawn < full_percent:
        return "01"
    return "02" if drawn < full_percent + partly_percent else "03"
