"""Benchmarks: `python -m bench.NAME [--json] [--quick]`. Numbers in the docs come from here."""
