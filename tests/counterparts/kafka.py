"""A running Apache Kafka broker for the length of a `with`: one process in KRaft mode, its logs in a folder of its own.

What it is not: a cluster. One broker keeps one copy of everything, so nothing about replicas, elections or racks may be
concluded from it; a restart of the broker is a moment without any. Group time-outs may be far shorter than a real cluster allows.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.counterparts.paths import KAFKA, require
from tests.free_ports import free_ports

START_S, STOP_S = 90.0, 20.0
HEAP = ("-Xmx384m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
JAVA_MIN = 17

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>interlock.counterparts</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA.version}</version>
  </dependency></dependencies>
</project>
"""
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "num.partitions": "8",
    "auto.create.topics.enable": "false",
    "delete.topic.enable": "true",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "100",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    "log.cleaner.enable": "false",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    "log.message.timestamp.after.max.ms": "9223372036854775807",
}


class Broker:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port, self._controller = free_ports(1, 1)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Returns when it answers."""
        if not (self._folder / "server.properties").exists():
            self._format()
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                _java("kafka.Kafka", str(self._folder / "server.properties"), heap=HEAP),
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        until = time.monotonic() + START_S
        while not _answers(admin):
            said = (self._folder / "log").read_text(errors="replace")[-2_000:]
            assert self._process.poll() is None and time.monotonic() < until, f"the broker did not start: {said}"

    def stop(self, *, kill: bool = False) -> None:
        """Ends it; with `kill` as a lost machine would, without a word to anybody."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill() if kill else process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self, *, kill: bool = False) -> None:
        """The same broker at the same address, with what it had synchronised."""
        self.stop(kill=kill)
        self.start()

    def _format(self) -> None:
        listeners = f"PLAINTEXT://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{self._controller}"
        properties = _PROPERTIES | {
            "listeners": listeners,
            "advertised.listeners": listeners,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller}",
            "log.dirs": str(self._folder / "data"),
        }
        file = self._folder / "server.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        identity = ("-t", "MkU3OEVBNTcwNTJENDM2Qk")
        done = subprocess.run(
            _java("kafka.tools.StorageTool", "format", *identity, "-c", str(file)),
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2_000:] + done.stdout[-2_000:]


@contextmanager
def running_kafka() -> Iterator[Broker]:
    """Skips the test when the broker is not installed."""
    require("kafka")
    with TemporaryDirectory(prefix="interlock-kafka-") as folder:
        broker = Broker(Path(folder))
        try:
            broker.start()
            yield broker
        finally:
            broker.stop()


def install_kafka() -> None:
    """From Maven Central with all it needs at run time; Maven compares every file with its published checksum."""
    from tests.counterparts import install

    if _java_version() < JAVA_MIN:
        install._debian("openjdk-17-jre-headless")
    if not KAFKA.stamp.exists() and shutil.which("mvn") is None:
        install._debian("maven")

    def build(home: Path) -> None:
        (home / "pom.xml").write_text(_POM)
        install._run(
            "mvn",
            "--quiet",
            "--batch-mode",
            "--strict-checksums",
            _COPY,
            "-DincludeScope=runtime",
            f"-DoutputDirectory={home / 'lib'}",
            cwd=home,
        )

    install._once(KAFKA, build)


def _java(main: str, *arguments: str, heap: tuple[str, ...] = ("-Xmx128m",)) -> list[str]:
    return ["java", *heap, "-cp", f"{KAFKA.home / 'lib'}/*", main, *arguments]


def _java_version() -> int:
    """The major version on the PATH, 0 without one."""
    if shutil.which("java") is None:
        return 0
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    version = said.partition('"')[2].partition('"')[0]
    return int(version.partition(".")[0] or 0)


def _answers(admin: AdminClient) -> bool:
    try:
        return bool(admin.list_topics(timeout=0.5).brokers)
    except KafkaException:
        return False
