"""What is explained today, and what blocks the rest: `python -m scripts.coverage`."""
