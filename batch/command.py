"""The command line: reads the graph and the items, asks every server whether it can run them, and runs them."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import files
from . import task
from .check import told
from .client import Server
from .cluster import Cluster, started
from .graph import Graph, GraphError, Json, read
from .items import Items, axis_of, axis_of_csv, check_once, seed_of, settle
from .options import parser
from .progress import Progress, summary
from .results import SHEET, Results
from .run import Run, Settings, Stopped
from .schedule import Schedule

DONE, SOME_FAILED, WRONG, STOPPED, INTERRUPTED = 0, 1, 2, 3, 130
PARENT = __name__.rpartition(".batch.")[0]  # the pack's name in this process


def headers_of(given: Sequence[str]) -> list[tuple[str, str]]:
    """ "Name: value" pairs; @FILE stands for its lines. ValueError: no such file, or no header."""
    lines: list[str] = []
    for one in given:
        if one.startswith("@"):
            try:
                lines += [line for line in Path(one[1:]).read_text(encoding="utf-8").splitlines() if line.strip()]
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"The headers in {files.quote(one[1:])} cannot be read: {error}.") from error
        else:
            lines.append(one)
    pairs = []
    for line in lines:
        name, sign, value = line.partition(":")
        if not sign or not name.strip() or not name.strip().isascii() or " " in name.strip() or "\n" in value:
            raise ValueError("A header is written as 'Name: value'.")
        pairs.append((name.strip(), value.strip()))
    return pairs


def servers_of(options: argparse.Namespace) -> list[Server]:
    """The servers of the command line, each once. ValueError: an address that is none."""
    addresses = [one for given in options.servers for one in given.split(",") if one.strip()] or ["127.0.0.1:8188"]
    headers = headers_of(options.header)
    if options.ca is not None and not Path(options.ca).is_file():
        raise ValueError(f"There is no file of certificates {files.quote(options.ca)}.")
    found = {server.name: server for server in (Server.of(a, headers, options.ca) for a in addresses)}
    return list(found.values())


def main(words: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 all done, 1 some items failed, 2 something is wrong with what was asked for, 3 stopped
    before the end, 130 interrupted."""
    options = parser().parse_args(words)
    if options.out is None and not options.inputs:
        parser().error("--out DIR is needed: the folder for the results")
    # SIGINT too: a shell script that starts the command with & has it ignored.
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        source, servers = read(options.graph), servers_of(options)
        threads = min(1000, len(servers) * (options.in_flight + 1) + 2)
        with started(options.scheduler, threads, PARENT) as cluster:
            return _with_cluster(options, source, servers, cluster)
    except (ValueError, ImportError) as error:
        say(str(error))
        return WRONG
    except KeyboardInterrupt:
        say("\nInterrupted. The same command goes on from here.")
        return INTERRUPTED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def say(text: str) -> None:
    """A line for people."""
    print(text, file=sys.stderr, flush=True)


def _with_cluster(options: argparse.Namespace, source: Json, servers: list[Server], cluster: Cluster) -> int:
    graph = _graph(cluster, source, servers, options.allow_missing)
    if options.inputs:
        for target in graph.targets():
            print(
                f"{target.label} = {graph.prompt[target.node]['inputs'][target.name]!r}  (#{target.node}.{target.name})"
            )
        return DONE
    items = items_of(options, graph)
    servers = fit(cluster, graph, items, servers, options.allow_missing)
    results = Results(options.out)
    what = {"graph": source, "set": options.set, "pairs": options.pairs, "seed": options.seed, "keep": options.keep}
    with results.opened({**what, "csv": str(options.csv or "")}):
        return _run(options, cluster, graph, items, servers, results)


def _graph(cluster: Cluster, source: Json, servers: list[Server], allow_missing: bool) -> Graph:
    """The graph against the node list of the first server that answers and has its nodes."""
    reasons = []
    for server in servers:
        (view,) = cluster.each(task.look, [(server, None, ())])
        if isinstance(view, task.Outcome):
            reasons.append(view.text)
        else:
            try:
                return Graph(source, view.object_info)
            except GraphError as error:
                reasons.append(f"{server.name}: {error}")
        if not allow_missing:
            break
    raise ValueError("\n".join(reasons[:20]))


