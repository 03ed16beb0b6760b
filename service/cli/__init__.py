"""The command line: wires everything together, and opens and closes transactions."""

from service.cli.running import main

__all__ = ["main"]
