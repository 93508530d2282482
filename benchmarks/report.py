"""Results as Markdown tables: time, passes, memory, much at once, and the goals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmarks.cases import ALL, TEN
from benchmarks.figure import bars

Record = Mapping[str, Any]
NONE = "–"  # noqa: RUF001 - an empty cell


def shown(results: Record, path: Path) -> None:
    """Write the table beside the results' file, and the picture where there is something to draw."""
    path.with_suffix(".md").write_text(markdown(results))
    picture = bars(results)
    if picture is not None:
        picture.savefig(path.with_suffix(".png"), dpi=160)


def markdown(results: Record) -> str:
    """Return all tables as one page."""
    notes = Notes()
    ordinary = [case for case in results["cases"].values() if case["method"] not in (TEN, ALL)]
    at_once = [case for case in results["cases"].values() if case["method"] in (TEN, ALL)]
    parts = [
        heading(results),
        section("Time", TIME, HEAD_TIME, (time_row(case, results, notes) for case in ordinary)),
        section("Much at once", AT_ONCE, HEAD_AT_ONCE, map(at_once_row, at_once)),
        section("Passes", PASSES, HEAD_PASSES, passes_rows(ordinary, notes)),
        section("Peak memory", MEMORY, HEAD_MEMORY, memory_rows(ordinary)),
        section("Goals", GOALS, HEAD_GOALS, goal_rows(results)),
        notes.text(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


@dataclass
class Notes:
    """Reasons for gaps, each told once."""

    known: dict[str, str] = field(default_factory=dict)

    def mark(self, reason: str) -> str:
        """Return the sign of a reason."""
        return self.known.setdefault(reason, f"[{len(self.known) + 1}]")

    def text(self) -> str:
        """Return all of them."""
        return "\n".join(f"{sign} {reason}.  " for reason, sign in self.known.items())


def heading(results: Record) -> str:
    """Return what was measured, on what, with what."""
    m, v = results["machine"], results["versions"]
    where = f"{m['gpu']}, " if m.get("gpu") else ""
    ram = f", {m['ram'] / 2**30:.0f} GiB" if m.get("ram") else ""
    commits = sorted({case["commit"] for case in results["cases"].values()})
    lines = [
        f"# Speed and memory: {m['device']}, {threads(m)}, {m['dtype']}",
        "",
        f"- {where}{m['cpu']}, {m['cores']} cores{ram}, {m['system']}; load average when it began {m['load_average']}",
        f"- {', '.join(f'{name} {number}' for name, number in v.items())}",
        f"- {results['date']} UTC, commit {', '.join(commits) or NONE} (+: with changes in src)",
        f"- shares of peak are of {m['peak_flops'] / 1e12:.3g} TFLOP/s ({m['peak_source']})",
    ]
    if results["quick"]:
        lines += ["", "**A quick run: it shows that everything works. Its figures are noisy, and not for quoting.**"]
    return "\n".join(lines)


def threads(machine: Record) -> str:
    """Return "2 threads"."""
    return "1 thread" if machine["threads"] == 1 else f"{machine['threads']} threads"


def section(title: str, text: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a heading, what the table means, and the table; nothing where it has no rows."""
    body = [f"| {' | '.join(row)} |" for row in rows]
    names = list(head)
    if not body:
        return ""
    ruler = "|" + "|".join("---" if k < 3 else "---:" for k in range(len(names))) + "|"
    return "\n".join([f"## {title}", "", text, "", f"| {' | '.join(names)} |", ruler, *body])


# -- time -------------------------------------------------------------------------------------------

TIME = """\
Plain gradient (of the input alone) in milliseconds; all others in times of it: ratios of medians of runs that took
turns, with the quartiles of the runs. The floor is the convolution and matrix calls that the method cannot do
without, and nothing else. With alpha 2 that is five passes; below a ReLU four will do, as z+ is the output less z-."""
HEAD_TIME = (
    "network",
    "pictures",
    "method",
    "gradient, ms",
    "forward",
    "floor",
    "floor of four",
    "relprop",
    "zennit",
    "Captum",
    "relprop / floor",
    "zennit / relprop",
    "Captum / relprop",
    "pictures/s",
    "share of peak",
    "rounds",
)


def median(case: Record, name: str, what: str = "median") -> float | None:
    """Return the seconds of a contender; None if it did not run."""
    seconds = case["contenders"].get(name, {}).get("seconds")
    return None if seconds is None else float(seconds[what])


def rounds(case: Record) -> int:
    """Return how often each contender ran."""
    runs = (len(told["seconds"]["runs"]) for told in case["contenders"].values() if "seconds" in told)
    return max(runs, default=0)


def ratio(case: Record, one: str, other: str) -> float | None:
    """Return how many times as long as another a contender takes."""
    above, below = median(case, one), median(case, other)
    return None if above is None or below is None else above / below


def time_row(case: Record, results: Record, notes: Notes) -> list[str]:
    """Return the cells of a case."""
    unit, ours = median(case, "gradient"), median(case, "relprop")

    def times(name: str) -> str:
        if name not in case["contenders"] or unit is None:
            return NONE
        if "seconds" not in case["contenders"][name]:
            silent = name == "floor-four"
            return NONE if silent else notes.mark(case["contenders"][name]["skipped"])
        low, middle, high = ((median(case, name, what) or 0) / unit for what in ("q1", "median", "q3"))
        if rounds(case) == 1:
            return f"{middle:.2f}"
        return f"{middle:.2f}" if name == "forward" else f"{middle:.2f} ({low:.2f} to {high:.2f})"

    least = case["contenders"].get("floor", {}).get("passes")
    useful = None if ours is None or least is None else least * case["forward_flops"] / ours
    return [
        case["network"],
        str(case["batch"]),
        case["method"] + (" (quick)" if case.get("quick") and not results["quick"] else ""),
        NONE if unit is None else f"{1000 * unit:.1f}",
        *map(times, ("forward", "floor", "floor-four", "relprop", "zennit", "captum")),
        cell(ratio(case, "relprop", "floor")),
        cell(ratio(case, "zennit", "relprop")),
        cell(ratio(case, "captum", "relprop")),
        NONE if ours is None else f"{case['batch'] / ours:.3g}",
        NONE if useful is None else f"{100 * useful / results['machine']['peak_flops']:.0f} %",
        str(rounds(case)),
    ]


def cell(value: float | None) -> str:
    """Return a ratio."""
    return NONE if value is None else f"{value:.2f}"


# -- much at once -----------------------------------------------------------------------------------

AT_ONCE = """\
One `explain` of ten classes, or of the paper's eight configurations, beside as many runs one after the other; in
times of one plain gradient."""
HEAD_AT_ONCE = (
    "network",
    "pictures",
    "what",
    "gradient, ms",
    "relprop, at once",
    "relprop, apart",
    "zennit",
    "at once / apart",
    "zennit / at once",
    "rounds",
)


def at_once_row(case: Record) -> list[str]:
    """Return the cells of a case."""
    return [
        case["network"],
        str(case["batch"]),
        case["method"],
        NONE if (unit := median(case, "gradient")) is None else f"{1000 * unit:.1f}",
        *(cell(ratio(case, name, "gradient")) for name in ("relprop", "relprop-apart", "zennit")),
        cell(ratio(case, "relprop", "relprop-apart")),
        cell(ratio(case, "zennit", "relprop")),
        str(rounds(case)),
    ]


# -- passes -----------------------------------------------------------------------------------------

PASSES = """\
Floating-point operations of all convolutions and matrix products that ran, in forward passes of the network
(counted by PyTorch's table of them, beneath each library); iNNvestigate's are counted on paper, from its rules."""
HEAD_PASSES = ("network", "method", "floor", "floor of four", "relprop", "zennit", "Captum", "iNNvestigate")


def passes_rows(cases: Iterable[Record], notes: Notes) -> list[list[str]]:
    """Return a row per network and method; passes do not depend on the number of pictures."""
    names = ("floor", "floor-four", "relprop", "zennit", "captum", "innvestigate")
    rows: dict[tuple[str, str], list[str]] = {}
    for case in cases:
        cells = []
        for name in names:
            told = case["contenders"].get(name, {})
            silent = name == "floor-four" or "skipped" not in told
            cells.append(cell(told["passes"]) if "passes" in told else NONE if silent else notes.mark(told["skipped"]))
        rows.setdefault((case["network"], case["method"]), [case["network"], case["method"], *cells])
    return list(rows.values())


# -- memory -----------------------------------------------------------------------------------------

MEMORY = """\
Beyond weights and input. On a CPU: how far the resident memory of a fresh process rises in one run; on a GPU: what
PyTorch's allocator held at most. The gradient's in MiB, the others in times of it; *kept* is what relprop still holds
after the run, the C library's own reserves included."""
HEAD_MEMORY = ("network", "pictures", "method", "gradient, MiB", "forward", "relprop", "zennit", "Captum", "kept, MiB")


def peak(case: Record, name: str) -> float | None:
    """Return the peak memory of a contender in bytes; None if it was not measured."""
    found: int | None = case["contenders"].get(name, {}).get("memory", {}).get("peak")
    return found


def memory_rows(cases: Iterable[Record]) -> Iterable[list[str]]:
    """Yield a row per case in which memory was measured."""
    for case in cases:
        unit = peak(case, "gradient")
        if not unit:
            continue
        times = [(peak(case, name) or 0) / unit for name in ("forward", "relprop", "zennit", "captum")]
        kept = case["contenders"]["relprop"].get("memory", {}).get("kept", 0)
        cells = [f"{value:.2f}" if value else NONE for value in times]
        yield [
            case["network"], str(case["batch"]), case["method"], f"{unit / 2**20:.0f}", *cells, f"{kept / 2**20:.0f}"
        ]  # fmt: skip


# -- goals ------------------------------------------------------------------------------------------

GOALS = "What the project set itself, case by case, in the figures above."
HEAD_GOALS = ("case", "what", "goal", "measured", "met")


@dataclass(frozen=True)
class Goal:
    """A bound that a case is held to.

    Attributes:
        cases: filter of the cases.
        what: for people.
        value: of a case's record; None where it was not measured.
        most: the largest value that will do; if None, `least` counts.
        least: the smallest.
    """

    cases: str
    what: str
    value: Callable[[Record], float | None]
    most: float | None = None
    least: float = 0.0

    def met(self, value: float) -> bool:
        """Whether a value will do."""
        return value >= self.least if self.most is None else value <= self.most

    @property
    def bound(self) -> str:
        """The bound, for people."""
        return f"≥ {self.least:g}" if self.most is None else f"≤ {self.most:g}"


def _time(one: str, other: str) -> Callable[[Record], float | None]:
    return lambda case: ratio(case, one, other)


def _memory(one: str, other: str) -> Callable[[Record], float | None]:
    def value(case: Record) -> float | None:
        above, below = peak(case, one), peak(case, other)
        return above / below if above and below else None

    return value


GOALS_SET = (
    Goal("vgg16:*[46]:cmp-alpha1-flat", "time, relprop / floor", _time("relprop", "floor"), most=1.12),
    Goal("vgg16:*[46]:cmp-alpha1-flat", "time, zennit / relprop", _time("zennit", "relprop"), least=2.3),
    Goal("vgg16:*[46]:cmp-alpha2-flat", "time, relprop / floor of five passes", _time("relprop", "floor"), most=1.15),
    Goal("vgg16:*[46]:cmp-alpha2-flat", "time, zennit / relprop", _time("zennit", "relprop"), least=3),
    Goal("vgg16:*[46]:lrp-epsilon", "time, relprop / gradient", _time("relprop", "gradient"), most=1.08),
    Goal(f"*:{TEN}", "time, zennit's runs / one explain", _time("zennit", "relprop"), least=5),
    Goal(f"*:{ALL}", "time, zennit's runs / one explain", _time("zennit", "relprop"), least=4),
    Goal(f"*:{ALL}", "time, one explain / eight of ours", _time("relprop", "relprop-apart"), most=0.45),
    Goal("[rs]*:*:*", "time, zennit / relprop", _time("zennit", "relprop"), least=1),
    Goal("[!t]*:*:*", "time, Captum / relprop", _time("captum", "relprop"), least=1),
    Goal("*:cmp-alpha1-flat", "peak memory, relprop / gradient", _memory("relprop", "gradient"), most=1.25),
    Goal("*", "peak memory, relprop / zennit", _memory("relprop", "zennit"), most=1),
    Goal("*", "peak memory, relprop / Captum", _memory("relprop", "captum"), most=1),
)


def goal_rows(results: Record) -> Iterable[list[str]]:
    """Yield a row per goal and case that has it."""
    for key, case in results["cases"].items():
        for goal in GOALS_SET:
            value = goal.value(case) if fnmatchcase(key, goal.cases) else None
            if value is not None:
                yield [key, goal.what, goal.bound, f"{value:.2f}", "yes" if goal.met(value) else "**no**"]
