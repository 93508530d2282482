"""The tables of docs/real.md: does a method that finds objects also name what the network goes by?

    python -m scripts.real_table build/squeezenet build/lite0

prints for each study, in Markdown, every method's localisation (mu_w), symmetric relevance gain (SRG, the mean over
the replacements that were measured) and likeness to the map of a randomised network (cosine at the last stage), each
less `cmp-alpha2-flat` on the pairs that both define, and the verdicts on the paper's claims.
"""  # noqa: INP001 - a script beside the package, no part of one

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import relprop as rp
from relprop.study.results import Study
from relprop.study.statistics import Floats, Ints, interval

REFERENCE = "cmp-alpha2-flat"


def columns(study: Study) -> Iterator[tuple[str, Floats, Ints]]:
    """Every measure with its values (P, M), a column a method, and the picture of each of its P pairs."""
    yield "mu_w", study.rows.values["mu_w"], study.rows.picture
    for measure, column in (("flipping", "srg"), ("randomisation", "cosine")):
        found = study.later[measure].whole()
        if measure == "randomisation":
            stage = found["stage"].to_numpy()
            found = found.filter(stage == stage.max())
        pairs = list(zip(found["image_index"].to_pylist(), found["class_name"].to_pylist(), strict=True))
        places = {pair: k for k, pair in enumerate(dict.fromkeys(pairs))}
        sums, numbers = np.zeros((2, len(places), len(study.methods)))
        at = [places[pair] for pair in pairs], [study.methods.index(m) for m in found["method"].to_pylist()]
        np.add.at(sums, at, found[column].to_numpy())  # of a map without an order NaN, which stays
        np.add.at(numbers, at, 1)
        picture = np.searchsorted(study.indices, [index for index, _ in places])
        yield ("SRG" if measure == "flipping" else "likeness"), sums / np.where(numbers, numbers, np.nan), picture


def table(study: Study) -> str:
    """Methods by mu_w, each measure's mean and by how much it differs from the reference."""
    found = list(columns(study))
    reference = study.methods.index(REFERENCE)
    lines = [
        "| method | " + " | ".join(f"{name} | less `{REFERENCE}`" for name, _, _ in found) + " |",
        "|---|" + "---|---|" * len(found),
    ]
    for k in study.ranking:
        cells = []
        for _, values, picture in found:
            mean = study.resamples.means(values[:, [k]], picture).mean[0]
            cells += ["" if np.isnan(mean) else f"{mean:.2f}", less(study, values, picture, k, reference)]
        lines.append(f"| `{study.methods[k]}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def less(study: Study, values: Floats, picture: Ints, k: int, reference: int) -> str:
    """A method less the reference, where both are defined; bold where the interval leaves 0 out."""
    means = study.resamples.means((values[:, k] - values[:, reference])[:, None], picture)
    if k == reference or not means.defined[0]:
        return ""
    (low,), (high,) = interval(means.draws)
    text = f"{means.mean[0]:+.2f} [{low:+.2f}, {high:+.2f}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def main() -> None:
    """Print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="STUDY")
    for folder in parser.parse_args().folders:
        study = rp.study.read(folder)
        print_ = sys.stdout.write
        print_(f"### {study.model}, {study.extent}\n\n{table(study)}\n\n")
        for claim in rp.study.judge(study):
            print_(f"{claim.number}. **{claim.verdict}**: {claim.text}\n")
        print_("\n")


if __name__ == "__main__":
    main()
