"""Helpers that the course's notebooks import.

Numerics at the bottom (`formats`, `affine`), networks above (`data`, `models`), pictures on top (`plots`, `demos`);
imports point down only. `checks` is what a check cell calls, in the notebook and in the grader alike.
"""

import os

COMMAND = os.environ.get("COURSE_COMMAND", "course")
"""What the reader of a message types for ``course``. Whoever started from a handout: ``python start.py``."""
