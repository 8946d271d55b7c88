"""The walls around a student's code: what it cannot reach, which calls refuse, and how refusals are told."""
