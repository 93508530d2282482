"""The command line: parse, call, and turn errors into one line. A file here is a group of commands."""

from relprop.cli import explain, methods, models, serve, study, tools
from relprop.cli.app import app, main

__all__ = ["app", "explain", "main", "methods", "models", "serve", "study", "tools"]
