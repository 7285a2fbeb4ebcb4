"""How the documents on DocumentDB are broken on purpose, promise by promise."""

from __future__ import annotations

from tests.contracts.breakages import Breakage

CONTRACT = "test_documents.py::test_"
BAD_DAYS = "backends/mongo/test_bad_days.py::test_"
ROWS = "backends/mongo/test_rows.py::test_"
CONNECTING = "backends/mongo/test_connecting.py::test_"
SERVER = "backends/mongo/test_documents.py::test_"


def documents(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"mongo documents: {name}", "backends/mongo/documents.py", old, new, test, _only(test))


def rows(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"mongo rows: {name}", "backends/mongo/rows.py", old, new, test, _only(test))


def calls(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"mongo calls: {name}", "backends/mongo/calls.py", old, new, test, _only(test))


def _only(test: str) -> str:
    return "mongo" if test.startswith(CONTRACT) else ""


BREAKAGES = (
    # -- a higher version replaces
    documents(
        "the last writer wins",
        '{"_id": row["_id"], "v": {"$lt": document.version}}',
        '{"_id": row["_id"]}',
        f"{CONTRACT}same_or_lower_version_changes_nothing",
    ),
    documents(
        "the same version is written again",
        '"v": {"$lt": document.version}',
        '"v": {"$lte": document.version}',
        f"{CONTRACT}same_or_lower_version_changes_nothing",
    ),
    documents(
        "a newer one that is there is taken for a fault",
        '        if error.details.get("writeConcernErrors") or codes_of(error) != {DUPLICATE_KEY}:\n            raise\n',
        "        raise\n",
        f"{CONTRACT}stale_document_in_a_batch_does_not_keep_the_others_out",
    ),
    documents(
        "a batch stops at the first newer one",
        "await rows.bulk_write([_replacing(one, upsert=True) for one in documents], ordered=False)",
        "await rows.bulk_write([_replacing(one, upsert=True) for one in documents], ordered=True)",
        f"{CONTRACT}stale_document_in_a_batch_does_not_keep_the_others_out",
    ),
    documents(
        "who met an older one in between gives up",
        "        await rows.bulk_write([_replacing(one, upsert=False) for one in met], ordered=False)",
        "        del met",
        f"{BAD_DAYS}documents_that_met_another_are_asked_about_once_more_and_never_inserted",
    ),
    documents(
        "who met another tries to insert for ever",
        "_replacing(one, upsert=False)",
        "_replacing(one, upsert=True)",
        f"{BAD_DAYS}documents_that_met_another_are_asked_about_once_more_and_never_inserted",
    ),
    documents(
        "other faults pass for newer ones",
        'if error.details.get("writeConcernErrors") or codes_of(error) != {DUPLICATE_KEY}:',
        "if DUPLICATE_KEY not in codes_of(error):",
        f"{BAD_DAYS}write_that_others_than_duplicates_spoilt_is_not_taken_for_done",
    ),
    rows(
        "of one batch the last of an id wins",
        "if standing is None or standing.version < one.version:",
        "if True:",
        f"{CONTRACT}one_batch_may_name_a_document_twice",
    ),
    documents(
        "only the first batch is written",
        "for start in range(0, len(wanted), AT_ONCE):",
        "for start in range(0, min(len(wanted), AT_ONCE), AT_ONCE):",
        f"{SERVER}more_documents_than_one_write_takes_are_all_written",
    ),
    # -- what is declared, and whose it is
    documents(
        "undeclared fields are taken",
        "            if field not in self._fields[collection] and field not in self._counted[collection]:\n                raise",
        "            if False:\n                raise",
        f"{CONTRACT}upsert_with_an_undeclared_field_is_a_key_error_and_writes_none_of_the_batch",
    ),
    documents(
        "undeclared collections are taken",
        "        if collection not in self._fields:\n            raise KeyError(collection)\n",
        "",
        f"{CONTRACT}undeclared_collection_is_a_key_error_everywhere",
    ),
    rows(
        "tenants share their ids",
        'return f"{len(tenant)}:{tenant}{document_id}"',
        "return document_id",
        f"{CONTRACT}tenant_cannot_replace_a_document_of_another",
    ),
    rows(
        "a tenant's name runs into its ids",
        'return f"{len(tenant)}:{tenant}{document_id}"',
        'return f"{tenant}{document_id}"',
        f"{ROWS}tenants_whose_names_run_into_their_ids_stay_apart",
    ),
    rows(
        "another tenant's documents are found",
        'return {"t": tenant, "i": ids, **',
        'return {"t": {"$gte": ""}, "i": ids, **',
        f"{CONTRACT}document_of_another_tenant_is_none_and_not_found",
    ),
    # -- values
    rows(
        "true is 1",
        'return f"b{int(value)}"',
        'return f"i{int(value)}"',
        f"{ROWS}each_kind_of_value_is_another_text_and_comes_back_as_it_was",
    ),
    rows(
        "numbers equal their text",
        'return f"i{value}" if isinstance(value, int) else f"s{value}"',
        'return f"s{value}"',
        f"{CONTRACT}numbers_and_text_are_not_equal",
    ),
    # -- find
    documents(
        "before gives the newest instead of the next",
        "order = DESCENDING if before is None else ASCENDING",
        "order = DESCENDING",
        f"{CONTRACT}pages_forth_and_back_show_every_document_once",
    ),
    documents(
        "pages back are oldest first",
        "return found if before is None else found[::-1]",
        "return found",
        f"{CONTRACT}pages_forth_and_back_show_every_document_once",
    ),
    rows(
        "before leaves out id_from",
        "lowest_is_seen = before is not None and before >= id_from",
        "lowest_is_seen = before is not None",
        f"{CONTRACT}id_from_also_limits_the_page_before_an_id",
    ),
    rows(
        "the document named by before is shown again",
        'yield ("$gt", before or "") if lowest_is_seen',
        'yield ("$gte", before or "") if lowest_is_seen',
        f"{CONTRACT}documents_between_two_ids",
    ),
    rows(
        "the document named by after is shown again",
        'yield "$lt", after',
        'yield "$lte", after',
        f"{CONTRACT}documents_between_two_ids",
    ),
    rows(
        "id_from itself is left out",
        'else ("$gte", id_from)',
        'else ("$gt", id_from)',
        f"{CONTRACT}id_from_is_the_lowest_id_found",
    ),
    rows(
        "only the first field must be equal",
        "for field, value in where.items()}}",
        "for field, value in list(where.items())[:1]}}",
        f"{CONTRACT}several_fields_must_all_be_equal",
    ),
    documents(
        "a limit of nothing is no limit",
        "if limit < 1:",
        "if limit < -1:",
        f"{SERVER}limit_of_nothing_finds_nothing",
    ),
    # -- bounds and indexes
    rows(
        "bodies may be of any length",
        "if len(document.body) > BODY_BYTES_MAX:",
        "if False:",
        f"{ROWS}document_that_cannot_be_kept_is_invalid_before_anything_is_sent",
    ),
    rows(
        "text is measured in characters",
        "length = len(text.encode())",
        "length = len(text.encode() and text)",
        f"{ROWS}document_that_cannot_be_kept_is_invalid_before_anything_is_sent",
    ),
    rows(
        "values are longer than an index takes",
        "VALUE_BYTES_MAX = 1_024",
        "VALUE_BYTES_MAX = 1_200",
        f"{ROWS}longest_ids_and_values_fit_the_key_of_an_index_and_the_longest_document_fits",
    ),
    rows(
        "any name is taken",
        "if NAME.fullmatch(name) is None:",
        "if NAME.match(name) is None:",
        f"{ROWS}name_that_cannot_be_a_key_or_an_index_is_refused_when_it_is_declared",
    ),
    rows(
        "fields have no index",
        "return [by_id, *by_field]",
        "return [by_id]",
        f"{SERVER}processes_that_start_together_make_the_indexes_once",
    ),
    rows(
        "ids are oldest first in an index",
        'ASCENDING), ("i", DESCENDING)], name=f"by_{field}")',
        'ASCENDING), ("i", ASCENDING)], name=f"by_{field}")',
        f"{ROWS}indexes_are_one_for_ids_and_one_for_each_field_behind_the_tenant_newest_first",
    ),
    # -- connecting
    calls(
        "one server's word is enough",
        '"w": "majority",\n',
        "",
        f"{CONNECTING}connection_string_cannot_weaken_what_a_write_promises_or_how_long_it_takes",
    ),
    calls(
        "retryable writes are asked for",
        '"retryWrites": False,\n',
        "",
        f"{CONNECTING}connection_string_cannot_weaken_what_a_write_promises_or_how_long_it_takes",
    ),
    calls(
        "reads go to replicas if the connection string says so",
        '"readPreference": "primary",\n',
        "",
        f"{CONNECTING}connection_string_cannot_weaken_what_a_write_promises_or_how_long_it_takes",
    ),
    calls(
        "any certificate is taken if the connection string says so",
        ', "tlsAllowInvalidCertificates": False}',
        "}",
        f"{CONNECTING}certificate_is_checked_whatever_the_connection_string_says",
    ),
    calls(
        "options that are not understood are left out",
        'warnings.simplefilter("error", UserWarning)',
        'warnings.simplefilter("ignore", UserWarning)',
        f"{CONNECTING}connection_string_that_is_not_understood_is_refused_and_not_shown",
    ),
    calls(
        "the driver's words on a bad connection string are shown",
        '            " user and password percent-encoded"\n        ) from None',
        '            f" user and password percent-encoded {uri.reveal()}"\n        ) from error',
        f"{CONNECTING}connection_string_that_is_not_understood_is_refused_and_not_shown",
    ),
    # -- bad days
    calls(
        "nothing is tried again",
        "if not is_in_passing(error):",
        "if True:",
        f"{SERVER}connections_that_broke_are_made_again_and_nobody_notices",
    ),
    calls(
        "a server that was not found is waited for again and again",
        "    if isinstance(error, ServerSelectionTimeoutError):\n        return False\n",
        "",
        f"{BAD_DAYS}what_another_try_would_not_mend_is_told_at_once_with_what_to_do",
    ),
    calls(
        "tries have no end",
        "if self._clock.monotonic() + pause_s >= until:",
        "if tries > 100:",
        f"{BAD_DAYS}what_fails_for_longer_than_the_budget_is_unavailable",
    ),
    calls(
        "a write that nobody else confirmed is given up",
        'return bool(error.details.get("writeConcernErrors")) or bool(',
        "return bool(",
        f"{BAD_DAYS}what_failed_in_passing_is_tried_again_and_then_done",
    ),
    calls(
        "the driver's error is shown behind ours",
        "if not is_in_passing(error):\n                    raise _meaning(error) from None",
        "if not is_in_passing(error):\n                    raise _meaning(error) from error",
        f"{BAD_DAYS}no_word_of_the_driver_comes_through",
    ),
    calls(
        "what cannot be encoded comes through as the driver's own",
        "except (BSONError, OverflowError, UnicodeError) as error:",
        "except (OverflowError, UnicodeError) as error:",
        f"{BAD_DAYS}what_can_never_be_kept_is_invalid_and_not_tried_again",
    ),
)
