"""Amazon SNS: what is signed, which addresses are believed, and alarms inside its messages."""

import json

import msgspec
import pytest

from interlock.core.desk.alerts.formats import parse
from interlock.core.desk.alerts.model import AlertFormat, AlertSeverity, SignalState, SourceProof
from interlock.core.desk.alerts.reading import decoded
from interlock.core.desk.alerts.sns import (
    check_message,
    is_certificate_url,
    is_subscribe_url,
    read_envelope,
    string_to_sign,
)
from interlock.core.kernel.clock import parse_rfc3339
from interlock.core.kernel.errors import Invalid, Unauthenticated
from tests.core.desk.alerts.world import CERTIFICATE_URL, SUBSCRIBE_URL, TOPIC, World

ALARM = {
    "AlarmName": "payments 5xx",
    "AlarmDescription": "See https://runbooks.example.com/5xx (and ask acme).",
    "AWSAccountId": "123456789012",
    "NewStateValue": "ALARM",
    "NewStateReason": "Threshold Crossed: 1 datapoint (10.0) was greater than the threshold (1.0).",
    "StateChangeTime": "2026-11-21T01:14:31.256+0000",
    "Region": "EU (Ireland)",
    "AlarmArn": "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:payments 5xx",
    "OldStateValue": "OK",
    "Trigger": {"MetricName": "5xx", "Namespace": "AWS/ApiGateway", "Dimensions": [{"name": "Stage", "value": "prod"}]},
}


@pytest.fixture
async def world() -> World:
    world = World()
    await world.source("aws", AlertFormat.CLOUDWATCH, SourceProof.SNS, topic=TOPIC)
    return world


def envelope(body):
    return read_envelope(decoded(msgspec.json.encode(body)))


def test_string_to_sign_of_a_notification_has_its_subject_only_if_there_is_one():
    body = World().sns_body("hello\nworld")
    text = string_to_sign(envelope(body)).decode()
    assert text == (
        f"Message\nhello\nworld\nMessageId\n{body['MessageId']}\nSubject\n{body['Subject']}\n"
        f"Timestamp\n{body['Timestamp']}\nTopicArn\n{TOPIC}\nType\nNotification\n"
    )
    del body["Subject"]
    assert "Subject" not in string_to_sign(envelope(body)).decode()


def test_string_to_sign_of_a_confirmation_has_url_and_token():
    body = World().sns_body("x", kind="SubscriptionConfirmation")
    text = string_to_sign(envelope(body)).decode()
    assert [*text.split("\n")[::2], ""][:-1] == [
        "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type", "",
    ]  # fmt: skip


@pytest.mark.parametrize("version", ["1", "2"])
async def test_signed_alarm_opens_an_alert(world, version):
    receipt = await world.send("aws", world.sns_body(json.dumps(ALARM), version=version))
    (alert,) = await world.alerts()
    assert receipt.result == "accepted"
    assert (alert.name, alert.severity, alert.runbook) == (
        "payments 5xx",
        AlertSeverity.ERROR,
        "https://runbooks.example.com/5xx",
    )
    assert alert.labels == {
        "alarm": "payments 5xx", "account": "123456789012", "region": "EU (Ireland)",
        "namespace": "AWS/ApiGateway", "metric": "5xx", "Stage": "prod",
    }  # fmt: skip
    assert alert.starts_at == parse_rfc3339("2026-11-21T01:14:31.256Z")
    assert alert.link == (
        "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#alarmsV2:alarm/payments%205xx"
    )


async def test_alarm_that_is_ok_again_resolves_the_alert(world):
    await world.send("aws", world.sns_body(json.dumps(ALARM)))
    await world.send("aws", world.sns_body(json.dumps(ALARM | {"NewStateValue": "OK"})))
    (alert,) = await world.alerts()
    assert alert.state == "resolved"


def test_insufficient_data_fires_as_a_warning_and_composite_alarms_have_no_trigger():
    composite = {name: value for name, value in ALARM.items() if name != "Trigger"} | {"AlarmRule": "ALARM(a)"}
    body = World().sns_body(json.dumps(composite | {"NewStateValue": "INSUFFICIENT_DATA"}))
    (found,) = parse(AlertFormat.CLOUDWATCH, msgspec.json.encode(body), source="aws")
    assert (found.state, found.severity) == (SignalState.FIRING, AlertSeverity.WARNING)
    assert set(found.labels) == {"alarm", "account", "region"}


@pytest.mark.parametrize(
    "changes",
    [
        {"Message": json.dumps(ALARM | {"NewStateValue": "OK"})},
        {"MessageId": "another"},
        {"Subject": "another"},
        {"Signature": "AAAA"},
        {"Signature": "not base64!"},
        {"SignatureVersion": "1"},
    ],
)
async def test_message_changed_after_signing_is_refused_and_leaves_no_trace(world, changes):
    before = world.items()
    with pytest.raises(Unauthenticated):
        await world.send("aws", world.sns_body(json.dumps(ALARM)) | changes)
    assert world.items() == before
    assert world.webhooks() == {("cloudwatch", "unauthenticated"): 1}


