"""Attempts, shared out among processes that have mounts of their own."""
import dataclasses
import json
import os
import time
import traceback

import world as worlds


@dataclasses.dataclass
class Tally:
    """How many of how many were tried, and the names of those that were wrong."""

    of: int
    tried: int = 0
    wrong: list = dataclasses.field(default_factory=list)


def share(order, attempt, jobs, seconds=float("inf")):
    """Call `attempt` for each of `order` in `jobs` processes; it returns a report, or "" where all is right."""
    deadline = time.monotonic() + seconds
    tally = Tally(len(order))
    readers = [_worker(order[job::jobs], attempt, deadline) for job in range(jobs)]
    for child, reader in readers:
        with os.fdopen(reader) as file:
            part = json.load(file)
        os.waitpid(child, 0)
        tally.tried += part["tried"]
        tally.wrong += part["wrong"]
    return tally


def _work(order, attempt, deadline):
    tally = Tally(len(order))
    for one in order:
        if time.monotonic() > deadline:
            break
        try:
            report = attempt(one)
        except Exception:
            report = traceback.format_exc()
        tally.tried += 1
        if report:
            tally.wrong.append(str(one))
            print(f"WRONG {one}\n{report}", flush=True)
    return tally


def _worker(order, attempt, deadline):
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    status = 1
    try:
        worlds.isolate(new_processes=False)
        with os.fdopen(writer, "w") as file:
            json.dump(dataclasses.asdict(_work(order, attempt, deadline)), file)
        status = 0
    finally:
        os._exit(status)
