"""Whether the server lives, and whether it should get requests: what Kubernetes' probes ask. Neither touches a dependency."""

from typing import NamedTuple

from app.core.server.scoreboard import Scoreboard, WorkerState


class Condition(NamedTuple):
    """One thing that must hold, and the value it was judged by."""

    ok: bool
    value: bool | float


Conditions = dict[str, Condition]


def liveness(board: Scoreboard, worker_timeout: float) -> Conditions:
    """Only a restart of everything helps when these fail.

    A single worker that hangs is the arbiter's business: it is killed after ``worker_timeout`` seconds. It is none of
    ours before the arbiter had twice that time and did nothing, or before all workers hang.
    """
    limit = 2 * worker_timeout
    silence = min((worker.silence for worker in board.workers()), default=0.0)
    return {
        "arbiter_silent_seconds": Condition(board.arbiter_silence <= limit, round(board.arbiter_silence, 1)),
        "workers_silent_seconds": Condition(silence <= limit, round(silence, 1)),
    }


def readiness(board: Scoreboard, worker_timeout: float) -> Conditions:
    """Requests can be answered. Losing the database does not change that: they get 503, and come back here when it does."""
    fresh = worker_timeout / 2
    ready = sum(worker.state is WorkerState.READY and worker.silence <= fresh for worker in board.workers())
    return {
        "schema_seen": Condition(board.schema_seen, board.schema_seen),
        "draining": Condition(not board.draining, board.draining),
        "workers_ready": Condition(ready > 0, ready),
    }
