"""Spreads jobs over workers with dask.distributed: on this machine, or wherever a scheduler's workers are.

Each worker process keeps one `Grader`, that is its own pair of fork servers, and examines one job after the other. A
job is plain data and has no effect but its report, so one that was lost with its worker is simply done again.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any, Protocol
from urllib.parse import urlsplit

from autograder.errors import CourseError
from autograder.examiner import Job, Report, Result
from autograder.grading import Grader

ALLOWED_FAILURES = 3
"""After how many lost workers a job is given up: one that kills its worker each time would take all of them."""


class Examiners(Protocol):
    """Something that examines many jobs."""

    def walls(self) -> list[str]: ...

    def examine_all(self, jobs: dict[str, Job]) -> Iterator[tuple[str, Report]]: ...


class Here:
    """Examines in this process's own fork servers, one job after the other."""

    def __init__(self, grader: Grader):
        self.grader = grader

    def walls(self) -> list[str]:
        return self.grader.walls()

    def examine_all(self, jobs: dict[str, Job]) -> Iterator[tuple[str, Report]]:
        for name, job in jobs.items():
            yield name, self.grader.examine(job)


class Spread:
    """Examines on the workers of a dask cluster."""

    def __init__(self, client: Any):
        self.client = client

    def walls(self) -> list[str]:
        """Those that stand on every worker."""
        answers = list(self.client.run(lambda dask_worker: dask_worker.grader.walls()).values())
        return [wall for wall in answers[0] if all(wall in other for other in answers)]

    def examine_all(self, jobs: dict[str, Job]) -> Iterator[tuple[str, Report]]:
        from distributed import as_completed

        futures = {self.client.submit(_examine, job, pure=False): name for name, job in jobs.items()}
        for future in as_completed(futures):
            name = futures.pop(future)
            yield name, self._report(future, jobs[name])

    def _report(self, future: Any, job: Job) -> Report:
        from distributed import KilledWorker

        try:
            return future.result()
        except KilledWorker:
            message = f"{ALLOWED_FAILURES} workers ended while they graded it"
            checks = [c["id"] for c in job.cells if c["kind"] == "check"]
            return Report([vars(Result(c, False, "crashed", message, message)) for c in checks])


@contextlib.contextmanager
def open_examiners(workers: int, scheduler: str | None) -> Iterator[Examiners]:
    """One examiner here, ``workers`` processes on this machine, or the workers of the scheduler at an address.

    Raises:
        CourseError: if the scheduler cannot be reached, or would be over an open network.
    """
    if scheduler is None and workers == 1:
        with Grader() as grader:
            yield Here(grader)
        return

    import dask
    from distributed import Client, LocalCluster

    dask.config.set({"distributed.scheduler.allowed-failures": ALLOWED_FAILURES})
    with contextlib.ExitStack() as stack:
        if scheduler is None:
            cluster = LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=None, memory_limit=0, silence_logs=50
            )
            client = stack.enter_context(Client(stack.enter_context(cluster)))
        else:
            _refuse_open_network(scheduler)
            try:
                client = stack.enter_context(Client(scheduler, timeout=10))
            except OSError as error:
                raise CourseError(f"no dask scheduler answers at {scheduler}: {error}") from error
        client.register_plugin(_plugin())
        yield Spread(client)


def _examine(job: Job) -> Report:
    from distributed import get_worker

    return get_worker().grader.examine(job)


def _plugin() -> Any:
    from distributed import WorkerPlugin

    class KeepGrader(WorkerPlugin):
        """Gives every worker a grader, those too that start later."""

        name = "grader"

        def setup(self, worker: Any) -> None:
            worker.grader = Grader().__enter__()

        def teardown(self, worker: Any) -> None:
            worker.grader.__exit__()

    return KeepGrader()


def _refuse_open_network(address: str) -> None:
    """A dask scheduler runs whatever it is sent: beyond this machine it must be behind TLS.

    Certificates are set as dask says (``DASK_DISTRIBUTED__COMM__TLS__CA_FILE`` and so on).
    """
    parts = urlsplit(address)
    try:
        if not parts.hostname:  # the empty name would resolve to 0.0.0.0 here, and to nothing elsewhere
            raise ValueError
        resolved = ipaddress.ip_address(socket.gethostbyname(parts.hostname))
    except (OSError, ValueError):
        raise CourseError(
            f"{address!r} is no scheduler's address; expected tcp://127.0.0.1:8786 or tls://..."
        ) from None
    if parts.scheme != "tls" and not resolved.is_loopback:
        raise CourseError(
            f"{address} is not on this machine and not behind TLS: anybody there could run code here; use tls://"
        )
