"""One message at a time to come, by EventBridge Scheduler: for waits longer than a queue keeps.

Scheduler is precise to the minute, not to the second. What it sends arrives in a queue as a bare body.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from interlock.backends.aws.calls import Calls, Refused
from interlock.core.kernel.clock import Clock, Millis
from interlock.core.kernel.errors import Invalid, OutcomeUnknown, StoreUnavailable

SOONEST_S = 60
"""What is due sooner, or was due already, is due then: a time that has passed is not promised to be taken."""
INPUT_BYTES_MAX = 65_536
EVENT_AGE_MOST_S, RETRIES_MOST = 86_400, 185
"""How long, and how often, Scheduler tries a target that does not take it."""
TRIES = 3
ABSENT, TAKEN = "ResourceNotFoundException", "ConflictException"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class OneTimeSchedules:
    """In one schedule group, for one target: a queue or a Lambda."""

    def __init__(
        self,
        calls: Calls,
        *,
        group: str,
        target_arn: str,
        role_arn: str,
        clock: Clock,
        new_token: Callable[[], str],
        dead_letter_arn: str = "",
    ) -> None:
        """`calls` must refuse what is not there (`missing={}`). `role_arn` is who may send to the target.

        `dead_letter_arn`: the queue for what the target did not take within a day.
        """
        self._calls, self._group, self._clock, self._new_token = calls, group, clock, new_token
        self._target: dict[str, Any] = {
            "Arn": target_arn,
            "RoleArn": role_arn,
            "RetryPolicy": {"MaximumEventAgeInSeconds": EVENT_AGE_MOST_S, "MaximumRetryAttempts": RETRIES_MOST},
        }
        if dead_letter_arn:
            self._target["DeadLetterConfig"] = {"Arn": dead_letter_arn}

    async def set(self, name: str, *, at: Millis, body: str) -> None:
        """Have the target receive `body` at `at` and once; an earlier schedule of this name is replaced. May be repeated.

        Raises Invalid, StoreUnavailable.
        """
        _check_name(name)
        if not body or len(body.encode()) > INPUT_BYTES_MAX:
            raise Invalid(f"a schedule's body has 1 to {INPUT_BYTES_MAX} bytes")
        asked = {
            "Name": name,
            "GroupName": self._group,
            "ScheduleExpression": f"at({self._whole_second(at)})",
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "Target": self._target | {"Input": body},
        }
        for _ in range(TRIES):
            # A token of its own for each call: under an older one, what was cancelled since would be taken for done.
            if await self._done("create_schedule", TAKEN, **asked, ClientToken=self._new_token()):
                return
            if await self._done("update_schedule", ABSENT, **asked, ClientToken=self._new_token()):
                return
        raise StoreUnavailable("somebody else is changing the same schedule; ask again")

    async def cancel(self, name: str) -> bool:
        """False when there is none, perhaps because it is done. May be repeated. Raises Invalid, StoreUnavailable."""
        _check_name(name)
        return await self._done(
            "delete_schedule", ABSENT, Name=name, GroupName=self._group, ClientToken=self._new_token()
        )

    def _whole_second(self, at: Millis) -> str:
        """Not before `at`."""
        due = max(at, self._clock.now() + SOONEST_S * 1_000)
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=-(-due // 1_000))).strftime("%Y-%m-%dT%H:%M:%S")

    async def _done(self, operation: str, unless: str, **request: Any) -> bool:
        """False when Scheduler says `unless`."""
        try:
            await self._calls.write(operation, **request)
        except Refused as refused:
            if refused.code == unless:
                return False
            if refused.code == ABSENT:
                raise StoreUnavailable(f"no schedule group {self._group}: apply the Terraform") from refused
            raise StoreUnavailable(f"Scheduler refused: {refused.code}") from refused
        except OutcomeUnknown as error:
            raise StoreUnavailable(error.detail) from error
        return True


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise Invalid("a schedule's name has up to 64 ASCII letters, digits, `.`, `_` and `-`")
