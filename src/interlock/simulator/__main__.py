"""python -m interlock.simulator: run simulated providers until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import sys
from pathlib import Path

import msgspec
import uvloop

from interlock.core.kernel.secrets import Secret
from interlock.simulator.control import read_plan
from interlock.simulator.faults import FaultPlan
from interlock.simulator.server import InstanceSettings, Simulator, SimulatorSettings, serve


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one instance, in the file given by --secrets-file: {"simulator_a": {"api_key": ..., "signing_secrets": [...]}}."""

    api_key: str
    signing_secrets: list[str]


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m interlock.simulator", description=__doc__, allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--port", type=int, default=0, help="of the control; instances take the ports behind it (0: free ones)"
    )
    parser.add_argument("--names", default="simulator", help="instances, separated by commas")
    parser.add_argument("--notify-url", help="notifications go to URL/<instance>")
    parser.add_argument(
        "--ready-file", type=Path, help="written when everything answers, as JSON, readable by you alone"
    )
    parser.add_argument("--secrets-file", type=Path, help="API keys and signing secrets as JSON (else made up)")
    parser.add_argument("--books", type=Path, help="folder in which the books are kept (else in memory)")
    parser.add_argument("--faults", type=Path, help="fault plan to start with, as JSON")
    return parser.parse_args(arguments)


def settings_of(given: argparse.Namespace) -> tuple[SimulatorSettings, dict[str, Credentials]]:
    """Raises OSError, ValueError or msgspec.DecodeError for files and values that do not do."""
    names = [name for name in given.names.split(",") if name]
    if not names or len(set(names)) != len(names) or not all(name.isidentifier() for name in names):
        raise ValueError("--names needs different words of letters, digits and _")
    if given.secrets_file is not None:
        known = msgspec.json.decode(given.secrets_file.read_bytes(), type=dict[str, Credentials])
        missing = [name for name in names if name not in known]
        if missing:
            raise ValueError(f"--secrets-file says nothing of {', '.join(missing)}")
    else:
        known = {name: Credentials(secrets.token_urlsafe(24), [secrets.token_urlsafe(32)]) for name in names}
    plan = read_plan(given.faults.read_bytes()) if given.faults is not None else FaultPlan()
    instances = tuple(
        InstanceSettings(
            name=name,
            port=given.port + place if given.port else 0,
            api_key=Secret(known[name].api_key),
            signing_secrets=tuple(Secret(secret) for secret in known[name].signing_secrets),
        )
        for place, name in enumerate(names, start=1)
    )
    settings = SimulatorSettings(
        instances=instances,
        host=given.host,
        port=given.port,
        notify_url=given.notify_url,
        books_folder=given.books,
        plan=plan,
    )
    return settings, {name: known[name] for name in names}


def write_ready_file(path: Path, simulator: Simulator, credentials: dict[str, Credentials]) -> None:
    """Whole or not at all."""
    document = {
        "control_url": simulator.control_url,
        "instances": {
            name: {
                "base_url": url,
                "api_key": credentials[name].api_key,
                "signing_secrets": credentials[name].signing_secrets,
            }
            for name, url in simulator.base_urls.items()
        },
    }
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.encode(document))
    draft.replace(path)


async def run(settings: SimulatorSettings, ready_file: Path | None, credentials: dict[str, Credentials]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def on_ready(simulator: Simulator) -> None:
        if ready_file is not None:
            write_ready_file(ready_file, simulator, credentials)
        lines = [f"control {simulator.control_url}", *(f"{name} {url}" for name, url in simulator.base_urls.items())]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()

    await serve(settings, stop=stop, on_ready=on_ready)


def main(arguments: list[str]) -> int:
    given = parse(arguments)
    try:
        settings, credentials = settings_of(given)
        uvloop.run(run(settings, given.ready_file, credentials))
    except (OSError, ValueError, msgspec.DecodeError) as error:
        sys.stderr.write(f"the simulator cannot start: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
