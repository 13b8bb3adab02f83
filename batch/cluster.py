"""Dask distributed: workers in this process, or those of a running cluster. The only file that imports it."""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

CONNECT = 10.0  # seconds that a scheduler gets to answer
INSTALL = f"This command needs Dask: {sys.executable} -m pip install distributed"
# A run may have millions of items: nothing may be kept of each. Memory is ours to watch: results are written at once.
SETTINGS = {
    "distributed.admin.low-level-log-length": 100,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.profile.enabled": False,
}


class Cluster:
    """Runs functions on workers and hands their results to a callback."""

    def __init__(self, client: Any, remote: bool) -> None:
        self.client = client
        self.remote = remote

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """A future of function(*arguments)."""
        key = _key(function)
        if self.remote:
            function, arguments = _packed(function, arguments), ()
        return self.client.submit(function, *arguments, key=key, pure=False)

    def calls(self, function: Callable[..., Any], arguments: Sequence[Any]) -> list[Any]:
        """Futures of function(one) for each, at the cost of one: Dask's own work is by message, not by call."""
        if self.remote:
            return [self.call(function, one) for one in arguments]
        return self.client.map(function, arguments, key=[_key(function) for _ in arguments], pure=False)

    def results(self, futures: Sequence[Any]) -> list[Any]:
        """What each finished future holds: its result, or the exception in its place. Waits for none that is done."""
        whole = [future for future in futures if future.status == "finished"]
        found = dict(zip((future.key for future in whole), self.client.gather(whole), strict=True))
        return [found[future.key] if future.key in found else _exception(future) for future in futures]

    def each(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The results of function(*one) for each, in order; they run side by side."""
        return self.client.gather([self.call(function, *one) for one in arguments])


def _key(function: Callable[..., Any]) -> str:
    """A name of a call's own: Dask would take calls of one name for the same."""
    return f"{function.__name__}-{uuid.uuid4()}"


def _exception(future: Any) -> BaseException:
    return (future.exception() if future.status == "error" else None) or RuntimeError(f"the call is {future.status}")


def _packed(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Callable[..., Any]:
    """The call as a local function. Dask sends what has an importable name by its name, and the workers of a cluster
    have no pack to import; a local function travels whole, with the code and the classes that it needs."""

    def perform() -> Any:
        return function(*arguments)

    return perform


@contextmanager
def started(address: str | None, threads: int, package: str) -> Iterator[Cluster]:
    """The cluster at that address, or one in this process with so many threads. package: the pack's name here; the
    functions of it travel to the workers of a cluster, which need no copy of it.

    ImportError: Dask is not installed; its text says how. ValueError: there is no cluster at the address."""
    try:
        import dask.config
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ImportError(INSTALL) from error
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with dask.config.set(SETTINGS):
        if address is None:
            options = {"n_workers": 1, "threads_per_worker": threads, "processes": False, "memory_limit": 0}
            # Dask opens its web pages even where none is asked for: they must not be seen from other machines.
            options |= {"dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
            with LocalCluster(**options) as local, Client(local) as client:  # pyright: ignore[reportArgumentType]
                yield Cluster(client, remote=False)
            return
        import cloudpickle

        cloudpickle.register_pickle_by_value(sys.modules[package])
        try:
            client = Client(address, timeout=CONNECT)
        except (OSError, ValueError) as error:
            raise ValueError(f"No Dask scheduler answers at {address} ({error}).") from error
        with client:
            if not client.nthreads():
                raise ValueError(
                    f"The Dask cluster at {address} has no workers. Start some with `dask worker {address}`."
                )
            yield Cluster(client, remote=True)
