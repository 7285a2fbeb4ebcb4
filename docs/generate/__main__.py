"""Write the generated documents, or with --check name those that are not current and exit with 1."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generate import pages

ROOT = Path(__file__).parent.parent.parent

DOCUMENTS: Mapping[str, Callable[[], str]] = {
    "openapi/interlock.json": pages.openapi,
    "docs/reference/http.md": pages.http,
    "docs/reference/errors.md": pages.errors,
    "docs/reference/events.md": pages.events,
    "docs/reference/states.md": pages.states,
    "docs/reference/settings.md": pages.settings,
    "docs/reference/telemetry.md": pages.telemetry,
}
"""Path -> what makes it. A new page is a function in `pages.py` and a line here."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="docs.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a document is stale")
    check = parser.parse_args().check
    faults = 0
    for name, make in DOCUMENTS.items():
        file = ROOT / name
        try:
            text = make()
        except Exception as error:
            faults += 1
            sys.stderr.write(f"{name}: cannot be made: {type(error).__name__}: {error}\n")
            continue
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            continue
        if check:
            faults += 1
            sys.stderr.write(f"{name}: stale; run `make docs`\n")
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{name}: written\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
