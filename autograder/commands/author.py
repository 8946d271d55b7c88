"""An author's commands: begin a lab, put it through the gates, make the site."""

from __future__ import annotations

import difflib
import functools
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from autograder.commands.shown import console, labs_of, progress_bar
from autograder.errors import CourseError


@click.command()
@click.argument("lab")
@click.option("--title", default="TODO: a title", help="What stands above the notebook.")
@click.option(
    "--exercise", "exercises", multiple=True, default=["first_exercise"], help="A function to write; say it repeatedly."
)
@click.option("--demo", metavar="NAME", help="Also a demo of the first exercise, with its test.")
@click.pass_obj
def new(root: Path, lab: str, title: str, exercises: tuple[str, ...], demo: str | None) -> None:
    """Make the skeleton of a new LAB in solutions/.

    It is a small lab that works: every exercise gives a copy of its argument. Replace that bit by bit; what is left is
    marked TODO. Nothing is overwritten. A demo's code goes to course_utils/demos, its test to tests/helpers/demos, and
    solutions/demos.py shows it.
    """
    from autograder.authoring.new import new_lab

    source, *of_demo = new_lab(root, lab, title, exercises, demo)
    console.print(
        f"{source}: replace what is marked TODO, there and in the files beside it, and every while:", soft_wrap=True
    )
    console.print(f"  course build {lab}\n  course gates {lab} --failed")
    if demo is not None:
        where = " and ".join(map(str, of_demo))
        console.print(f"{where}: the same; it is shown at the end of solutions/demos.py. Then:", soft_wrap=True)
        console.print(f"  course build\n  course demo {demo}")


@click.command()
@click.argument("lab")
@click.option("--failed", is_flag=True, help="Print only what does not hold.")
@click.option("--gate", "chosen", type=click.IntRange(min=1, max=14), multiple=True, help="Only this one; repeatable.")
@click.option(
    "--seeds",
    default=1,
    show_default=True,
    help="Inputs that each answer meets in gates 1, 4, 5; lies in 13.",
)
@click.option("--show", "shown", metavar="VARIANT", help="Print the whole source of a variant; grade nothing.")
@click.pass_obj
def gates(root: Path, lab: str, failed: bool, chosen: tuple[int, ...], seeds: int, shown: str | None) -> None:
    """Put LAB through the honesty gates: each variant, its score, the message it got.

    Exits with 1 if something does not hold.
    """
    from autograder.authoring.gates import UNBROKEN, run_gates
    from autograder.grading.cache import ResultCache
    from autograder.grading.grader import Grader
    from autograder.labs.lab import Lab

    the_lab, broken, unbroken = Lab(lab, root), 0, 0
    variants = [v for right in (True, False) for v in the_lab.variants(right=right)]  # what is amiss there, is told now
    if shown is not None:
        _print_source({v.name: v.source for v in variants}, shown)
        return
    with ResultCache(root / "build" / "gates.db") as cache, Grader(cache) as grader:
        title = ""
        for verdict in run_gates(the_lab, grader, chosen, seeds):
            unbroken += verdict.message.startswith(UNBROKEN)
            if verdict.holds and failed:
                continue
            if verdict.gate != title:
                title = verdict.gate
                console.rule(title, align="left")
            mark = "[green]✓[/]" if verdict.holds else "[bold red]✗[/]"
            score = "" if verdict.score is None else f"{verdict.score:g}/{verdict.max_score:g}"
            console.print(f"{mark} {verdict.subject:<48} {score:>7}  ", end="", highlight=False)
            style = "" if not verdict.holds else "dim"
            console.print(verdict.message, markup=False, highlight=False, style=style, soft_wrap=True)
            broken += not verdict.holds
    if unbroken and failed:
        console.print(f"{unbroken} rules that no variant breaks, and perhaps nothing does: --gate 4 lists them")
    every = "every gate holds" if not chosen else "the chosen gates hold"
    console.print(f"{the_lab.name}: {every if not broken else f'{broken} verdicts do not hold'}")
    if broken:
        raise SystemExit(1)


