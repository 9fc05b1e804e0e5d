"""Perturbations other than the One-Pixel Shortcut: one paper per file, one interface (`base.Method`)."""

__all__ = ["base", "foreign", "from_file", "learned", "noise_file", "noise_order", "own", "registry"]
