"""For processes under libfaketime 0.9.10: it refuses the sleeps of Python's `time.sleep`, which name the instant they end at."""

import select
import time


def sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = sleep
