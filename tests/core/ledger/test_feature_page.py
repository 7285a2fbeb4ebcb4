from __future__ import annotations

import re
from pathlib import Path

from interlock.core.ledger.accounts import CHART
from interlock.core.ledger.model import AMOUNT, EXCESS, RECIPES, TOTAL
from interlock.core.ledger.verification import CODES

PAGE = (Path(__file__).parents[3] / "docs" / "features" / "ledger.md").read_text()


def rows(heading: str) -> list[list[str]]:
    section = PAGE.split(f"\n## {heading}")[1].split("\n## ")[0]
    table = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in table]


def test_chart_on_the_page_is_the_chart():
    assert [tuple(row[:3]) for row in rows("Accounts")] == [
        (f"`{line.code}:{{provider}}`" if line.per_provider else f"`{line.code}`", line.type, line.normal_side)
        for line in CHART.values()
    ]


def test_recipes_on_the_page_are_the_recipes():
    figures = {"": AMOUNT, "excess": EXCESS, "amount + excess": TOTAL}

    def lines(sign: int, cell: str):
        return [(sign, code, figures[figure]) for code, figure in re.findall(r"`([a-z_]+)`(?: \(([^)]*)\))?", cell)]

    found = {row[0].strip("`"): sorted(lines(1, row[1]) + lines(-1, row[2])) for row in rows("What is booked")}
    assert found == {kind: sorted(recipe) for kind, recipe in RECIPES.items()}


def test_findings_on_the_page_are_those_of_verify():
    assert [row[0].strip("`") for row in rows("The proof")] == list(CODES)
