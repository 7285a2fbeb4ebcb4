"""The documents say what is there: links lead somewhere, and names on the tour exist in the files they are said to be in."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/*.md"), *ROOT.glob("src/**/*.md"))
)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_relative_link_leads_to_a_file(document):
    path = ROOT / document
    links = [link for link in LINK.findall(path.read_text()) if not re.match(r"[a-z]+:", link)]
    missing = [link for link in links if not (path.parent / link).exists()]
    assert missing == []


def test_every_name_on_the_tour_is_defined_in_the_file_it_is_linked_to():
    text = (ROOT / "docs/tour.md").read_text()
    pairs = re.findall(r"`(\w+)`(?:[^`\[]*?)\sin\s+\[[^\]]+\]\(\.\./([^)]+)\)", text)
    assert len(pairs) >= 14
    for name, file in pairs:
        source = (ROOT / file).read_text()
        assert re.search(rf"^(?:async def|def|class) {name}\b|^{name}\b\s*[:=]", source, re.MULTILINE), (name, file)


def test_the_readme_is_at_most_eighty_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 80


def test_the_tour_has_nine_hops():
    assert len(re.findall(r"^\d+\. ", (ROOT / "docs/tour.md").read_text(), re.MULTILINE)) == 9
