"""The one exception that a person is meant to read."""


class CourseError(Exception):
    """Something a user can mend. The message names the culprit and what to do; the CLI prints it on one line."""
