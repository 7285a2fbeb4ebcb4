"""The compose file: nothing of it is started here, but what it says fits together and is held down."""

from __future__ import annotations

import re

import pytest
import yaml
from typer.testing import CliRunner

from interlock.entrypoints.cli.main import app
from tests.containers.reading import CONTAINERS, PINNED, compose, health_check, settings_in

SERVICES = compose()["services"]
OURS = "platform"
OWN_HEALTH_CHECK = {"documents": "its image has no shell and brings a check of its own"}


def test_services_are_the_platform_and_what_it_may_stand_on() -> None:
    assert set(SERVICES) == {OURS, "prometheus", "kafka", "dynamodb", "documents"}
    without_asking = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert without_asking == {OURS, "prometheus"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_port_is_published_on_loopback_alone(name: str) -> None:
    ports = SERVICES[name]["ports"]
    assert ports
    assert [port for port in ports if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)] == []


def test_no_two_services_publish_the_same_port() -> None:
    published = [port.split(":")[1] for service in SERVICES.values() for port in service["ports"]]
    assert len(set(published)) == len(published)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_held_down(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "pids_limit", "restart"} <= set(service)
    assert not {"privileged", "network_mode", "pid", "devices", "cap_add"} & set(service)


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_named_exactly(name: str) -> None:
    assert name == OURS or PINNED.fullmatch(SERVICES[name]["image"])


@pytest.mark.parametrize("name", sorted(set(SERVICES) - set(OWN_HEALTH_CHECK)))
def test_every_service_says_whether_it_is_healthy(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


def test_exceptions_from_health_checks_are_still_needed() -> None:
    assert [name for name in OWN_HEALTH_CHECK if "healthcheck" in SERVICES[name]] == []


def test_platform_runs_read_only_is_asked_as_the_image_says_and_takes_its_settings() -> None:
    service = SERVICES[OURS]
    assert service["read_only"] is True
    assert service["healthcheck"]["test"][1:] == health_check()
    settings = settings_in(service["environment"])
    assert settings.base_url == "http://127.0.0.1:8080"
    assert service["volumes"] == ["data:/var/lib/interlock"]


def test_platform_is_started_by_a_command_there_is() -> None:
    assert CliRunner().invoke(app, [*SERVICES[OURS]["command"], "--help"]).exit_code == 0


def test_files_and_volumes_it_names_are_there() -> None:
    declared = set(compose()["volumes"])
    named = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())]
    assert {name for name in named if not name.startswith(".")} == declared
    assert [name for name in named if name.startswith(".") and not (CONTAINERS / name).is_file()] == []
    build = SERVICES[OURS]["build"]
    assert (CONTAINERS / build["context"] / build["dockerfile"]).samefile(CONTAINERS / "Dockerfile")


def test_prometheus_reads_metrics_where_a_service_shows_them() -> None:
    read = yaml.safe_load((CONTAINERS / "prometheus.yaml").read_text())
    targets = [
        target for job in read["scrape_configs"] for given in job["static_configs"] for target in given["targets"]
    ]
    assert targets == [f"{OURS}:8080"]
    assert set(SERVICES["prometheus"]["depends_on"]) == {OURS}


def test_kafka_is_reached_by_a_name_within_and_by_loopback_from_outside() -> None:
    said = SERVICES["kafka"]["environment"]
    assert said["KAFKA_ADVERTISED_LISTENERS"] == "NETWORK://kafka:19092,MACHINE://127.0.0.1:9092"
    listeners = {one.partition(":")[0] for one in said["KAFKA_LISTENERS"].split(",")}
    mapped = {one.partition(":")[0] for one in said["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")}
    assert listeners == mapped == {"NETWORK", "MACHINE", "CONTROLLER"}
    assert said["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
