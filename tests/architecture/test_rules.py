"""Each rule catches what it is for, and lets its neighbour pass: a check that cannot fail is none."""

import pytest

from tests.architecture import rules

LONG_FUNCTION = "def long():\n" + "    pass\n" * rules.FUNCTION_LINES_MAX
READABLE_FUNCTION = "def readable():\n" + "    pass\n" * (rules.FUNCTION_LINES_MAX - 1)

CAUGHT = [
    (rules.file_is_of_readable_size, "x = 1\n" * (rules.FILE_LINES_MAX + 1), ""),
    (rules.functions_are_of_readable_size, LONG_FUNCTION, "long"),
    (rules.functions_are_of_readable_size, "class A:\n    async " + LONG_FUNCTION.replace("\n", "\n    "), "A.long"),
    (rules.names_have_a_home, "class PaymentManager: ...", "PaymentManager"),
    (rules.names_have_a_home, "class _Service: ...", "_Service"),
    (rules.names_have_a_home, "class HTTPUtils: ...", "HTTPUtils"),
    (rules.environment_is_read_at_the_edge, "import os\ndef f(): return os.environ['HOME']", "f"),
    (rules.environment_is_read_at_the_edge, "import os\nx = os.getenv('HOME')", ""),
    (rules.environment_is_read_at_the_edge, "from os import environ", ""),
    (rules.broad_handlers_say_why, "def f():\n try: g()\n except Exception: pass", "f"),
    (rules.broad_handlers_say_why, "def f():\n try: g()\n except: pass", "f"),
    (rules.broad_handlers_say_why, "def f():\n try: g()\n except (KeyError, BaseException):\n  return", "f"),
    (rules.broad_handlers_say_why, "def f():\n try: g()\n except Exception:  # noqa: BLE001\n  return", "f"),
    (rules.money_is_whole, "FEE = 0.029", ""),
    (rules.money_is_whole, "def f(amount): return amount / 100", "f"),
    (rules.money_is_whole, "def f(amount):\n amount /= 2", "f"),
    (rules.money_is_whole, "def f(amount): return float(amount)", "f"),
    (rules.money_is_whole, "def f(amount: Decimal): ...", "f"),
    (rules.core_is_pure, "import time", ""),
    (rules.core_is_pure, "def f():\n from os.path import exists", "f"),
    (rules.core_is_pure, "import urllib.request", ""),
    (rules.core_is_pure, "def f(): return datetime.now(UTC)", "f"),
    (rules.core_is_pure, "def f(path): return open(path)", "f"),
    (rules.port_methods_are_documented, "class Store(Protocol):\n async def get(self): ...", "Store.get"),
    (rules.functions_alone_are_tests, "class TestMoney: ...", "TestMoney"),
    (rules.functions_alone_are_tests, "def test_money(): ...", "test_money"),
    (rules.functions_alone_are_tests, "def testMoneyAdds(): ...", "testMoneyAdds"),
    (rules.nothing_is_passed_over, "@pytest.mark.skip\ndef test_a_b(): ...", ""),
    (rules.nothing_is_passed_over, "def test_a_b():\n pytest.skip('today')", "test_a_b"),
    (rules.nothing_is_passed_over, "@pytest.mark.xfail\ndef test_a_b(): ...", ""),
    (rules.nothing_is_passed_over, "x = pytest.importorskip('stripe')", ""),
    (rules.nothing_is_passed_over, "from pytest import skip", ""),
    (rules.nothing_sleeps, "async def test_a_b():\n await asyncio.sleep(0.01)", "test_a_b"),
    (rules.nothing_sleeps, "def test_a_b():\n time.sleep(1)", "test_a_b"),
    (rules.nothing_sleeps, "async def test_a_b(s):\n await asyncio.sleep(s)", "test_a_b"),
]

PASSED = [
    (rules.file_is_of_readable_size, "x = 1\n" * rules.FILE_LINES_MAX),
    (rules.functions_are_of_readable_size, READABLE_FUNCTION),
    (rules.names_have_a_home, "class Utility: ...\nclass Serviceable: ...\ndef helpers(): ..."),
    (rules.environment_is_read_at_the_edge, "def f(environment): return environment['HOME']"),
    (rules.broad_handlers_say_why, "try: g()\nexcept KeyError: pass"),
    (rules.broad_handlers_say_why, "try: g()\nexcept BaseException:\n  undo()\n  raise"),
    (rules.broad_handlers_say_why, "try: g()\nexcept Exception:\n  # The client's fault is not ours.\n  pass"),
    (rules.broad_handlers_say_why, "try: g()\nexcept Exception:  # the client's fault is not ours\n  pass"),
    (rules.money_is_whole, "def f(amount, path): return amount // 100, divmod(amount, 100)"),
    (rules.port_methods_are_documented, "class Store(Protocol):\n def get(self):\n  'The item.'\n def _x(self): ..."),
    (rules.core_is_pure, "from urllib.parse import urlsplit\nimport msgspec.json\nfrom interlock.core import kernel"),
    (rules.core_is_pure, "def f(clock): return clock.now()"),
    (rules.port_methods_are_documented, "class Plain:\n def get(self): ..."),
    (rules.functions_alone_are_tests, "def test_money_of_two_currencies_does_not_mix(): ..."),
    (rules.nothing_is_passed_over, "def test_a_b(skipped): assert skipped"),
    (rules.nothing_sleeps, "async def test_a_b(clock):\n await asyncio.sleep(0)\n await clock.sleep(5)"),
]


@pytest.mark.parametrize(("rule", "text", "place"), CAUGHT)
def test_what_a_rule_is_for_is_found_and_placed(rule, text, place):
    found = list(rule(rules.source("src/x.py", text)))
    assert [finding.place for finding in found] == [place]


@pytest.mark.parametrize(("rule", "text"), PASSED)
def test_what_a_rule_is_not_for_is_let_pass(rule, text):
    assert list(rule(rules.source("src/x.py", text))) == []


@pytest.mark.parametrize(
    "path", ["src/interlock/core/helpers.py", "src/interlock/common/money.py", "src/payment_utils.py"]
)
def test_file_or_folder_without_a_home_is_found(path):
    assert len(list(rules.names_have_a_home(rules.source(path, "")))) == 1
