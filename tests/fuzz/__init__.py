"""Fuzz every reader with hostile input. Run ``python -m fuzz`` in ``tests``, or ``make fuzz``."""
