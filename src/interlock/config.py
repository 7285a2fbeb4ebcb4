"""Settings: one frozen object, read once, every fault reported at once.

They come from a TOML file and from variables of the environment named INTERLOCK_ and the field in upper case, which win.
Secrets are not settings: they live in the secrets file of the data directory.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

PREFIX = "INTERLOCK_"
CALLS_LONG = 2.5
"""A call may take twice `total_timeout_s` (its last request may begin when the time is nearly over) and begins within an
eighth of `attempt_deadline_s`: with this factor it is over when the attempt is looked up."""
Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(gt=0)]


_ISSUER = r"^(https://[^/@\s?#]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?)(/[^\s?#]*)?\Z"


class SettingsError(Exception):
    """Every fault of the settings, one a line."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class ProviderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One provider. The order of the list is the order in which providers are tried."""

    name: Annotated[str, Meta(pattern="^[a-z0-9_]{1,40}$")]
    kind: Literal["simulator", "stripe"]
    base_url: Annotated[str, Meta(pattern="^https?://[^/@\\s]+(/[^\\s]*)?$")]
    """Where its API answers. No request goes anywhere else."""
    connect_timeout_s: Seconds = 2.0
    read_timeout_s: Seconds = 10.0
    total_timeout_s: Seconds = 15.0


class IssuerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An OIDC issuer outside, whose access tokens are taken beside our own."""

    issuer: Annotated[str, Meta(pattern="^https?://[^\\s]+$")]
    jwks_uri: Annotated[str, Meta(pattern="^https?://[^\\s]+$")]
    audience: str
    tenant_claim: str = "tenant"
    scope_claim: str = "scope"


class SignInSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An OIDC issuer at which people sign in to the console. Its client secret is a secret: `interlock operators issuer-secret`."""

    issuer: Annotated[str, Meta(pattern=_ISSUER)]
    """Exactly as it calls itself; https, or http on this machine."""
    client_id: Annotated[str, Meta(min_length=1, max_length=256)]
    roles: dict[str, Literal["viewer", "support", "lead", "admin"]]
    """A value of the claim -> the role of who has it. Of several, the highest; who has none is refused."""
    role_claim: Annotated[str, Meta(min_length=1, max_length=256)] = "roles"
    """Claim of the ID token that holds a value or a list of them. Dots lead into it: realm_access.roles."""
    name: Annotated[str, Meta(max_length=60)] = ""
    """What people call it: Sign in with NAME. Empty: its host."""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    """What is asked for; openid must be there."""
    passwords: bool = True
    """Whether people may also sign in with passwords of this platform."""


class KafkaSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Kafka cluster. Credentials are secrets: `kafka/login` (an API key and its secret, or a client and its secret)."""

    bootstrap_servers: str
    """host:port, several with commas."""
    login: Literal["none", "api_key", "client_credentials"] = "none"
    token_url: str = ""
    """Where client credentials are exchanged for a token."""
    scope: str = ""
    logical_cluster: str = ""
    """Confluent Cloud: lkc-..."""
    identity_pool: str = ""
    """Confluent Cloud: pool-..."""
    prefix: str = "interlock."
    """Before the name of every topic, group and transaction."""


class AwsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the platform stands on AWS. The Terraform modules make these and hand them to each function."""

    region: Annotated[str, Meta(pattern="^[a-z]{2}(-[a-z]+)+-\\d$")]
    kafka: KafkaSettings
    table: str = "interlock"
    stream: str = ""
    """ARN of the table's stream, for a worker that follows it by itself. Empty where a function is given its records."""
    queues: str = ""
    """What comes before a queue's name in its URL: https://sqs.REGION.amazonaws.com/ACCOUNT/interlock-"""
    bucket: str = ""
    secrets: str = "interlock/"
    """Before the name of every secret."""
    logins: str = ""
    """Before the names of the logins at Kafka and DocumentDB, which each region has of its own. Empty: as `secrets`."""
    key: str = ""
    """KMS key of new secrets. Empty: AWS's own."""
    vault_key: str = ""
    """ARN of the KMS key under which webhooks' signing secrets are sealed. Empty: they stand in the table in the clear."""
    documents: str = "interlock"
    """Database at DocumentDB. How to reach it is a secret: `documents/uri`."""
    documents_ca: str = ""
    """File of the authorities that sign its certificates."""
    state_machines: dict[str, str] = {}
    """Workflow -> ARN."""
    alarms: str = ""
    """ARN of the topic people are told by. Empty: alarms are log lines and metrics alone."""
    runbooks: str = ""
    """Address of the pages of docs/operations/alarms, which alarms name."""
    event_bus: str = ""
    """EventBridge bus for others' rules. Empty: there is none."""
    schedules: str = ""
    """Group of the schedules that bring parked payments back. Empty: none are parked."""
    schedules_target: str = ""
    """ARN of what such a schedule calls ..."""
    schedules_role: str = ""
    """... and of the role it does so with."""
    park: bool = False
    """Keep authorisations out of the index of what is due until their end is near; needs `schedules`."""
    endpoint: str = ""
    """Where all of AWS answers: an emulator's. Empty: AWS itself."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    data: str = ".interlock"
    """Folder of the database, the secrets and the archives."""
    host: str = "127.0.0.1"
    """Address to listen on. Loopback unless told otherwise."""
    port: Port = 8080
    """Port of the API; 0 takes a free one."""
    base_url: str = ""
    """How the API is reached from outside: issuer of our tokens. Empty: http://host:port."""
    providers: tuple[ProviderSettings, ...] = ()
    """In the order in which they are tried."""
    external_issuer: IssuerSettings | None = None
    """Take access tokens of this issuer, too."""
    sign_in: SignInSettings | None = None
    """Let people sign in to the console at this issuer."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of proxies that are believed where a request comes from (X-Forwarded-For). Behind a proxy that is
    not named, all who sign in to the console share the tries of one address."""
    body_bytes_max: Annotated[int, Meta(ge=1024, le=1_048_576)] = 65_536
    """Largest request body taken."""
    rate_limit_per_s: Annotated[float, Meta(gt=0)] = 1_000.0
    """Requests a client may make each second, on average."""
    rate_limit_burst: Annotated[int, Meta(ge=1)] = 2_000
    """Requests a client may make at once."""
    attempt_deadline_s: Annotated[float, Meta(ge=1)] = 40.0
    """An attempt without an answer is looked up after this; at least 2.5 times the longest `total_timeout_s`."""
    action_deadline_s: Annotated[float, Meta(ge=1)] = 1800.0
    """How long a payer has for a required action."""
    sweep_interval_s: Seconds = 1.0
    """Pause between looks for overdue attempts."""
    webhook_timeout_s: Seconds = 15.0
    """How long a merchant's endpoint may take."""
    webhook_allow_loopback: bool = False
    """Deliver webhooks to this machine: for local mode only."""
    aws: AwsSettings | None = None
    """Stand on AWS instead of on this machine's disk."""
    trace_sample_ratio: Annotated[float, Meta(ge=0, le=1)] = 0.01
    """Share of requests that are traced when the caller does not decide."""
    otlp_endpoint: str = ""
    """Where traces are sent, e.g. http://127.0.0.1:4318/v1/traces. Empty: nowhere."""
    observations_days: Annotated[int, Meta(ge=0, le=3650)] = 7
    """How long log lines and spans are kept with their payments on this machine; 0: not at all."""
    observations_mb: Annotated[int, Meta(ge=1)] = 256
    """How much room they take at most; the oldest go first."""
    release: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._+-]{0,40}\Z")] = ""
    """Name of the release that runs; each attempt remembers which one started it. Empty: the version of the source."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe lines that are written."""

    @classmethod
    def load(
        cls, *, file: Path | None, environment: Mapping[str, str], overrides: Mapping[str, Any] | None = None
    ) -> Settings:
        """Read `file` (if given), then the environment, then `overrides`. Raises SettingsError naming every fault."""
        faults: list[str] = []
        values: dict[str, Any] = {}
        if file is not None:
            values = _from_file(file, faults)
        values |= _from_environment(environment, faults)
        values |= {name: value for name, value in (overrides or {}).items() if value is not None}
        settings = _checked(cls, values, faults)
        if settings is not None:
            faults.extend(_contradictions(settings))
        if faults or settings is None:
            raise SettingsError(faults)
        return settings

    def as_environment(self) -> dict[str, str]:
        """Variables from which `load` makes the same settings: for a process we start."""
        values = {name: getattr(self, name) for name in FIELDS}
        return {
            f"{PREFIX}{name.upper()}": value if isinstance(value, str) else msgspec.json.encode(value).decode()
            for name, value in values.items()
        }


