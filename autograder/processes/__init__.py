"""The processes that grade: what forks them, what they say to each other, examiner and candidate."""
