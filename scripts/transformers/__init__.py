"""Which method explains networks that attend best: flipping on real ones."""
