"""The command ``course``: its groups of commands are in `commands`."""

from __future__ import annotations

from pathlib import Path

import click

from autograder import ROOT
from autograder.commands import author, instructor, profiling, records, student
from autograder.errors import CourseError
from autograder.sandbox.strangers import visible

EXTRAS = {
    "lab": ("jupyterlab", "jupyter_client", "nbclient", "nbformat"),
    "grading": (
        "bleach",
        "dask",
        "distributed",
        "jupytext",
        "msgpack",
        "nbgrader",
        "pandas",
        "sqlalchemy",
        "yaml",
    ),
    "dev": ("psutil", "sphinx"),
}
"""What pyproject.toml installs only if it is asked for: extra -> modules that a command may then miss."""


class OneLine(click.ClickException):
    """A `CourseError` as a person sees it: one line on stderr, exit code 2."""

    exit_code = 2

    def show(self, file=None) -> None:
        click.echo(visible(f"course: {self.format_message()}"), file=file, err=True)


class Course(click.Group):
    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except CourseError as error:
            raise OneLine(" ".join(str(error).split())) from error
        except ModuleNotFoundError as error:
            if not (told := what_to_do(error.name or "")):
                raise
            raise OneLine(told) from error


def what_to_do(missing: str) -> str:
    """One line for a module that is not there, or an empty text if nobody expects it to be missing."""
    top = missing.partition(".")[0]
    if top in ("fcntl", "resource"):  # which Windows lacks
        return "this command runs answers, which needs a POSIX system: use it on Linux or macOS, or in Windows' WSL"
    if top == "autograder":  # the students' package is without the grader
        return "this command is for instructors and authors: it needs the course's repository, not what students get"
    for extra, modules in EXTRAS.items():
        if top in modules:
            needed = f"python -m pip install 'quantization-course[{extra}]'"
            return f"{top} is not installed, which this command needs: {needed}"
    return ""


@click.group(cls=Course, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--root", type=click.Path(path_type=Path), default=ROOT, hidden=True, help="The course's folder.")
@click.pass_context
def main(context: click.Context, root: Path) -> None:
    """The quantization course: build its labs, grade submissions, look at grades.

    \b
    A student's evening:
      course lab                                     JupyterLab, at the start page
      course check notebooks/02_quantization_helpers/02_quantization_helpers.ipynb
      course profile my.toml                         which layer of a network hurts in few bits?

    \b
    An instructor's week:
      course handout --to DIR                        what students get: one folder, one zip
      course status                                  where each lab stands, and what to do next
      course collect 02_quantization_helpers submissions.zip
      course grade 02_quantization_helpers           then: course mark, feedback, export
      course gradebook                               who has how many points
      course report                                  which exercise went wrong, and how (HTML)

    \b
    An author's hour:
      course new 07_pruning --exercise prune         a skeleton: what is to be written is marked TODO
      course gates 02_quantization_helpers           is the lab honest? every variant, its score, its message
      course mutants 02_quantization_helpers mse     do the checks catch the slips that nobody thought of?
    """
    here = Path.cwd()
    if root == ROOT != here and (here / "solutions").is_dir() and (here / "autograder").is_dir():
        told = f"this folder is a course of its own, and this `course` takes labs and roster from {ROOT}"
        raise CourseError(f"{told}: go there, or activate the environment (.venv) of this one")
    context.obj = root


for command in (
    *(student.lab, student.check, profiling.profile, student.data, student.doctor),
    *(instructor.build, instructor.handout, instructor.collect, instructor.grade),
    *(records.status, records.gradebook, records.report, records.similar, records.mark),
    *(records.feedback, records.export, records.undo),
    *(author.new, author.gates, author.mutants, author.demo, author.site),
):
    main.add_command(command)


if __name__ == "__main__":
    main()
