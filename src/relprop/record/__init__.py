"""An unmodified model runs once and is written down."""
