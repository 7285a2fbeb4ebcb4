"""Replays from the command line, on a folder that no platform runs on: asked for, and left to the worker."""

import json
import sqlite3
from contextlib import closing
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from interlock.bootstrap import DATABASE_FILE
from interlock.entrypoints.cli.main import app


@pytest.fixture
def run(tmp_path, monkeypatch):
    """On data with three dead letters."""
    for name in [name for name in __import__("os").environ if name.startswith("INTERLOCK_")]:
        monkeypatch.delenv(name)

    def command(*arguments: object, stdin: str = ""):
        result = CliRunner().invoke(app, [*map(str, arguments), "--data", str(tmp_path)], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return SimpleNamespace(status=result.exit_code, out=result.stdout, err=result.stderr)

    assert command("secrets", "set", "stripe", "secret_key", stdin="sk_test_1\n").status == 0
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as database:
        database.executemany(
            "INSERT INTO queue_dead_letters (queue, id, attempts, sent_at, died_at, body) VALUES (?,?,?,?,?,?)",
            [("webhooks", f"msg_{place}", 25, 10**12, 10**12 + place, b'{"n":%d}' % place) for place in range(3)],
        )
        database.commit()
    return command


LETTERS = ("desk", "replay", "new", "dead_letters", "--queue", "webhooks")


def test_without_a_reason_it_is_counted_and_nothing_is_asked_for(run):
    said = run(*LETTERS, "--rate", "1").out
    assert said.startswith("3 would be replayed, in 3 s at least. Each goes back into its queue")
    assert "msg_2" in said
    planned = json.loads(run(*LETTERS, "--text", '"n": 1', "--json").out)
    assert [one["id"] for one in planned["first"]] == ["msg_1"]
    assert json.loads(run(*LETTERS, "--from", "2001-09-09T01:46:40.002Z", "--json").out)["items"] == 1
    assert json.loads(run("desk", "replay", "list", "--json").out) == []


def test_replay_is_asked_for_paused_continued_and_stopped(run):
    made = json.loads(run(*LETTERS, "--reason", "the merchant is back", "--json").out)
    assert (made["stage"], made["items"], made["requested_by"]) == ("approved", 3, "cli")
    for verb, stage in (("pause", "paused"), ("continue", "approved"), ("stop", "stopped")):
        changed = run("desk", "replay", verb, made["id"])
        assert (changed.status, changed.out.splitlines()[0]) == (0, f"{made['id']}  dead_letters  {stage}")
    late = run("desk", "replay", "continue", made["id"])
    assert (late.status, late.err.strip()) == (1, "this replay is stopped already")
    assert "the merchant is back" in run("desk", "replay", "list").out
    assert json.loads(run("desk", "replay", "show", made["id"], "--json").out)["stage"] == "stopped"
    assert run("desk", "replay", "show", made["id"]).out.splitlines()[1].startswith("3 in all, 0 done")
    assert run("audit", "verify").status == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("new", "events", "--reason", "x"), "say who is told"),
        (("new", "dead_letters", "--queue", "nope"), "there is no such queue"),
        (("new", "webhooks", "--reason", "x"), "nothing fits that"),
        (("new", "webhooks", "--queue", "webhooks"), "webhooks are not chosen by queue"),
        (("new", "webhooks", "--payment", "pay_" + "0" * 26), "there is no payment"),
        (("show", "rpl_" + "0" * 26), "no such replay"),
        (("approve", "nonsense"), "no such replay"),
    ],
)
def test_what_cannot_be_replayed_is_status_1_with_the_reason(run, arguments, words):
    ended = run("desk", "replay", *arguments)
    assert ended.status == 1
    assert words in ended.err
    assert "Traceback" not in ended.err


def test_time_that_is_none_and_rate_beyond_the_limit_are_wrong_usage(run):
    assert run(*LETTERS, "--from", "yesterday").status == 2
    assert run(*LETTERS, "--rate", "201").status == 2
