"""Step Functions and scripted Lambda functions at the AWS emulator."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from interlock.backends.aws.calls import Calls
from interlock.backends.local.clock import SystemClock
from tests.contracts.on_aws import aws_client, new_token
from tests.counterparts.paths import require
from tests.workflows import scripted

ROLE = "arn:aws:iam::000000000000:role/interlock"
TIMEOUT_S = 30


@asynccontextmanager
async def deployed(
    endpoint: str, definitions: Mapping[str, str], scripts: Path
) -> AsyncIterator[tuple[Calls, dict[str, str]]]:
    """State machines of these definitions (workflow -> text), and each step a function that answers from `scripts`."""
    tail = new_token()[:8]
    steps = {step for text in definitions.values() for step in steps_of(text)}
    async with aws_client("lambda", endpoint) as functions, aws_client("stepfunctions", endpoint) as machines:
        code = _code()
        arns = {step: await _function(functions, f"{tail}-step_{step}", code, scripts) for step in sorted(steps)}
        made: dict[str, str] = {}
        for workflow, text in definitions.items():
            machine = {"name": f"{workflow}-{tail}", "roleArn": ROLE, "definition": _filled(text, arns)}
            made[workflow] = (await machines.create_state_machine(**machine))["stateMachineArn"]
        yield Calls(machines, clock=SystemClock(), random=random.random, what="Step Functions"), made
        for arn in made.values():
            await machines.delete_state_machine(stateMachineArn=arn)
        for step in steps:
            await functions.delete_function(FunctionName=f"{tail}-step_{step}")


def steps_of(text: str) -> set[str]:
    """The steps a definition names."""
    return {part.partition("}")[0] for part in text.split("${step_")[1:]}


async def _function(functions: Any, name: str, code: bytes, scripts: Path) -> str:
    made = await functions.create_function(
        FunctionName=name,
        Runtime="provided.al2023",
        Role=ROLE,
        Handler="scripted.handle",
        Code={"ZipFile": code},
        Timeout=TIMEOUT_S,
        Environment={"Variables": {"SCRIPTS": str(scripts)}},
    )
    return str(made["FunctionArn"])


def _code() -> bytes:
    """The runtime names an exception by its class, as the service's own does; the emulator's own does not."""
    python = require("lambda-runtime")
    bootstrap = f'#!/bin/sh\ncd "$LAMBDA_TASK_ROOT"\nexec "{python}" -m awslambdaric "$_HANDLER"\n'
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        executable = zipfile.ZipInfo("bootstrap")
        executable.external_attr = 0o755 << 16
        archive.writestr(executable, bootstrap)
        archive.writestr("scripted.py", Path(str(scripted.__file__)).read_text())
    return packed.getvalue()


def _filled(text: str, arns: Mapping[str, str]) -> str:
    """As Terraform's templatefile fills it."""
    for step, arn in arns.items():
        text = text.replace(f"${{step_{step}}}", arn)
    return text
