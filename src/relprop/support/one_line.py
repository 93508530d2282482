"""Texts of strangers (names in files, errors of libraries) as part of one printable line."""

from __future__ import annotations


def printable(text: str, most: int = 80) -> str:
    """Return a text from a file as it is, or escaped and cut where it would not be safe to print in one line."""
    return text if len(text) <= most and text.isprintable() else ascii(text[:most])[1:-1]


def first_line(error: BaseException) -> str:
    """Return the first line of what a library says went wrong, fit to print; its kind where it says nothing."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return printable(line, 200) if line else type(error).__name__


def told_by(error: BaseException) -> str:
    """Return all that a library says went wrong, in one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
