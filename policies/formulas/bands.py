"""What makes a pair of ratios a band that a fleet can rest in. Pure."""


def check_band(upper: float, lower: float) -> None:
    """Refuse a band in which adding one worker would call for taking it away again.

    Adding a worker to one divides tasks per worker by two: a narrower band would start and stop the same one for ever.

    Raises:
        ValueError: names both fields with their values.
    """
    if upper < 2 * lower:
        raise ValueError(
            f"upper_task_ratio {upper:g} must be at least twice lower_task_ratio "
            f"{lower:g}, or one worker is started and stopped for ever under constant demand"
        )
