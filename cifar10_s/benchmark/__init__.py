"""Train networks on a release under a pinned protocol, and evaluate them."""

__all__ = ["grid", "measures", "protocols", "record", "record_checks", "strategies", "submission"]
