"""The run: case by case, with results on disk after each."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import floor, memory
from benchmarks.cases import Case, Plan
from benchmarks.contenders import FOREIGN, SHARING, Call, Contender, UnavailableError, contenders, counted, rules_of
from benchmarks.machine import commit, load_average, machine, now, same, versions
from benchmarks.networks import Stage, layers, network, stage
from benchmarks.timing import Patience, interleaved, summary
from relprop.support.files import write_whole

Record = dict[str, Any]
MOST = 15
"""Rounds that are enough for a median and its quartiles."""
GROWTH = {"zennit": 4, "captum": 4}
"""How many times the activations a contender is thought to need, where nothing was measured; others 3."""


@dataclass
class Session:
    """One run of the program.

    Attributes:
        device: "cpu" or "cuda".
        dtype: of weights and pictures.
        threads: of PyTorch.
        memory_batches: numbers of pictures for which peak memory is measured on the CPU.
        models: the network at hand.
        peaks: bytes per picture that were seen, by network, method and contender.
        nursery: where memory is measured.
    """

    device: str
    dtype: torch.dtype
    threads: int
    memory_batches: tuple[int, ...] = (4,)
    models: dict[str, torch.nn.Module] = field(default_factory=dict)
    peaks: dict[tuple[str, str, str], float] = field(default_factory=dict)
    nursery: memory.Nursery | None = None

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def stage(self, case: Case) -> Stage:
        """Return the case's stage; one network is held at a time."""
        if case.network not in self.models:
            self.models.clear()
            self.models[case.network] = network(case.network).to(self.device, self.dtype)
        return stage(case.network, case.batch, self.models[case.network], self.device, self.dtype)

    def close(self) -> None:
        """End what was started."""
        if self.nursery is not None:
            self.nursery.close()
            self.nursery = None


def measured(session: Session, case: Case, plan: Plan, tell: Callable[[str, float], object]) -> Record:
    """Return the record of a case."""
    it = session.stage(case)
    one = replace(it, x=it.x[:1], target=it.target[:1])
    flops = counted(lambda: it.model(one.x)) * case.batch
    found: dict[str, Record] = {}
    calls: dict[str, Call] = {}

    def excused(name: str, error: Exception) -> bool:
        """Tell a peer's failure, or a machine too small, in the table; what else goes wrong ends the run."""
        found[name] = {"skipped": f"{type(error).__name__}: {error}".splitlines()[0]}
        return name in FOREIGN or isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)

    with ExitStack() as stack:
        for name, ready in contenders(case.method).items():
            tell(f"{name}, warming up", 0.0)
            try:
                refuse_if_short(session, case, one, name)
                calls[name], work = warmed(stack, name, ready, it, one if plan.dear else None, case.method)
                found[name] = {"passes": round(work / flops, 3)}
            except UnavailableError as reason:
                found[name] = {"skipped": str(reason)}
            except Exception as error:
                if not excused(name, error):
                    raise
        patience = Patience(plan.seconds, plan.least, MOST)
        for name, runs in interleaved(calls, patience, session.synchronise, tell, excused).items():
            found[name]["seconds"] = summary(runs)
    if case.method not in SHARING:
        weigh(session, case, it, found, tell)
        work_on_paper = floor.work(layers(one), rules_of(one, case.method), floor.innvestigate)
        found["innvestigate"] = {"passes": round(work_on_paper, 3)}
    return {
        "network": case.network,
        "batch": case.batch,
        "method": case.method,
        "date": now(),
        "commit": commit(),
        "load_average": load_average(),
        "forward_flops": flops,
        "contenders": found,
    }


def warmed(
    stack: ExitStack, name: str, ready: Contender, it: Stage, one: Stage | None, method: str
) -> tuple[Call, float]:
    """Return a contender made ready and warm, and the floating-point operations of its run.

    Args:
        stack: what closes it.
        name: its name.
        ready: makes it ready.
        it: the case's stage.
        one: the stage with one picture, where the whole batch would take too long to warm up on. Plain passes and
            relprop, which may keep a plan per shape, warm up on the whole batch all the same.
        method: the method.
    """
    if one is not None and name not in ("forward", "gradient", "relprop"):
        with ready(one, method) as call:
            work = counted(call) * len(it.x)
        return stack.enter_context(ready(it, method)), work
    call = stack.enter_context(ready(it, method))
    if name.startswith("relprop"):
        call()  # what it keeps from the first run counts from the second on
    return call, counted(call)


