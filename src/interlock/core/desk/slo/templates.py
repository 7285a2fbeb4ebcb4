"""A file of objectives for this installation, made of one whose documents say for what they are repeated."""

from __future__ import annotations

import re
from collections.abc import Sequence

EACH_PROVIDER = "interlock.example/each-provider"
EACH_CURRENCY = "interlock.example/each-currency"


def written_for(template: str, *, providers: Sequence[str], currencies: Sequence[str]) -> str:
    """`template` with its repeated documents written out, in the order given; none at all where there is nothing to repeat for.

    The annotation's value is replaced wherever it stands as a word, and in small letters its small form (names have no capitals;
    an underscore becomes a hyphen there). The result is a file like any other: read it before it is kept.
    """
    documents = re.split(r"^---[ \t]*\n", template, flags=re.MULTILINE)
    made: list[str] = []
    for document in documents:
        for annotation, values in ((EACH_PROVIDER, providers), (EACH_CURRENCY, currencies)):
            stated = re.search(rf"^ *{re.escape(annotation)}: *(\S+) *$", document, re.MULTILINE)
            if stated is not None:
                made.extend(_replaced(document.replace(stated[0] + "\n", ""), stated[1], value) for value in values)
                break
        else:
            made.append(document)
    return "---\n".join(made)


def _replaced(document: str, word: str, value: str) -> str:
    lines = []
    for line in document.splitlines(keepends=True):
        is_name = re.match(r" *name: ", line) is not None
        written = value.lower().replace("_", "-") if is_name else value
        lines.append(re.sub(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", written, line, flags=re.IGNORECASE))
    # An annotations line with nothing left below it would be a table without fields.
    return re.sub(r"^ *annotations:\n(?=spec:)", "", "".join(lines), flags=re.MULTILINE)
