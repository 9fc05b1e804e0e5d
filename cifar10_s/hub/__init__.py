"""Push releases to the Hugging Face Hub, and verify them there."""

__all__ = ["publish", "space", "verification"]
