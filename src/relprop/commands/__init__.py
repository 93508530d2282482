"""What the command line does, a file per command: called with parsed options, printing results to stdout."""
