"""The command line: one file a command; :mod:`continuum.cli.output` is the only place that prints."""
