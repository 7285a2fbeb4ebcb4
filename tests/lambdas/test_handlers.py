"""Each function's handler, given the event its trigger makes: what it asks for, and what it answers."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from interlock.core.kernel.events import decode_event
from interlock.entrypoints.functions import Function, NotDone
from interlock.entrypoints.steps import STEPS
from tests.telemetry import RecordingTelemetry

ROOT = Path(__file__).parents[2]
FUNCTIONS = ROOT / "src/lambdas"
EVENTS = Path(__file__).parent / "events"
NAMES = sorted(path.parent.name for path in FUNCTIONS.glob("*/handler.py"))
PAYMENT = "pay_01m8d8rd9cd82x90y4tgfmr7qr"
CONTEXT = SimpleNamespace(function_name="f", aws_request_id="r", get_remaining_time_in_millis=lambda: 1_000)
LINES_MAX = 30


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(ROOT))  # so that batches run in the function's own loop
    loaded: list[Function] = []

    def load(name: str) -> Any:
        spec = importlib.util.spec_from_file_location(f"handler_{name}", FUNCTIONS / name / "handler.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        loaded.append(module.function)
        return module

    yield load
    for function in loaded:
        function.close()


def recorded(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text())


class Noting:
    """Notes what it was asked for, in order."""

    def __init__(self, **answers: Any) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._answers = answers

    def on(self, function: Function, monkeypatch: pytest.MonkeyPatch, *names: str) -> Noting:
        for name in names:
            monkeypatch.setattr(function, name, self._method(name))
        return self

    def _method(self, name: str) -> Any:
        def method(*given: Any, **named: Any) -> Any:
            self.asked.append((name, *given, *named.values()))
            answer = self._answers.get(name)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return method


@pytest.mark.parametrize("name", NAMES)
def test_handler_is_short_and_reads_no_environment(name: str):
    text = (FUNCTIONS / name / "handler.py").read_text()
    assert len(text.splitlines()) <= LINES_MAX
    assert ast.get_docstring(ast.parse(text))
    assert "environ" not in text


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_opened_by_importing_a_handler(name: str, handler: Any):
    assert handler(name).function._platform is None


def test_every_step_of_the_workflows_has_a_function_and_every_function_of_a_step_a_step():
    assert {name.removeprefix("step_") for name in NAMES if name.startswith("step_")} == set(STEPS)


def test_relay_publishes_each_event_once_in_order_puts_aside_what_it_cannot_read_and_then_reminds(
    handler: Any, monkeypatch: pytest.MonkeyPatch
):
    module, event = handler("relay_feed"), recorded("dynamodb_stream")
    noting = Noting().on(module.function, monkeypatch, "publish", "put_aside", "remind")
    module.handle(event, CONTEXT)
    aside, published, reminded = noting.asked
    assert (aside[0], aside[1], list(aside[2])) == ("put_aside", "feed", [f"{4:032x}.json"])
    assert [(one.aggregate, one.version) for one in published[1]] == [(PAYMENT, 1), (PAYMENT, 2)]
    assert reminded == ("remind", event["Records"])


def test_relay_that_cannot_publish_fails_so_that_its_records_come_again(handler: Any, monkeypatch: pytest.MonkeyPatch):
    module = handler("relay_feed")
    noting = Noting(publish=RuntimeError("the bus is away")).on(
        module.function, monkeypatch, "publish", "put_aside", "remind"
    )
    with pytest.raises(RuntimeError):
        module.handle(recorded("dynamodb_stream"), CONTEXT)
    assert [one[0] for one in noting.asked] == ["put_aside", "publish"]


def test_events_from_kafka_are_followed_with_their_places_and_ids(handler: Any, monkeypatch: pytest.MonkeyPatch):
    module = handler("on_payment_event")
    noting = Noting().on(module.function, monkeypatch, "follow")
    module.handle(recorded("kafka"), CONTEXT)
    ((_, records),) = noting.asked
    assert [(one.partition, one.offset, one.message.key) for one in records] == [(3, 15, PAYMENT), (3, 16, PAYMENT)]
    assert [one.message.id for one in records] == ["evt_01m8d8rd9cd82x90y4tgfmr7qa", "evt_01m8d8rd9cd82x90y4tgfmr7qb"]
    assert records[0].message.headers == {}, "those of CloudEvents are the bus's own"


def test_events_from_kafka_are_shared_and_what_is_too_large_for_that_is_put_aside(
    handler: Any, monkeypatch: pytest.MonkeyPatch
):
    module, shared = handler("share_events"), []

    class Sharing:
        async def put(self, events: Any) -> Any:
            shared.extend(events)
            return events[1:]

    async def platform() -> Any:
        return SimpleNamespace(storage=SimpleNamespace(sharing=Sharing(), telemetry=RecordingTelemetry()))

    monkeypatch.setattr(module.function, "platform", platform)
    noting = Noting().on(module.function, monkeypatch, "put_aside")
    module.handle(recorded("kafka"), CONTEXT)
    assert [one.id for one in shared] == ["evt_01m8d8rd9cd82x90y4tgfmr7qa", "evt_01m8d8rd9cd82x90y4tgfmr7qb"]
    ((_, what, aside),) = noting.asked
    assert (what, list(aside)) == ("sharing", ["evt_01m8d8rd9cd82x90y4tgfmr7qb.json"])
    assert decode_event(aside["evt_01m8d8rd9cd82x90y4tgfmr7qb.json"]) == shared[1]


@pytest.mark.parametrize(("name", "verb"), [("deliver_webhook", "deliver"), ("take_notification", "take_notification")])
def test_message_that_is_not_done_is_the_only_one_reported(
    name: str, verb: str, handler: Any, monkeypatch: pytest.MonkeyPatch
):
    module, event = handler(name), recorded("sqs")
    seen = []

    async def take(record: Any) -> None:
        seen.append(record["body"])
        if record["body"] == '{"n":2}':
            raise NotDone("later")

    monkeypatch.setattr(module.function, verb, take)
    answer = module.handle(event, CONTEXT)
    assert answer == {"batchItemFailures": [{"itemIdentifier": event["Records"][1]["messageId"]}]}
    assert seen == ['{"n":1}', '{"n":2}']


def test_batch_of_which_nothing_is_done_is_reported_whole_and_is_no_failure_of_the_function(
    handler: Any, monkeypatch: pytest.MonkeyPatch
):
    module = handler("deliver_webhook")

    async def take(record: Any) -> None:
        raise NotDone("later")

    monkeypatch.setattr(module.function, "deliver", take)
    assert len(module.handle(recorded("sqs"), CONTEXT)["batchItemFailures"]) == 2


def test_sweep_sweeps_by_the_minute_and_wakes_what_a_schedule_names(handler: Any, monkeypatch: pytest.MonkeyPatch):
    module = handler("sweep")
    noting = Noting(sweep=3, wake=True).on(module.function, monkeypatch, "sweep", "wake")
    assert module.handle(recorded("schedule"), CONTEXT) == {"swept": 3}
    assert module.handle(recorded("parked"), CONTEXT) == {"woken": True}
    assert noting.asked == [("sweep", module.SECONDS), ("wake", recorded("parked"))]


def test_desk_is_tended_by_the_minute(handler: Any, monkeypatch: pytest.MonkeyPatch):
    module = handler("tend_desk")
    noting = Noting(tend_desk=2).on(module.function, monkeypatch, "tend_desk")
    assert module.handle(recorded("schedule"), CONTEXT) == {"repaired": 2}
    assert noting.asked == [("tend_desk", module.SECONDS)]


@pytest.mark.parametrize("caller", [{"client": "cli_1", "tenant": "ten_1", "scope": "payments:read"}, None])
def test_authoriser_says_who_calls_or_that_it_is_nobody(caller: Any, handler: Any, monkeypatch: pytest.MonkeyPatch):
    module = handler("authorizer")
    noting = Noting(caller=caller).on(module.function, monkeypatch, "caller")
    answer = module.handle(recorded("authorizer"), CONTEXT)
    assert answer == {"isAuthorized": caller is not None, "context": caller or {}}
    assert noting.asked == [("caller", "Bearer token")]


@pytest.mark.parametrize("step", sorted(STEPS))
def test_step_hands_its_input_on_and_its_answer_back(step: str, handler: Any, monkeypatch: pytest.MonkeyPatch):
    module = handler(f"step_{step}")
    noting = Noting(step={"done": True}).on(module.function, monkeypatch, "step")
    assert module.handle({"execution": "e1"}, CONTEXT) == {"done": True}
    assert noting.asked == [("step", step, {"execution": "e1"})]


@pytest.mark.parametrize(
    ("name", "path"), [(name, "/v1/payments") for name in ("http_api", "http_notifications", "http_desk")]
)
def test_request_from_api_gateway_reaches_the_application_as_it_was_sent(
    name: str, path: str, handler: Any, monkeypatch: pytest.MonkeyPatch
):
    module, seen = handler(name), {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(
            method=scope["method"], path=scope["path"], query=scope["query_string"], body=(await receive())["body"]
        )
        seen["headers"] = dict(scope["headers"])
        await send({"type": "http.response.start", "status": 201, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b'{"id":"pay_1"}'})

    monkeypatch.setattr(module.handle, "app", app)
    answer = module.handle(recorded("http_api"), CONTEXT)
    assert (answer["statusCode"], answer["body"], answer["isBase64Encoded"]) == (201, '{"id":"pay_1"}', False)
    assert (seen["method"], seen["path"], seen["query"], seen["body"]) == ("POST", path, b"a=1&b=2", b'{"a":1}')
    assert seen["headers"][b"idempotency-key"] == b"k1"


def test_settings_of_a_function_are_its_environment():
    assert Function()._environment is os.environ