@click.command()
@click.argument("lab")
@click.argument("exercises", nargs=-1)
@click.option("--workers", default=1, show_default=True, help="Processes on this machine to spread the mutants over.")
@click.option("--show", "shown", metavar="NAME", help="Print the source of the mutant with this name; grade nothing.")
@click.pass_obj
def mutants(root: Path, lab: str, exercises: tuple[str, ...], workers: int, shown: str | None) -> None:
    """Change each reference answer of LAB in one place by rule, and list the mutants that keep their points.

    All EXERCISES, or those named. What came of them is written to solutions/LAB/mutants.json. A survivor is a hole in
    the checks, or is right by the docstring: then mutants.toml beside the lab says by which sentence. Exits with 1 if
    a survivor has no excuse, or only hidden lines catch more than a tenth.
    """
    from autograder.authoring.mutants import chosen_exercises, grade_mutants, mutants_of, write_receipt
    from autograder.grading.cache import ResultCache
    from autograder.grading.spread import open_examiners
    from autograder.labs.lab import Lab

    the_lab = Lab(lab, root)
    chosen = chosen_exercises(the_lab, exercises)
    if shown is not None:
        _print_source({m.name: m.source for e in chosen for m in mutants_of(e)}, shown)
        return
    with (
        ResultCache(root / "build" / "gates.db") as cache,
        open_examiners(workers, None) as examiners,
        progress_bar() as progress,
    ):
        bar = progress.add_task(lab, total=sum(len(mutants_of(e)) for e in chosen))
        outcomes = grade_mutants(the_lab, chosen, examiners, cache, functools.partial(progress.advance, bar))
    write_receipt(the_lab, outcomes)
    for name, outcome in outcomes.items():
        only_hidden, excused = len(outcome.only_hidden), sum(map(bool, outcome.survivors.values()))
        caught, left = outcome.mutants - only_hidden - len(outcome.survivors), len(outcome.survivors) - excused
        mark = "[green]✓[/]" if not outcome.faults else "[bold red]✗[/]"
        told = f"{caught} caught, {only_hidden} by hidden lines only, {excused} excused, {left} not"
        console.print(f"{mark} {name:<28} {outcome.mutants} mutants: {told}", highlight=False, soft_wrap=True)
        for fault in outcome.faults:
            console.print(f"    {fault}", markup=False, highlight=False, soft_wrap=True)
        for mutant in outcome.only_hidden if any("hidden" in f for f in outcome.faults) else ():
            console.print(f"    hidden only: {mutant}", markup=False, highlight=False, soft_wrap=True)
    if any("" in outcome.survivors.values() for outcome in outcomes.values()):
        console.print("A survivor needs an expectation that catches it, or an excuse in mutants.toml: docs/author.md")
    if any(outcome.faults for outcome in outcomes.values()):
        raise SystemExit(1)


def _print_source(sources: dict[str, str], name: str) -> None:
    """Prints one of several sources, or says which names are near."""
    if name not in sources:
        near = ", ".join(map(repr, difflib.get_close_matches(name, sources, cutoff=0.4))) or "none"
        raise CourseError(f"there is none with the name {name!r}; near: {near}")
    click.echo(sources[name])


@click.command()
@click.argument("name")
@click.pass_obj
def demo(root: Path, name: str) -> None:
    """Try the demo NAME of solutions/demos.py without a browser: `staircase` for staircase_demo(...).

    Moves every control, takes the time, and writes the pictures to build/demos: look at them. Exits with 1 if
    something is amiss: a control without a label, or one that moves nothing or takes too long; a picture without a
    text alternative that changes with it; no still picture.
    """
    import matplotlib
    import torch

    from autograder.authoring.demo import try_demo

    matplotlib.use("agg")
    torch.set_num_threads(1)
    moved, written = try_demo(root, name)
    for each in moved:
        mark = "[green]✓[/]" if not each.faults else "[bold red]✗[/]"
        console.print(
            f"{mark} {each.control:<20} {1000 * each.median:5.0f} ms  {'; '.join(each.faults)}",
            highlight=False,
            soft_wrap=True,
        )
    for path in written:
        console.print(str(path), soft_wrap=True, highlight=False)
    if any(each.faults for each in moved):
        raise SystemExit(1)


@click.command()
@click.pass_obj
def site(root: Path) -> None:
    """Make the static site: labs without answers, guides, reference. Writes build/site/index.html.

    A lab runs again only if something that decides about its outputs has changed. Exits with 1 if a link on the pages
    leads nowhere, something comes from another host, a picture has no text alternative, or an answer shows.
    """
    from autograder.authoring.site import make_site

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        bars = {}

        def told(name: str, done: int, count: int) -> None:
            if name not in bars:
                bars[name] = progress.add_task(name, total=count)
            progress.update(bars[name], completed=done)

        faults = make_site(labs_of(root, ()), root, told)
    for fault in faults:
        console.print(fault, style="bold red", markup=False, soft_wrap=True)
    console.print("build/site/index.html" if not faults else f"faults on the pages: {len(faults)}")
    if faults:
        raise SystemExit(1)
