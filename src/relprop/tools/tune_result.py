"""What `tune` finds, as plain data that prints itself: the finalists beside the named methods, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from relprop.composites.composite import Composite
from relprop.composites.written import as_code, save_composite
from relprop.study.statistics import Estimate
from relprop.support.tables import counted, folded, html_table, text_table

FEW = 30
"""On fewer pictures nothing is decided."""
BEATS, NOT, UNDECIDED = "beats", "does not beat", "undecided"


@dataclass(frozen=True)
class Told:
    """A method on the pictures that the search did not see.

    Attributes:
        name: of a finalist or of a named method.
        text: what was chosen for a finalist; empty of a named method.
        estimates: by measure the mean over the pairs that all methods define, and its 95 % interval.
        differences: by measure the chosen composite's value less this method's, pair by pair, and its interval; of the
            chosen one itself none.
        searched: by measure the mean on the pictures that it was searched by; of a named method none.
    """

    name: str
    text: str
    estimates: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]
    searched: Mapping[str, float]

    def verdict(self, measure: str, pictures: int) -> str:
        """Whether the chosen composite beats this method: by the interval of the difference."""
        return verdict(self.differences[measure], pictures)


def verdict(difference: Estimate, pictures: int) -> str:
    """Say whether a difference is above zero: undecided where its interval holds zero, or there are few pictures.

    Where all of it is zero the two are the same, and neither beats the other.
    """
    if difference.low == difference.high == 0:
        return NOT
    if pictures < FEW or not (difference.low > 0 or difference.high < 0):
        return UNDECIDED
    return BEATS if difference.low > 0 else NOT


@dataclass(frozen=True, repr=False)
class Tuned:
    """The composite of a space that explains a model best, as far as the data tells.

    Attributes:
        best: the composite that the search chose.
        by: the measures that it was searched by.
        finalists: those that saw all pictures of the search, the chosen one first.
        presets: named methods, the best by the first measure first.
        space: its name.
        candidates: how many of it were looked at; `distinct`: how many of them are different on this network.
        rounds: of the search: how many candidates on how many pictures.
        pictures: how many were searched by, and how many this table is of.
        pairs: of a picture and a class that the table is over, and how many there are.
        maps: how many were made, not counting those found on disk; `seconds`: of CPU time.
        history: by candidate, the mean of the first measure in each round that it was in.
        left_out: why candidates, methods and pictures are not among them, by name.
    """

    best: Composite
    by: tuple[str, ...]
    finalists: tuple[Told, ...]
    presets: tuple[Told, ...]
    space: str
    candidates: int
    distinct: int
    rounds: tuple[tuple[int, int], ...]
    pictures: tuple[int, int]
    pairs: tuple[int, int]
    maps: int
    seconds: float
    history: Mapping[str, tuple[float, ...]]
    left_out: Mapping[str, str]

    @property
    def rival(self) -> Told | None:
        """The named method that is best on the very pictures of the table, which favours it; None without any."""
        return self.presets[0] if self.presets else None

    @property
    def verdict(self) -> str:
        """Whether the chosen composite "beats" or "does not beat" the best named method by the first measure."""
        return self.rival.verdict(self.by[0], self.pictures[1]) if self.rival else UNDECIDED

    @property
    def code(self) -> str:
        """Python code that makes the chosen composite."""
        return as_code(self.best)

    def save(self, path: str | Path) -> None:
        """Write the chosen composite as TOML, which every command takes as a method.

        Raises:
            WriteError: the file cannot be written.
        """
        save_composite(self.best, path, f"{self._sentence()}\nTo be used as --method {Path(path).name}")

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON; what is not a number is None."""
        rival = self.rival
        data = asdict(self) | {
            "best": str(self.best),
            "code": self.code,
            "verdict": self.verdict,
            "rival": rival.name if rival else None,
        }
        found: dict[str, Any] = _plain(data)
        return found

    def __repr__(self) -> str:
        return f"Tuned({self.finalists[0].text or self.finalists[0].name}: {self._sentence()})"

    def __str__(self) -> str:
        """The table, the verdict and the code."""
        table = text_table(self._head(), self._rows())
        return f"{folded(self._caption())}\n\n{table}\n\n{folded(self._sentence())}\n\n{self.code}"

    def _repr_html_(self) -> str:
        """What a notebook shows: the table."""
        return html_table(f"{self._caption()}. {self._sentence()}", self._head(), self._rows())

    def _caption(self) -> str:
        rounds = ", ".join(f"{candidates} on {pictures}" for candidates, pictures in self.rounds)
        return (
            f"space {self.space}: {counted(self.candidates, 'candidate')}, {self.distinct} distinct here; searched by "
            f"{', '.join(self.by)}: {rounds} pictures\n"
            f"told on {counted(self.pictures[1], 'other picture')}, {self.pairs[0]} of {self.pairs[1]} pairs of "
            f"picture and class, which all methods define; 95 % intervals"
        )

    def _sentence(self) -> str:
        """The verdict in words."""
        rival = self.rival
        if rival is None:
            return "There is no named method to compare it with."
        measure = self.by[0]
        words = {BEATS: "beats", NOT: "does not beat", UNDECIDED: "does not decidedly differ from"}[self.verdict]
        gap = rival.differences[measure]
        same = "; they give the same maps" if gap.low == gap.high == 0 else ""
        few = f"; {self.pictures[1]} pictures decide nothing" if self.pictures[1] < FEW else ""
        return f"The chosen composite {words} {rival.name} in {measure}: difference {_signed(gap)}{same}{few}"

    def _head(self) -> tuple[str, ...]:
        return ("method", *(word for m in self.by for word in (m, "chosen less this", "")), "rules")

    def _rows(self) -> list[tuple[str, ...]]:
        return [self._row(told) for told in (*self.finalists, *self.presets)]

    def _row(self, told: Told) -> tuple[str, ...]:
        cells = [told.name]
        for measure in self.by:
            cells.append(_number(told.estimates[measure]))
            gap = told.differences.get(measure)
            cells += ["", "chosen"] if gap is None else [_signed(gap), told.verdict(measure, self.pictures[1])]
        return (*cells, told.text)


def _number(of: Estimate) -> str:
    return f"{of.mean:.4g} [{of.low:.4g}, {of.high:.4g}]"


def _signed(of: Estimate) -> str:
    return f"{of.mean:+.3g} [{of.low:+.3g}, {of.high:+.3g}]"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 - not a number
