"""`python -m tests.crash --rounds N --seed S`: kill, stop, fill, step the clock under load; lose and double nothing."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import statistics
import sys

from tests.crash.campaign import Outcome, Plan, run
from tests.crash.checks import DOUBLE, LOSS

SHOWN_MAX = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--seed", type=int, default=None, help="the same seed deals the same blows (default: a new one)"
    )
    parser.add_argument("--payments", type=int, default=Plan.payments, help="begun in each round")
    parser.add_argument("--check-every", type=int, default=Plan.check_every, help="rounds")
    parser.add_argument("--no-mount", action="store_true", help="stay on this disk, also as root")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    plan = Plan(given.rounds, seed, given.payments, given.check_every, not given.no_mount)
    try:
        outcome = asyncio.run(_run(plan))
    except asyncio.CancelledError:
        print(f"interrupted: nothing is proved (seed {seed})", file=sys.stderr)
        return 1
    print(figures(outcome))
    return 1 if outcome.failed else 0


async def _run(plan: Plan) -> Outcome:
    """Asked to end, it takes its processes and its file system along."""
    campaign = asyncio.current_task()
    assert campaign is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, campaign.cancel)
    return await run(plan, lambda doing: print(doing, file=sys.stderr, flush=True))


def figures(outcome: Outcome) -> str:
    """What is printed in the end: counts, and what went wrong with the command that repeats it."""
    complaints = {
        kind: sum(len(one.complaints) for one in outcome.failed if one.kind == kind) for kind in (LOSS, DOUBLE)
    }
    by_kind = ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.rounds.items()))
    rows = [
        ("rounds", f"{outcome.rounds.total()}: {by_kind}"),
        *(("left out", f"{kind}: {why}") for kind, why in outcome.left_out.items()),
        ("disk", outcome.disk),
        ("disk full", f"refused work in {outcome.full_noticed} of {outcome.rounds['disk full']} rounds"),
        ("requests", f"{outcome.requests} in {outcome.tries} tries, {outcome.given_up_early} given up early"),
        ("acknowledged", f"{outcome.acknowledged}, {outcome.replays} of them replayed meanwhile"),
        ("payments", f"{outcome.payments}"),
        ("charges", f"{outcome.charges}, {outcome.operations} operations at the provider"),
        (
            "webhooks",
            f"{outcome.events} events, {outcome.webhooks} taken, {outcome.webhooks_repeated} of them duplicates",
        ),
        ("restarts", f"{outcome.restarts}"),
        ("recovery", _spread(outcome.recovery_s)),
        ("drained", _spread(outcome.drain_s)),
        ("clock", f"{outcome.clock_offset_s:+d} s in the end"),
        ("checks", f"{outcome.checks}"),
        ("seconds", f"{outcome.seconds:.0f}"),
        ("losses", f"{complaints[LOSS]}"),
        ("doubles", f"{complaints[DOUBLE]}"),
    ]
    lines = [f"{name:14}{value}" for name, value in rows]
    for check in outcome.failed:
        lines += ["", f"NOT SO: {check.what}", *(f"  {one}" for one in check.complaints[:SHOWN_MAX])]
        if len(check.complaints) > SHOWN_MAX:
            lines.append(f"  and {len(check.complaints) - SHOWN_MAX} more")
    if outcome.kept:
        lines += ["", f"kept, to look into: {outcome.kept}"]
    plan = outcome.plan
    again = f"python -m tests.crash --rounds {plan.rounds} --seed {plan.seed} --payments {plan.payments}"
    again += f" --check-every {plan.check_every}{'' if plan.mount else ' --no-mount'}"
    lines += ["", f"{'FAILED' if outcome.failed else 'PASSED'}; again: {again}"]
    return "\n".join(lines)


def _spread(seconds: list[float]) -> str:
    if not seconds:
        return "never"
    return f"p50 {statistics.median(seconds):.2f} s, max {max(seconds):.2f} s"


if __name__ == "__main__":
    sys.exit(main())