FIELDS = {field.name: field for field in msgspec.structs.fields(Settings)}


def _from_file(file: Path, faults: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        faults.append(f"{file}: {error.strerror}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{file}: {error}")
    return {}


def _from_environment(environment: Mapping[str, str], faults: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in FIELDS:
            faults.append(f"{variable}: there is no such setting")
            continue
        values[name] = _parsed(FIELDS[name].type, text)
    return values


def _parsed(kind: Any, text: str) -> Any:
    """A variable's text as the field's type would be written in the file; what does not parse is left to the check."""
    if kind is str:
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _checked(cls: type[Settings], values: dict[str, Any], faults: list[str]) -> Settings | None:
    """Each field by itself, so that one fault does not hide the next."""
    good: dict[str, Any] = {}
    before = len(faults)
    for name, value in values.items():
        if name not in FIELDS:
            faults.append(f"{name}: there is no such setting")
            continue
        try:
            good[name] = msgspec.convert(value, FIELDS[name].type)
        except msgspec.ValidationError as error:
            faults.extend(_named(value, FIELDS[name].type, name, str(error)))
    return cls(**good) if len(faults) == before else None


def _named(value: Any, kind: Any, where: str, fault: str) -> list[str]:
    """Every fault of a value that has one, `fault`: of a table each field's, of a list of tables each table's."""
    parts = get_args(kind)
    if isinstance(value, list) and len(parts) == 2 and parts[1] is Ellipsis:
        found = [one for number, part in enumerate(value) for one in _each(part, parts[0], f"{where}[{number}]")]
        return found or [f"{where}: {fault}"]
    if isinstance(value, dict) and get_origin(kind) is dict:
        found = [one for name, part in value.items() for one in _each(part, parts[1], f"{where}.{name}")]
        return found or [f"{where}: {fault}"]
    table = next((part for part in (kind, *parts) if isinstance(part, type) and issubclass(part, msgspec.Struct)), None)
    if not isinstance(value, dict) or table is None:
        return [f"{where}: {fault}"]
    fields = {field.name: field for field in msgspec.structs.fields(table)}
    faults = [f"{where}.{name}: there is no such setting" for name in value.keys() - fields.keys()]
    for name, field in fields.items():
        if name in value:
            faults.extend(_each(value[name], field.type, f"{where}.{name}"))
        elif field.required:
            faults.append(f"{where}.{name}: is missing")
    return faults or [f"{where}: {fault}"]


def _each(value: Any, kind: Any, where: str) -> list[str]:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return _named(value, kind, where, str(error))
    return []


def _contradictions(settings: Settings) -> list[str]:
    faults: list[str] = []
    names = [provider.name for provider in settings.providers]
    faults.extend(f"providers: {name} is named twice" for name in sorted({n for n in names if names.count(n) > 1}))
    longest = max((provider.total_timeout_s for provider in settings.providers), default=0.0)
    if settings.attempt_deadline_s < CALLS_LONG * longest:
        faults.append(
            f"attempt_deadline_s: {settings.attempt_deadline_s:g} is less than {CALLS_LONG} times"
            f" the longest total_timeout_s ({longest:g})"
        )
    faults.extend(_sign_in_faults(settings.sign_in) if settings.sign_in else [])
    faults.extend(
        f"trusted_proxies: {one!r} is no address and no network"
        for one in settings.trusted_proxies
        if not _is_network(one)
    )
    if settings.aws is not None and settings.aws.park and not settings.aws.schedules:
        faults.append("aws.park: needs aws.schedules, or nobody would bring back what is parked")
    return faults


def _sign_in_faults(sign_in: SignInSettings) -> list[str]:
    faults = []
    if "openid" not in sign_in.scopes:
        faults.append("sign_in.scopes: openid is missing, so the issuer would not say who somebody is")
    faults.extend(f"sign_in.scopes: {scope!r} is no scope" for scope in sign_in.scopes if not _is_scope(scope))
    if not sign_in.roles:
        faults.append("sign_in.roles: is empty, so nobody could sign in")
    return faults


def _is_network(text: str) -> bool:
    try:
        return ip_network(text) is not None
    except ValueError:
        return False


_is_scope = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+").fullmatch
"""RFC 6749, 3.3."""
