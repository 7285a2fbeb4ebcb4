"""Runbooks of the alerts we ship, where alerts link to: the pages of docs/operations, as they are written."""

from __future__ import annotations

import re
from pathlib import Path

from interlock.core.desk.operators.roles import Permission
from interlock.core.kernel.errors import NotFound
from interlock.entrypoints.console.pages import Asked, Page, Reply, Shown

FOLDERS = ("alarms", "slo")
PACKED = Path(__file__).parent / "operations"
"""Where archives and images have them, which have no documentation beside the source."""
OPERATIONS = PACKED if PACKED.is_dir() else Path(__file__).parents[4] / "docs" / "operations"
_NAME = re.compile(r"[a-z0-9-]{1,60}")


def runbook_pages() -> list[Page]:
    async def runbook(asked: Asked) -> Reply:
        name = asked.params["name"]
        files = [OPERATIONS / folder / f"{name}.md" for folder in FOLDERS] if _NAME.fullmatch(name) else []
        file = next((one for one in files if one.is_file()), None)
        if file is None:
            raise NotFound("there is no such runbook here")
        return Shown("runbook.html", {"title": f"Runbook {name}", "blocks": blocks(file.read_text(encoding="utf-8"))})

    return [Page("GET", "/operations/{name}", runbook, Permission.SEE)]


def blocks(text: str) -> list[tuple[str, str]]:
    """Kind and text of each block of a page: heading, subheading, item, code or words. More of Markdown is not used there."""
    found: list[tuple[str, str]] = []
    for part in re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL):
        if part.startswith("```"):
            found.append(("code", part.partition("\n")[2].rpartition("\n")[0]))
            continue
        for block in re.split(r"\n\s*\n|\n(?=#|- |\d+\. )", part.strip()):
            kind, _, words = block.strip().partition(" ")
            named = {"#": "heading", "##": "subheading", "-": "item"}.get(kind)
            if named is None and re.fullmatch(r"\d+\.", kind):
                named = "item"
            if block.strip():
                found.append((named, words) if named else ("words", block.strip()))
    return found
