"""The grey of colours."""

# Of red, green and blue (ITU-R BT.601).
LUMA_WEIGHTS = (0.299, 0.587, 0.114)


def grey_weights(channels: int) -> tuple[float, ...]:
    """Return the weight of each channel in grey: `LUMA_WEIGHTS` for three channels, otherwise equal weights."""
    return LUMA_WEIGHTS if channels == len(LUMA_WEIGHTS) else (1 / channels,) * channels
