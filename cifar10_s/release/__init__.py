"""What a release is: recipes, layout, manifest, shards, card, metrics, verification."""

__all__ = [
    "attribution",
    "card",
    "compose",
    "croissant",
    "known_pixels",
    "layout",
    "manifest",
    "metrics",
    "own_method",
    "reader",
    "recipe_record",
    "recipe_table",
    "recipes",
    "shards",
    "stored_noise",
    "verification",
]
