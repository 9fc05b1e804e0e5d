"""Files that hold an array, one format per module, with one interface (`base.ArrayFile`)."""

__all__ = ["base", "npy", "registry", "torch_pt"]
