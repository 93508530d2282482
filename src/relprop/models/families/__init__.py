"""Where networks come from: one file a family, each with names, what it needs, and how to load."""
