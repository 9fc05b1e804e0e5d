"""Helpers that tests share: oracles, a local Hub, synthetic images and records. No test imports another test."""
