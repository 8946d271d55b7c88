"""Spreads jobs over workers with dask.distributed: on this machine, or wherever a scheduler's workers are.

Each worker process keeps its own `Servers`, and examines one job after the other. A job is plain data and has no effect
but its report, so one that was lost with its worker is simply done again.
"""

from __future__ import annotations

import contextlib
import ipaddress
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from autograder.errors import CourseError
from autograder.processes.forkserver import Parent
from autograder.processes.job import Job, Report
from autograder.processes.servers import Servers

if TYPE_CHECKING:
    from autograder.grading.grader import Task

ALLOWED_FAILURES = 3
"""After how many lost workers a job is given up: one that kills its worker each time would take all of them."""

IN_FLIGHT = 200
"""Jobs that are with the workers at a time. More would fill the memory of a large class's run, and no worker's wait."""


class Examiners(Protocol):
    """Something that examines many tasks. It takes them as it needs them, and gives each back when it is done, with the
    report on its job if it has one."""

    def walls(self) -> list[str]: ...

    def examine_all(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Report | None]]: ...


class Here:
    """Examines in this process's own servers, one job after the other."""

    def __init__(self, servers: Servers):
        self.servers = servers

    def walls(self) -> list[str]:
        return self.servers.walls()

    def examine_all(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Report | None]]:
        """Reads the next submission, and has the last one written, while one is examined."""
        thread = ThreadPoolExecutor(max_workers=1)
        waiting: deque[tuple[Task, Future[Report] | None]] = deque()
        try:
            for task in tasks:
                waiting.append((task, thread.submit(self.servers.examine, task.job) if task.job else None))
                if len(waiting) > 2:
                    yield self._finished(*waiting.popleft())
            while waiting:
                yield self._finished(*waiting.popleft())
        finally:  # after Ctrl-C, say: not even the one in work is waited for
            thread.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    def _finished(task: Task, report: Future[Report] | None) -> tuple[Task, Report | None]:
        return task, report.result() if report else None


class Spread:
    """Examines on the workers of a dask cluster."""

    def __init__(self, client: Any):
        self.client = client

    def walls(self) -> list[str]:
        """Those that stand on every worker."""
        # as tasks, not by `Client.run`: that would keep a worker from answering its scheduler until torch is imported
        asked = [self.client.submit(_walls, workers=[worker], pure=False) for worker in self.client.nthreads()]
        answers = self.client.gather(asked)
        return [wall for wall in answers[0] if all(wall in other for other in answers)]

    def examine_all(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Report | None]]:
        from distributed import as_completed

        running: dict[Any, Task] = {}
        done = as_completed()
        for task in tasks:
            if task.job is None:
                yield task, None
                continue
            future = self.client.submit(_examine, task.job, pure=False)
            running[future] = task
            done.add(future)
            if len(running) >= IN_FLIGHT:
                yield self._finished(next(done), running)
        for future in done:
            yield self._finished(future, running)

    def _finished(self, future: Any, running: dict[Any, Task]) -> tuple[Task, Report]:
        from distributed import KilledWorker

        task = running.pop(future)
        try:
            return task, future.result()
        except KilledWorker:
            return task, Report(lost=f"{ALLOWED_FAILURES} workers ended while they graded it")


@contextlib.contextmanager
def open_examiners(
    workers: int, scheduler: str | None, meanwhile: Callable[[], object] = lambda: None
) -> Iterator[Examiners]:
    """One examiner here, ``workers`` processes on this machine, or the workers of the scheduler at an address.

    Args:
        meanwhile: is called when the processes that take long are on their way, and before there are threads here.

    Raises:
        CourseError: if the scheduler cannot be reached, or would be over an open network.
    """
    if scheduler is None and workers == 1:
        with Servers() as servers:
            meanwhile()
            yield Here(servers)
        return

    with contextlib.ExitStack() as stack:
        # first, for it starts in the background; workers beyond this machine have their own
        parent = stack.enter_context(Parent()).path if scheduler is None else None
        meanwhile()

        import dask
        from distributed import Client, LocalCluster

        dask.config.set({"distributed.scheduler.allowed-failures": ALLOWED_FAILURES})
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
        client.register_plugin(_plugin(parent))
        yield Spread(client)


def _walls() -> list[str]:
    from distributed import get_worker

    return get_worker().servers.walls()


def _examine(job: Job) -> Report:
    from distributed import get_worker

    return get_worker().servers.examine(job)


def _plugin(parent: str | None) -> Any:
    from distributed import WorkerPlugin

    class KeepServers(WorkerPlugin):
        """Gives every worker its servers, those too that start later."""

        name = "servers"

        def setup(self, worker: Any) -> None:
            if parent is not None:  # then Ctrl-C, in the terminal that they share, is for the grader
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            worker.servers = Servers(parent).__enter__()

        def teardown(self, worker: Any) -> None:
            worker.servers.__exit__()

    return KeepServers()


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
