"""Hostile input for every reader: a harness each over one loop. ``python -m fuzz`` from ``tests`` runs them."""
