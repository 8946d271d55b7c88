"""``course profile``: which layer of a network hurts in few bits?"""

from __future__ import annotations

import contextlib
import csv
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.progress import TextColumn
from rich.table import Table

from autograder.commands.shown import console, progress_bar
from autograder.errors import CourseError

if TYPE_CHECKING:
    from course_utils.profiler import Batch, Configuration, Experiment
    from course_utils.profiler.subjects import Subject

    Find = Callable[[str, str | None], Subject]


@click.command()
@click.argument("configurations", nargs=-1, type=click.Path(path_type=Path), metavar="CONFIG.toml")
@click.option("--output", type=click.Path(path_type=Path), help="Folder to write [default: build/profiles/CONFIG].")
@click.option("--images", is_flag=True, help="A line for each image, with each network's guess; in images.csv, too.")
@click.option(
    "--budget", type=click.IntRange(1), metavar="BYTES", help="Choose bits for each layer: so many bytes at most."
)
@click.option(
    "--drop", type=click.FloatRange(0), metavar="POINTS", help="The same: so many points of accuracy lost at most."
)
@click.option("--compare", is_flag=True, help="The arguments are folders of runs: show them side by side.")
@click.pass_obj
def profile(
    root: Path,
    configurations: tuple[Path, ...],
    output: Path | None,
    images: bool,
    budget: int | None,
    drop: float | None,
    compare: bool,
) -> None:
    """Replace layers of a trained network by whole-number ones: which one hurts?

    CONFIG.toml says which network, data and layers; docs/profiler.md explains it. The folder that is written holds the
    configuration as it was used, every node's signal-to-noise ratio (layers.csv), accuracies (summary.json), the
    network as a picture, and a page that shows them all.

    With --budget or --drop the bits of weights are chosen for each layer of CONFIG.toml, on training images; the folder
    (build/profiles/CONFIG-search) then holds a configuration.toml that can be run again.

    \b
      course profile experiments/a.toml experiments/b.toml
      course profile experiments/a.toml --budget 40000
      course profile --compare build/profiles/a build/profiles/b
    """
    from course_utils import profiler
    from course_utils.data import DataError
    from course_utils.networks import WeightsError
    from course_utils.profiler.subjects import subject

    find = functools.cache(subject)  # a network and its images are the same for many configurations
    if not configurations:
        raise CourseError("name a configuration: course profile CONFIG.toml (docs/profiler.md has one to begin with)")
    if output is not None and (compare or len(configurations) > 1):
        raise CourseError("--output is for one configuration")
    searching = budget is not None or drop is not None
    if compare and (images or searching):
        raise CourseError("--images, --budget and --drop are for configurations, not for folders of runs")
    if budget is not None and drop is not None:
        raise CourseError("either --budget or --drop: a search meets one of them")
    if searching and images:
        raise CourseError("--images is for a run: search first, then run the configuration that was chosen")
    try:
        if compare:
            console.print(_side_by_side(configurations))
            return
        read = {path: profiler.read_configuration(path) for path in configurations}  # before an hour has passed
        if twice := [name for name, count in Counter(path.stem for path in read).items() if count > 1]:
            raise CourseError(f"two configurations are called {twice[0]!r}: one would overwrite the other's results")
        for path, configuration in read.items():
            folder = output or root / "build" / "profiles" / (f"{path.stem}-search" if searching else path.stem)
            try:
                if searching:
                    _search(path.name, configuration, folder, budget, drop, find)
                else:
                    _run(path.name, configuration, folder, images, find)
            except profiler.ProfilerError as error:
                raise CourseError(f"{path}: {error}") from error
    except (WeightsError, DataError, profiler.ProfilerError) as error:
        raise CourseError(str(error)) from error


def _run(name: str, configuration: Configuration, folder: Path, images: bool, find: Find) -> None:
    from course_utils import profiler

    (folder / "images.csv").unlink(missing_ok=True)  # of a run before
    with _image_table(folder / "images.csv") if images else contextlib.nullcontext() as line, _bar(name) as bar:
        track, show = bar

        def each(batch: Batch) -> None:
            show(batch)
            if line is not None:
                line(batch)

        made = profiler.run(configuration, find=find, progress=track, each=each)
    page = profiler.write_experiment(made, folder)
    _tell(name, made)
    outcomes = made.profile.outcomes
    recreated = outcomes["recreated"]
    by, error, _ = profiler.difference(outcomes["reference"], recreated)
    told = f"{name}: top-1 {recreated.top1:.2%}, {100 * by:+.2f} ± {100 * error:.2f} points: {page}"
    console.print(told, markup=False, highlight=False, soft_wrap=True)


