"""Workers, their scheduling, and the clock: the parent schedules, one process per framework measures."""
