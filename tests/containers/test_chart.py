"""The chart, as helm renders it and Kubernetes' own schemas read it. No cluster is at hand."""

from __future__ import annotations

import json
import subprocess
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from interlock.config import SettingsError
from interlock.entrypoints.cli.main import app
from interlock.entrypoints.http.health import READY_TIMEOUT_S, health_routes
from interlock.entrypoints.worker import DRAIN_S
from tests.containers.reading import (
    CHART,
    EXAMPLE,
    KUBERNETES_VERSIONS,
    helm,
    of_kind,
    render,
    rendered,
    selects,
    settings_in,
)
from tests.counterparts.paths import require

ROLES = {"pay-interlock-api": 8080, "pay-interlock-worker": 8081}
Manifests = list[dict[str, Any]]


@pytest.fixture(scope="module")
def manifests() -> Manifests:
    return rendered()


def pods(manifests: Manifests) -> dict[str, dict[str, Any]]:
    return {name: one["spec"]["template"] for name, one in of_kind(manifests, "Deployment").items()}


# -- as others see it ---------------------------------------------------------------------------------------------------


def test_helm_finds_nothing_to_warn_of() -> None:
    done = helm("lint", str(CHART), "--strict", "--values", str(EXAMPLE))
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("more", [(), ("api.autoscaling.enabled=false", "worker.autoscaling.enabled=false")])
def test_kubernetes_knows_every_field(version: str, more: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "rendered.yaml"
    file.write_text(yaml.safe_dump_all(rendered(EXAMPLE, *more)))
    command = [str(require("kubernetes")), "-k", version, "--strict", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_one_of_each_that_is_needed(manifests: Manifests) -> None:
    found = sorted((one["kind"], one["metadata"]["name"].removeprefix("pay-interlock")) for one in manifests)
    assert found == [
        ("ConfigMap", "-settings"),
        ("Deployment", "-api"),
        ("Deployment", "-worker"),
        ("HorizontalPodAutoscaler", "-api"),
        ("HorizontalPodAutoscaler", "-worker"),
        ("NetworkPolicy", "-api"),
        ("NetworkPolicy", "-metrics"),
        ("NetworkPolicy", "-nothing"),
        ("NetworkPolicy", "-out"),
        ("PodDisruptionBudget", "-api"),
        ("PodDisruptionBudget", "-worker"),
        ("Service", "-api"),
        ("ServiceAccount", ""),
    ]
    assert {one["metadata"]["namespace"] for one in manifests} == {"payments"}


# -- pods ---------------------------------------------------------------------------------------------------------------


def test_pods_keep_to_the_restricted_standard(manifests: Manifests) -> None:
    """Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/ (checked 2026-11-27)."""
    for pod in pods(manifests).values():
        spec, (container,) = pod["spec"], pod["spec"]["containers"]
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert {next(iter(set(volume) - {"name"})) for volume in spec["volumes"]} == {"emptyDir", "configMap"}
        assert spec["automountServiceAccountToken"] is False


def test_names_of_services_do_not_become_settings(manifests: Manifests) -> None:
    """A service called interlock would put INTERLOCK_PORT=tcp://... into the environment, and no pod would start."""
    with pytest.raises(SettingsError):
        settings_in({"INTERLOCK_PORT": "tcp://10.96.0.12:80"})
    assert [pod["spec"]["enableServiceLinks"] for pod in pods(manifests).values()] == [False, False]


def test_probes_ask_what_the_platform_answers(manifests: Manifests) -> None:
    answered = {route.path for route in health_routes(None, bytes, bytes)}  # type: ignore[arg-type]
    for name, pod in pods(manifests).items():
        (container,) = pod["spec"]["containers"]
        asked = {kind: container[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
        assert {kind: one["path"] for kind, one in asked.items()} == {
            "startupProbe": "/healthz",
            "livenessProbe": "/healthz",
            "readinessProbe": "/readyz",
        }
        assert {one["path"] for one in asked.values()} <= answered
        assert {one["port"] for one in asked.values()} == {"http"}
        assert container["readinessProbe"]["timeoutSeconds"] > READY_TIMEOUT_S
        assert container["ports"] == [{"name": "http", "containerPort": ROLES[name], "protocol": "TCP"}]


def test_pods_run_commands_there_are_at_the_ports_that_are_probed(manifests: Manifests) -> None:
    for name, pod in pods(manifests).items():
        (container,) = pod["spec"]["containers"]
        assert CliRunner().invoke(app, [*container["args"], "--help"]).exit_code == 0
        assert container["args"][-2:] == ["--port", str(ROLES[name])]


def test_pods_have_time_to_finish_what_is_under_way(manifests: Manifests) -> None:
    for pod in pods(manifests).values():
        (container,) = pod["spec"]["containers"]
        noticed = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod["spec"]["terminationGracePeriodSeconds"] >= noticed + DRAIN_S + 30


def test_pods_ask_for_what_they_need_and_cannot_take_all_memory(manifests: Manifests) -> None:
    for pod in pods(manifests).values():
        (container,) = pod["spec"]["containers"]
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert set(container["resources"]["limits"]) == {"memory"}
        keys = [one["topologyKey"] for one in pod["spec"]["topologySpreadConstraints"]]
        assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]


def test_settings_are_those_of_the_platform_and_reach_every_pod(manifests: Manifests) -> None:
    (settings,) = of_kind(manifests, "ConfigMap").values()
    read = settings_in(settings["data"])
    assert read.base_url == "https://pay.example.com"
    assert [provider.name for provider in read.providers] == ["stripe"]
    assert (read.trace_sample_ratio, read.body_bytes_max, read.webhook_allow_loopback) == (0.05, 65_536, False)
    for pod in pods(manifests).values():
        (container,) = pod["spec"]["containers"]
        assert container["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]
        assert "env" not in container


def test_other_settings_make_other_pods_and_the_same_do_not(manifests: Manifests) -> None:
    def sums(of: Manifests) -> set[str]:
        return {pod["metadata"]["annotations"]["checksum/settings"] for pod in pods(of).values()}

    assert len(sums(manifests)) == 1
    assert sums(rendered()) == sums(manifests)
    assert not sums(rendered(EXAMPLE, 'settings.log_level="debug"')) & sums(manifests)


# -- who is meant -------------------------------------------------------------------------------------------------------


def test_each_selector_means_the_pods_of_its_own_role(manifests: Manifests) -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(manifests).items()}

    def meant(selector: dict[str, Any]) -> list[str]:
        return [name for name, given in labels.items() if selects(selector, given)]

    for kind in ("Deployment", "PodDisruptionBudget"):
        for name, one in of_kind(manifests, kind).items():
            assert meant(one["spec"]["selector"]) == [name]
    for name, scaler in of_kind(manifests, "HorizontalPodAutoscaler").items():
        assert scaler["spec"]["scaleTargetRef"]["name"] == name
    (service,) = of_kind(manifests, "Service").values()
    assert meant({"matchLabels": service["spec"]["selector"]}) == ["pay-interlock-api"]
    for name, pod in pods(manifests).items():
        for constraint in pod["spec"]["topologySpreadConstraints"]:
            assert meant(constraint["labelSelector"]) == [name]


def test_two_releases_in_one_namespace_do_not_mean_each_others_pods(manifests: Manifests) -> None:
    others = pods(rendered(release="other"))
    for one in of_kind(manifests, "Deployment").values():
        for pod in others.values():
            assert not selects(one["spec"]["selector"], pod["metadata"]["labels"])


def test_autoscaler_and_a_fixed_number_exclude_each_other(manifests: Manifests) -> None:
    assert ["replicas" in one["spec"] for one in of_kind(manifests, "Deployment").values()] == [False, False]
    fixed = rendered(EXAMPLE, "worker.autoscaling.enabled=false", "worker.replicas=4")
    assert of_kind(fixed, "Deployment")["pay-interlock-worker"]["spec"]["replicas"] == 4
    assert set(of_kind(fixed, "HorizontalPodAutoscaler")) == {"pay-interlock-api"}
    assert set(of_kind(fixed, "PodDisruptionBudget")) == set(ROLES)


# -- the network --------------------------------------------------------------------------------------------------------


def test_nothing_goes_in_or_out_that_no_policy_names(manifests: Manifests) -> None:
    nothing = of_kind(manifests, "NetworkPolicy")["pay-interlock-nothing"]["spec"]
    assert nothing["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & set(nothing)
    for pod in pods(manifests).values():
        assert selects(nothing["podSelector"], pod["metadata"]["labels"])


def test_api_is_asked_by_those_who_were_named_and_by_nobody_if_nobody_was(manifests: Manifests) -> None:
    api = of_kind(manifests, "NetworkPolicy")["pay-interlock-api"]["spec"]
    asks = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}]
    assert api["ingress"] == [{"from": asks, "ports": [{"port": "http", "protocol": "TCP"}]}]
    assert api["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "api"
    silent = rendered(EXAMPLE, "networkPolicy.apiFrom=[]", "networkPolicy.metricsFrom=[]")
    assert set(of_kind(silent, "NetworkPolicy")) == {"pay-interlock-nothing", "pay-interlock-out"}


def test_pods_reach_names_the_world_over_tls_and_of_private_networks_what_was_named(manifests: Manifests) -> None:
    names, world, private = of_kind(manifests, "NetworkPolicy")["pay-interlock-out"]["spec"]["egress"]
    assert [port["port"] for port in names["ports"]] == [53, 53]
    assert world["ports"] == [{"port": 443, "protocol": "TCP"}]
    left_out = [ip_network(one) for one in world["to"][0]["ipBlock"]["except"]]
    for inside in (
        "10.1.2.3/32",
        "172.20.0.1/32",
        "192.168.1.1/32",
        "169.254.169.254/32",
        "127.0.0.1/32",
        "100.64.1.1/32",
    ):
        assert any(ip_network(inside).subnet_of(network) for network in left_out)
    assert private["to"] == [{"ipBlock": {"cidr": "10.20.0.0/16"}}]
    assert [port["port"] for port in private["ports"]] == [443, 9092, 27017]


# -- values -------------------------------------------------------------------------------------------------------------


def test_values_alone_are_refused_with_what_is_missing() -> None:
    done = render(CHART / "values.yaml")
    assert done.returncode != 0
    for missing in ("- image", "base_url", "providers", "aws"):
        assert missing in done.stderr


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ('settings.base_url="http://pay.example.com"', "- settings.base_url"),
        ("settings.providers=[]", "- settings.providers"),
        ('settings.data="/tmp"', "settings"),
        ("settings.webhook_allow_loopback=true", "- settings.webhook_allow_loopback"),
        ("settings.aws.kafka={}", "- settings.aws.kafka"),
        ('image.digest="sha256:12"', "- image.digest"),
        ('image={"repository":"r","tag":"latest"}', "- image"),
        ('image={"repository":"r","tag":"","digest":""}', "- image"),
        ("api.replica=2", "- api"),
        ("api.autoscaling.cpuPercent=100", "- api.autoscaling.cpuPercent"),
        ("worker.terminationGraceSeconds=5", "- worker.terminationGraceSeconds"),
        ('networkPolicy.privateTo=[{"cidr":"0.0.0.0/0","ports":[443]}]', "- networkPolicy.privateTo"),
        ("networkPolicy.dnsTo=[]", "- networkPolicy.dnsTo"),
        ("networkpolicy={}", "networkpolicy"),
    ],
)
def test_value_that_cannot_be_meant_is_refused_by_name(given: str, named: str) -> None:
    done = render(EXAMPLE, given)
    assert done.returncode != 0
    assert named in done.stderr


def test_every_value_with_a_default_is_in_the_schema_and_the_other_way_round() -> None:

    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) - {"global"} == set(values)
    for part in ("image", "api", "worker", "service", "networkPolicy"):
        assert set(schema["properties"][part]["properties"]) == set(values[part])