def _search(
    name: str, configuration: Configuration, folder: Path, budget: int | None, drop: float | None, find: Find
) -> None:
    from course_utils import profiler
    from course_utils.profiler import frontier

    with progress_bar(TextColumn("batches")) as progress:
        task = progress.add_task(escape(name), total=None)

        def track(batches: Iterable, what: str) -> Iterable:
            progress.reset(task, description=escape(f"{name}: {what}"))
            return progress.track(batches, task_id=task)

        found, made = profiler.search(configuration, budget=budget, drop=drop, find=find, progress=track)
    page = frontier.write_search(found, made, folder)
    _tell(name, made)
    table = Table(*frontier.HEADINGS)
    for row in frontier.frontier_rows(found):
        table.add_row(*map(escape, row))
    console.print(table)
    by, error, _ = profiler.difference(found.reference, found.chosen.outcome)
    told = (
        f"{name}: {found.chosen.size:,} bytes for {found.request}, "
        f"chosen on {found.samples:,} training images; "
        f"on {len(found.reference.first):,} test images top-1 {found.chosen.outcome.top1:.2%}, "
        f"{frontier.points(by, error)} points: {page}"
    )
    console.print(told, markup=False, highlight=False, soft_wrap=True)


def _tell(name: str, made: Experiment) -> None:
    """What was not done, and why."""
    left = made.recreation.left | {f"no {other} network": reason for other, reason in made.missing.items()}
    for what, reason in left.items():
        console.print(f"{name}: {what}: {reason}", style="bold", markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def _bar(name: str) -> Iterator[tuple[Callable[[Iterable], Iterable], Callable[[Batch], None]]]:
    """A bar of batches with the running totals of all networks beside it: what batches go through, and who is told."""
    from course_utils.profiler import Totals

    totals = Totals()
    with progress_bar(TextColumn("batches"), TextColumn("{task.fields[totals]}")) as progress:
        task = progress.add_task(escape(name), total=None, totals="")

        def show(batch: Batch) -> None:
            totals.add(batch)
            progress.update(task, totals=str(totals))

        yield functools.partial(progress.track, task_id=task), show


@contextlib.contextmanager
def _image_table(path: Path) -> Iterator[Callable[[Batch], None]]:
    """Takes batches; prints a line for each image and writes a table, which is there when all were seen."""
    from course_utils.profiler.guesses import COLUMNS

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".csv.part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)

            def line(batch: Batch) -> None:
                for text in batch.lines():
                    console.print(text, markup=False, highlight=False, soft_wrap=True)
                table.writerows(batch.rows())

            yield line
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _side_by_side(folders: tuple[Path, ...]) -> Table:
    """Accuracies and every node's ratio of some runs, one column each."""
    from course_utils.profiler import read_experiment

    runs = [read_experiment(folder) for folder in folders]
    table = Table("", *(escape(folder.name) for folder in folders))

    def add(label: str, *cells: str) -> None:
        table.add_row(escape(label), *map(escape, cells))

    summaries = [summary for summary, _ in runs]
    add("network", *(s["network"] for s in summaries))
    add("images", *(f"{s['images']:,}" for s in summaries))
    for name in dict.fromkeys(name for s in summaries for name in s["accuracy"]):
        own = [s["accuracy"].get(name) for s in summaries]
        add(f"top-1, {name}", *(f"{a['top1']:.2%}" if a else "-" for a in own))
        if name != "reference":
            changes = (f"{100 * a['change']:+.2f} ± {100 * a['standard_error']:.2f}" if a else "-" for a in own)
            add("  change (points)", *changes)
        add("  top-5", *(f"{a['top5']:.2%}" if a else "-" for a in own))
    add("SQNR of", *("" for _ in runs))
    for name in dict.fromkeys(name for _, ratios in runs for name in ratios):
        add(f"  {name}", *(f"{ratios[name]:.1f} dB" if name in ratios else "-" for _, ratios in runs))
    return table
