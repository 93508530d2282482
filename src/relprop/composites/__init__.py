"""Which rule each op gets."""