def refuse_if_short(session: Session, case: Case, one: Stage, name: str) -> None:
    """Raise UnavailableError where the machine's memory would not do."""
    per_picture = session.peaks.get((case.network, case.method, name))
    if per_picture is None:
        per_picture = activations(one) * GROWTH.get(name, 3)
    needed = per_picture * case.batch + sum(p.numel() * p.element_size() for p in one.model.parameters())
    there = torch.cuda.mem_get_info()[0] if session.device == "cuda" else memory.free()
    if needed > 0.9 * there:
        raise UnavailableError(
            f"it needs about {needed / 2**30:.1f} GiB beside what is loaded, and {there / 2**30:.1f} GiB are free"
        )


def activations(one: Stage) -> int:
    """Return the bytes of all modules' outputs for a picture."""
    total = 0

    def add(_: Any, __: Any, output: Any) -> None:
        nonlocal total
        total += output.numel() * output.element_size()

    leaves = [module for module in one.model.modules() if not list(module.children())]
    handles = [module.register_forward_hook(add) for module in leaves]
    try:
        with torch.no_grad():
            one.model(one.x)
    finally:
        for handle in handles:
            handle.remove()
    return total


def weigh(
    session: Session, case: Case, it: Stage, found: dict[str, Record], tell: Callable[[str, float], object]
) -> None:
    """Add the contenders' peak memory: on a CPU each in a process of its own, on a GPU each with a model of its own."""
    if session.device == "cpu" and case.batch not in session.memory_batches:
        return
    for name, record in found.items():
        if "seconds" not in record or name in memory.LEFT_OUT:
            continue
        tell(f"{name}, peak memory", 0.0)
        if session.device == "cuda":
            own = replace(it, model=deepcopy(it.model), copy=False)
            with contenders(case.method)[name](own, case.method) as call:
                record["memory"] = memory.on_cuda(call)
        elif not memory.available() or session.dtype != torch.float32:
            record["memory"] = {"skipped": "measured on Linux alone, in float32"}
        else:
            session.nursery = session.nursery or memory.Nursery(session.threads)
            record["memory"] = session.nursery.measure(case.network, case.batch, case.method, name)
        if "peak" in record["memory"]:
            session.peaks[case.network, case.method, name] = record["memory"]["peak"] / case.batch


# -- all cases, and the file ------------------------------------------------------------------------


def run(session: Session, plans: dict[Case, Plan], path: Path, quick: bool, fresh: bool) -> Record:
    """Measure every case, and return what then stands in the file."""
    results = opened(path, machine(session.device, session.threads, session.dtype), quick, fresh)
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"), TimeElapsedColumn(),
        console=console, transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=sum(plan.whole for plan in plans.values()), left="")
        done = 0.0
        for case, plan in plans.items():
            ends = done + plan.whole

            def tell(name: str, seconds: float, case: Case = case, ends: float = ends) -> None:
                bar.update(task, description=f"{case.key} {name}")
                at = bar.tasks[0].completed
                bar.update(task, completed=min(at + seconds, ends), left=left(bar.tasks[0]))

            bar.update(task, description=f"{case.key} warming up", left=left(bar.tasks[0]))
            results["cases"][case.key] = measured(session, case, plan, tell) | {"quick": quick}
            write(path, results)
            console.print(line(case, results["cases"][case.key]), highlight=False, soft_wrap=True)
            done = ends
            bar.update(task, completed=done, left=left(bar.tasks[0]))
    session.close()
    return results


def left(task: Any) -> str:
    """Return how long the rest of the plan is."""
    seconds = max(task.total - task.completed, 0)
    return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"


def line(case: Case, record: Record) -> str:
    """Return a case in a line."""
    seconds = {n: c["seconds"] for n, c in record["contenders"].items() if "seconds" in c}
    if "gradient" not in seconds:
        return f"{case.key}: not measured; {record['contenders']['gradient']['skipped']}"
    unit = seconds["gradient"]["median"]
    times = ", ".join(f"{n} {s['median'] / unit:.2f}" for n, s in seconds.items() if n != "gradient")
    rounds = len(seconds["gradient"]["runs"])
    return f"{case.key}: gradient {1000 * unit:.1f} ms = 1; {times} ({rounds} round{'s' if rounds > 1 else ''})"


def opened(path: Path, about: Record, quick: bool, fresh: bool) -> Record:
    """Return the results so far, to be added to, if they are of this machine and these libraries; else empty ones."""
    before = {} if fresh or not path.exists() else json.loads(path.read_text())
    alike = before and same(before["machine"], about) and before["versions"] == versions()
    cases = before["cases"] if alike else {}
    return {"machine": about, "versions": versions(), "quick": quick, "date": now(), "cases": cases}


def write(path: Path, results: Record) -> None:
    """Write the results so that a file is never half there."""
    write_whole(path, (json.dumps(results, indent=1) + "\n").encode())
