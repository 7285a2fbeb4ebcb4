"""Steps that answer from a script, the same ones in this process and as Lambda functions of an emulator.

Imports nothing but the standard library: it is also the code of those functions. A script is a file for each execution: step,
or `step:item` within a Map, -> its answers in order, of which the last one stays. What was asked is kept in files.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


def script(folder: Path, execution: str, answers: dict[str, list[Any]]) -> None:
    """An answer is {"gives": value}, {"raises": "Name"} or {"hangs_s": seconds}."""
    (folder / f"{execution}.json").write_text(json.dumps(answers))


def take(folder: Path, step: str, payload: Any) -> Any:
    """The next answer to a step, after keeping what it was asked."""
    execution = payload["execution"]
    place = f"{step}:{payload['item']}" if "item" in payload else step
    count = 0
    while True:
        try:
            asked = (folder / f"{execution}.{place}.{count}").open("x")
            break
        except FileExistsError:
            count += 1
    with asked:
        asked.write(json.dumps(payload))
    answers = json.loads((folder / f"{execution}.json").read_text()).get(place, [{"gives": None}])
    return answers[min(count, len(answers) - 1)]


def asked(folder: Path, execution: str, place: str) -> list[Any]:
    """What a step was asked, in order."""
    found: list[Any] = []
    while (kept := folder / f"{execution}.{place}.{len(found)}").exists():
        found.append(json.loads(kept.read_text() or "null"))
    return found


def raised(name: str) -> Exception:
    """An exception of a class of that name, as which runners know it."""
    return type(name, (Exception,), {})(f"{name} as the script says")


def handle(payload: Any, _context: object) -> Any:
    """The Lambda functions' handler. Their names end in that of their step."""
    step = os.environ["AWS_LAMBDA_FUNCTION_NAME"].partition("step_")[2]
    answer = take(Path(os.environ["SCRIPTS"]), step, payload)
    time.sleep(answer.get("hangs_s", 0))
    if "raises" in answer:
        raise raised(answer["raises"])
    return answer.get("gives")
