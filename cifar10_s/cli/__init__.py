"""The command line, one group of commands per file."""

__all__ = ["app"]