async def test_message_of_another_topic_is_refused_before_anything_is_fetched(world):
    body = world.sns_body("{}", TopicArn=TOPIC + "2")
    with pytest.raises(Unauthenticated) as caught:
        check_message(envelope(body), topic_arn=TOPIC, now=world.clock.now())
    assert caught.value.reason == "wrong_topic"


async def test_old_message_is_refused(world):
    body = world.sns_body(json.dumps(ALARM))
    world.clock.advance(86_401)
    with pytest.raises(Unauthenticated) as caught:
        await world.send("aws", body)
    assert caught.value.reason == "stale"


async def test_message_sent_twice_is_taken_once(world):
    body = world.sns_body(json.dumps(ALARM))
    results = [(await world.send("aws", body)).result for _ in range(3)]
    (alert,) = await world.alerts()
    assert results == ["accepted", "duplicate", "duplicate"]
    assert alert.count == 1
    assert world.webhooks() == {("cloudwatch", "accepted"): 1, ("cloudwatch", "duplicate"): 2}


async def test_message_sent_twice_at_once_is_taken_once(world):
    body, theirs = world.sns_body(json.dumps(ALARM)), []

    async def rival() -> None:
        theirs.append(await world.send("aws", body))

    world.store.before_commit = rival
    assert [(await world.send("aws", body)).result, theirs[0].result] == ["duplicate", "accepted"]
    assert [alert.count for alert in await world.alerts()] == [1]


async def test_subscription_is_confirmed_once(world):
    body = world.sns_body("You have chosen ...", kind="SubscriptionConfirmation")
    assert (await world.send("aws", body)).result == "confirmed"
    assert (await world.send("aws", body)).result == "duplicate"
    assert world.sns.confirmed == [SUBSCRIBE_URL]


async def test_ended_subscription_is_not_renewed_and_people_are_told(world):
    receipt = await world.send("aws", world.sns_body("bye", kind="UnsubscribeConfirmation"))
    assert receipt.result == "unsubscribed"
    assert world.sns.confirmed == []
    assert world.telemetry.alarms() == ["alert_source.unsubscribed"]


async def test_confirmation_that_leads_elsewhere_is_refused(world):
    body = world.sns_body(
        "x", kind="SubscriptionConfirmation", SubscribeURL="https://evil.example/?Action=ConfirmSubscription"
    )
    with pytest.raises(Unauthenticated) as caught:
        await world.send("aws", body)
    assert caught.value.reason == "bad_subscribe_url"
    assert world.sns.confirmed == []


async def test_notification_that_is_no_alarm_is_invalid_and_may_come_again(world):
    body = world.sns_body("hello")
    for _ in range(2):
        with pytest.raises(Invalid) as caught:
            await world.send("aws", body)
        assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [("/Message", "malformed_json")]
    with pytest.raises(Invalid) as caught:
        await world.send("aws", world.sns_body(json.dumps(ALARM | {"NewStateValue": "FINE"})))
    assert caught.value.faults[0].pointer == "/Message/NewStateValue"


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-0.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0.pem",
        "https://evil.example/sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
        "https://x@sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
        "https://sns.eu-west-1.amazonaws.com:444/SimpleNotificationService-0.pem",
        "https://sns.eu-west-1.amazonaws.com/../x/SimpleNotificationService-0.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem?x=1",
        "https://sns.eu-west-1.amazonaws.com\\@evil.example/SimpleNotificationService-0.pem",
        "https://bucket.s3.amazonaws.com/SimpleNotificationService-0.pem",
        "https://[",
        "",
    ],
)
def test_certificate_elsewhere_is_not_believed(url):
    assert is_certificate_url(url, TOPIC) is False


def test_certificate_and_subscription_at_the_topics_own_sns_are_believed():
    assert is_certificate_url(CERTIFICATE_URL, TOPIC)
    assert is_subscribe_url(SUBSCRIBE_URL, TOPIC)
    china = "arn:aws-cn:sns:cn-north-1:123456789012:alarms"
    assert is_certificate_url("https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-0.pem", china)


@pytest.mark.parametrize(
    "change",
    [
        ("ConfirmSubscription", "Unsubscribe"),
        ("alarms", "others"),
        ("Token=tok", "Token=tok&Token=two"),
        ("Token=tok", "Token=tok&AuthenticateOnUnsubscribe=true"),
        ("com/?", "com/path?"),
    ],
)
def test_subscription_that_does_something_else_is_not_believed(change):
    assert is_subscribe_url(SUBSCRIBE_URL.replace(*change), TOPIC) is False


@pytest.mark.parametrize("field", ["MessageId", "TopicArn", "Message", "Timestamp", "Signature", "SigningCertURL"])
def test_envelope_without_a_field_is_invalid_there(field):
    body = World().sns_body("x")
    del body[field]
    with pytest.raises(Invalid) as caught:
        envelope(body)
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [(f"/{field}", "required")]
