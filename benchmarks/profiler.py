"""What profiling costs: ``python benchmarks/profiler.py`` prints a table.

The network is the small MobileNetV2, the images 1,000 of CIFAR-10's test set (generated shapes if it is not here). All
52 convolutions are replaced, and the ratios of all nodes are recorded. A figure says how many times the float forward's
processor time something takes, by the medians over the rounds, in which both take turns; one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from formats import machine, table  # the benchmark beside this one
from rich.progress import track

from course_utils.data import classification_data
from course_utils.networks import normalize
from course_utils.networks.models import architecture
from course_utils.profiler import Choice, profile, recreate

BATCH = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=1000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = classification_data(train=False)
    images, labels = data.images[: arguments.images], data.labels[: arguments.images]
    model = architecture("mobilenetv2").eval()  # what its weights are makes no difference to the time
    made = recreate(model, [Choice("conv"), Choice("depthwise")], [normalize(images[:BATCH])])

    def forward(network: Callable) -> Callable[[], None]:
        def call() -> None:
            with torch.no_grad():
                for batch in images.split(BATCH):
                    network(normalize(batch))

        return call

    calls = {
        "float forward": forward(model),
        "recreated forward": forward(made.recreated),
        "profile: both, with all ratios": lambda: profile(made, images, labels, prepare=normalize, batch_size=BATCH),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in track(range(arguments.rounds), "rounds"):
        for name, call in calls.items():
            start = time.process_time()
            call()
            seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    rows = [[name, f"{m:.2f} s", f"{m / medians['float forward']:.1f}"] for name, m in medians.items()]
    print(f"{data.note}; the first {len(images):,}; {machine()}\n")
    print(table(["", "processor time", "times the float forward"], rows))


if __name__ == "__main__":
    main()
