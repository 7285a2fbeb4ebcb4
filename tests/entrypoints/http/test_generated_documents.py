"""Documents made from the source, and the API they describe."""

from __future__ import annotations

import sys

import pytest
from openapi_spec_validator import validate

from docs.generate import __main__ as generate
from docs.generate.source import fault_codes, notes, raised_codes
from interlock import config
from interlock.entrypoints.http.api import described_routes
from interlock.entrypoints.http.openapi import TAGS, loose_patterns, openapi_document


def test_no_pattern_of_a_request_lets_a_final_newline_through():
    assert loose_patterns(described_routes()) == []


def test_document_of_the_real_api_is_valid():
    validate(openapi_document(described_routes()))


def test_every_tag_is_explained():
    assert {tag for route in described_routes() for tag in route.tags} <= set(TAGS)


def test_every_route_that_moves_money_needs_an_idempotency_key():
    needing = {route.operation_id for route in described_routes() if route.idempotent}
    assert needing >= {"createPayment", "confirmPayment", "capturePayment", "cancelPayment", "refundPayment"}


@pytest.fixture
def documents(monkeypatch, tmp_path):
    texts = {"a.md": "first\n", "deep/b.md": "second\n"}
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "DOCUMENTS", {name: lambda name=name: texts[name] for name in texts})
    return texts


def _run(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["docs.generate", *arguments])
    return generate.main()


def test_written_documents_are_current(monkeypatch, documents, tmp_path):
    assert _run(monkeypatch) == 0
    assert (tmp_path / "deep/b.md").read_text() == "second\n"
    assert _run(monkeypatch, "--check") == 0


def test_check_names_what_is_stale_missing_or_cannot_be_made_and_changes_nothing(
    monkeypatch, documents, tmp_path, capsys
):
    assert _run(monkeypatch, "--check") == 1
    assert not (tmp_path / "a.md").exists()
    _run(monkeypatch)
    documents["a.md"] = "changed\n"
    del documents["deep/b.md"]
    capsys.readouterr()
    assert _run(monkeypatch, "--check") == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said] == ["a.md", "deep/b.md"]
    assert (tmp_path / "a.md").read_text() == "first\n"


def test_every_setting_is_explained():
    assert set(notes(config, "Settings")) == set(config.FIELDS)


def test_codes_are_found_where_they_are_given():
    assert "insufficient_scope" in raised_codes(frozenset({"Forbidden"}))["Forbidden"]
    assert {"required", "invalid_utf8", "unknown_field"} <= fault_codes()
