"""The lists of deliberate breakages stay true to the source; `python -m tests.contracts.breakages` tries them."""

from __future__ import annotations

import pytest

from tests.contracts import breakages
from tests.contracts.breakages import Breakage


@pytest.mark.parametrize("breakage", breakages.breakages(), ids=lambda breakage: breakage.name)
def test_breakage_still_fits_the_source_and_names_a_test_that_exists(breakage: Breakage) -> None:
    assert breakages.fits(breakage)
    module, _, function = breakage.test.partition("::")
    assert f"def {function}(" in (breakages.ROOT / breakages.path_of(module)).read_text()


def test_breakages_have_names_of_their_own() -> None:
    names = [breakage.name for breakage in breakages.breakages()]
    assert len(set(names)) == len(names)


def test_list_in_the_readme_is_current() -> None:
    assert breakages.README.read_text() == breakages.readme_with(breakages.breakages())


def test_breakage_that_no_test_notices_is_reported_as_a_survivor() -> None:
    harmless = Breakage(
        "harmless", "core/kernel/store.py", "KEY_BYTES_MAX = 1_024", "KEY_BYTES_MAX = 1024",
        "test_store.py::test_item_never_written_is_none", "memory",
    )  # fmt: skip
    assert breakages.attempt(harmless).verdict == "SURVIVED"


def test_breakage_that_breaks_the_run_itself_is_not_counted_as_caught() -> None:
    unreadable = Breakage(
        "unreadable", "core/kernel/store.py", "KEY_BYTES_MAX = 1_024", "KEY_BYTES_MAX = = 1024",
        "test_store.py::test_item_never_written_is_none", "memory",
    )  # fmt: skip
    assert breakages.attempt(unreadable).verdict.startswith("BROKE THE RUN")