def items_of(options: argparse.Namespace, graph: Graph) -> Items:
    """What the options ask for. ValueError: they do not fit the graph or each other."""
    axes, fixed = settle([axis_of(graph, setting) for setting in options.set])
    if options.csv is not None:
        axes.append(axis_of_csv(graph, options.csv))
    seeds = [seed_of(graph, setting) for setting in options.seed]
    varied = [target for axis in axes for target, _ in axis.values[0]]
    check_once([*varied, *(target for target, _ in fixed), *(seed.target for seed in seeds)])
    return Items(axes, options.pairs, fixed=fixed, seeds=seeds, total=options.total)


def fit(cluster: Cluster, graph: Graph, items: Items, servers: list[Server], allow_missing: bool) -> list[Server]:
    """The servers that can run the graph; each that cannot is told with its reasons.

    ValueError: one cannot (unless allow_missing), or none can."""
    set_by_run = tuple((target.node, target.name) for target, _ in items[0].values)
    views = cluster.each(task.look, [(server, graph.prompt, set_by_run) for server in servers])
    fitting, faults = [], []
    for server, view in zip(servers, views, strict=True):
        if isinstance(view, task.Outcome):
            faults.append(f"{view.text}.")
        elif view.faults:
            faults.append(told(server.name, list(view.faults)))
        else:
            fitting.append((server, view))
    kinds = {(view.version, view.device) for _, view in fitting}
    if len(kinds) > 1:
        listed = "; ".join(sorted(f"ComfyUI {version} on {device}" for version, device in kinds))
        say(f"Note: the servers differ ({listed}), so the same item may come out slightly different on another.")
    if faults and (not allow_missing or not fitting):
        advice = "" if allow_missing else "\nNothing was queued. --allow-missing goes on without such servers."
        raise ValueError("\n".join(faults) + advice)
    for fault in faults:
        say(f"left out: {fault}")
    return [server for server, _ in fitting]


def _run(
    options: argparse.Namespace, cluster: Cluster, graph: Graph, items: Items, servers: list[Server], results: Results
) -> int:
    finished = results.done()
    before = sum(items.name(index) in finished for index in range(len(items)))
    todo = (index for index in range(len(items)) if items.name(index) not in finished)
    say(f"{len(items)} items, {before} done before, {len(servers)} servers, results in {options.out}")
    results.list_items(items)
    results.forget_failures()
    schedule = Schedule(todo, [server.name for server in servers], options.in_flight, options.tries)
    progress = Progress(len(items), before)
    settings = Settings(options.keep, options.item_timeout, options.patience)
    run = Run(cluster, graph, items, servers, schedule, results, progress, settings)
    code, state = STOPPED, ""
    try:
        run.go()
        code, state = (SOME_FAILED, "some failed") if schedule.given_up else (DONE, "complete")
    except Stopped as stopped:
        state = str(stopped)
    except KeyboardInterrupt:
        code, state = INTERRUPTED, "interrupted"
        progress.say("Ending: taking what is in flight off the servers ...")
    if code in (STOPPED, INTERRUPTED):
        run.leave()
    progress.tick(schedule, time.monotonic(), last=True)
    return _finish(options, schedule, progress, items, results, code, state)


def _finish(
    options: argparse.Namespace,
    schedule: Schedule,
    progress: Progress,
    items: Items,
    results: Results,
    code: int,
    state: str,
) -> int:
    if code == STOPPED:
        say(f"Stopped: {state} The same command goes on from here.")
    if code == INTERRUPTED:
        say("Interrupted. The same command goes on from here.")
    if schedule.given_up:
        say(f"{schedule.given_up} failed: {results.books / 'failed.csv'} says why. The same command tries them again.")
    try:
        page = results.summarise(summary(schedule, progress, state, {"graph": options.graph.name}))
        sheet = results.sheet(items[index] for index in range(min(SHEET, len(items))))
    except files.NotWritten as error:
        say(str(error))
        return STOPPED
    say(f"summary: {page}" + (f"\nfirst {SHEET}: {sheet}" if sheet else ""))
    return code
