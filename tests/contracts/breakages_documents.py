"""How the Documents adapters are broken on purpose, promise by promise."""

from __future__ import annotations

from tests.contracts.breakages import Breakage

DOCUMENTS = "test_documents.py::test_"


def sqlite(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"sqlite documents: {name}", "backends/sqlite/documents.py", old, new, test, "sqlite")


def memory(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"memory documents: {name}", "backends/memory/documents.py", old, new, test, "memory")


BREAKAGES = (
    # -- SQLite
    sqlite(
        "the last writer wins",
        '" WHERE excluded.version > standing.version"',
        '""',
        f"{DOCUMENTS}same_or_lower_version_changes_nothing",
    ),
    sqlite(
        "the same version is written again",
        "excluded.version > standing.version",
        "excluded.version >= standing.version",
        f"{DOCUMENTS}same_or_lower_version_changes_nothing",
    ),
    sqlite(
        "fields are not replaced",
        '" version = excluded.version, fields = excluded.fields, body = excluded.body"',
        '" version = excluded.version, body = excluded.body"',
        f"{DOCUMENTS}higher_version_replaces_body_fields_and_version",
    ),
    sqlite(
        "another tenant's document is shown",
        '_select(self._checked(collection), "tenant = ? AND id = ?")',
        "_select(self._checked(collection), \"? <> '' AND id = ?\")",
        f"{DOCUMENTS}document_of_another_tenant_is_none_and_not_found",
    ),
    sqlite(
        "another tenant's documents are found",
        'conditions = ["tenant = ?"]',
        "conditions = [\"? <> ''\"]",
        f"{DOCUMENTS}document_of_another_tenant_is_none_and_not_found",
    ),
    sqlite(
        "tenants share their ids",
        "UNIQUE INDEX IF NOT EXISTS {table}_id ON {table} (tenant, id)",
        "UNIQUE INDEX IF NOT EXISTS {table}_id ON {table} (id)",
        f"{DOCUMENTS}tenant_cannot_replace_a_document_of_another",
    ),
    sqlite(
        "undeclared fields are taken",
        "            if field not in declared:\n                raise",
        "            if False:\n                raise",
        f"{DOCUMENTS}upsert_with_an_undeclared_field_is_a_key_error_and_writes_none_of_the_batch",
    ),
    sqlite(
        "undeclared collections are taken when there is nothing to write",
        "            self._check_declared(collection, document.fields)\n        statement",
        "            self._check_declared(collection, document.fields)\n        if not documents:\n            return\n"
        "        statement",
        f"{DOCUMENTS}undeclared_collection_is_a_key_error_everywhere",
    ),
    sqlite(
        "only the first field must be equal",
        "for field in where]",
        "for field in where][:1] + ['? IS NOT NULL' for _ in list(where)[1:]]",
        f"{DOCUMENTS}several_fields_must_all_be_equal",
    ),
    sqlite(
        "numbers equal their text",
        'return f"json_extract(fields, {_path_of(field)})"',
        'return f"CAST(json_extract(fields, {_path_of(field)}) AS TEXT)"',
        f"{DOCUMENTS}numbers_and_text_are_not_equal",
    ),
    sqlite(
        "id_from is left out",
        'else "id >= ?")',
        'else "? IS NOT NULL")',
        f"{DOCUMENTS}id_from_is_the_lowest_id_found",
    ),
    sqlite(
        "before leaves out id_from",
        "values.append(id_from if before is None else max(before, id_from))",
        "values.append(id_from if before is None else before)",
        f"{DOCUMENTS}id_from_also_limits_the_page_before_an_id",
    ),
    sqlite(
        "the document named by after is shown again",
        'conditions.append("id < ?")',
        'conditions.append("id <= ?")',
        f"{DOCUMENTS}pages_forth_and_back_show_every_document_once",
    ),
    sqlite(
        "before gives the newest instead of the next",
        'order = "ASC" if before is not None else "DESC"',
        'order = "DESC"',
        f"{DOCUMENTS}pages_forth_and_back_show_every_document_once",
    ),
    sqlite(
        "pages back are oldest first",
        "return found[::-1] if before is not None else found",
        "return found",
        f"{DOCUMENTS}pages_forth_and_back_show_every_document_once",
    ),
    # -- memory
    memory(
        "the last writer wins",
        "elif standing.version >= document.version:",
        "elif standing.version < 0:",
        f"{DOCUMENTS}same_or_lower_version_changes_nothing",
    ),
    memory(
        "the caller's fields are kept, not a copy",
        "document._replace(fields=dict(document.fields))",
        "document",
        f"{DOCUMENTS}changing_the_fields_given_afterwards_changes_nothing",
    ),
    memory(
        "part of a batch is written before its fault is seen",
        "        for document in documents:\n            self._check_declared(collection, document.fields)\n"
        "        for document in documents:\n",
        "        for document in documents:\n            self._check_declared(collection, document.fields)\n",
        f"{DOCUMENTS}upsert_with_an_undeclared_field_is_a_key_error_and_writes_none_of_the_batch",
    ),
    memory(
        "documents are in the order they came",
        "insort(tenant.ids, document.id)",
        "tenant.ids.append(document.id)",
        f"{DOCUMENTS}find_is_newest_first_whatever_the_order_of_upserts",
    ),
    memory(
        "one equal field is enough",
        "if all(document.fields",
        "if not where or any(document.fields",
        f"{DOCUMENTS}several_fields_must_all_be_equal",
    ),
    memory(
        "before gives the newest instead of the next",
        "range(start, end) if before is not None else range(end - 1, start - 1, -1)",
        "range(end - 1, start - 1, -1)",
        f"{DOCUMENTS}pages_forth_and_back_show_every_document_once",
    ),
    memory(
        "before leaves out id_from",
        "start = max(start, bisect_right(kept.ids, before))",
        "start = bisect_right(kept.ids, before)",
        f"{DOCUMENTS}id_from_also_limits_the_page_before_an_id",
    ),
)
