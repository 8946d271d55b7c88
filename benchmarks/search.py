"""How fast the best split of a word is found for all layers: ``python benchmarks/search.py`` prints a table.

The layers are the 13 convolutions of Tiny YOLOv3 with 80 classes, 8.8 million weights as torch draws them. For each of
them all splits of an 8-bit and of a 16-bit word are tried: by a loop over whole tensors, with the rounding written by
hand (log2 and floor) or with `FloatFormat.quantize`; and by `search_network`. All take turns in one process with one
thread. A figure says how many times as fast as the first line something is, by the medians over the rounds of the
processor time, which stand beside it. "same choice" counts the layers for which the choice is that of the loop with
`FloatFormat.quantize`.

``--write`` puts the table into docs/numerics.md.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable

from formats import machine, table, write  # the benchmark beside this one

LOOP = "loop, rounding by hand"
Choices = list[int]


def layers() -> dict:
    import torch

    from course_utils.networks.models import TinyYOLOv3

    torch.manual_seed(0)
    return {name: p.detach() for name, p in TinyYOLOv3(80).named_parameters() if p.dim() == 4}


def implementations(tensors: dict) -> dict[str, Callable[[int], Choices]]:
    import torch

    from course_utils.numerics import chunks
    from course_utils.numerics.format_search import SPLITS, search_network, split

    def by_hand(x, e: int, word_length: int):
        m, bias = word_length - 1 - e, 2 ** (e - 1) - 1
        step = torch.exp2(x.abs().log2().floor().clamp(min=1 - bias) - m)
        largest = split(e, word_length).largest
        return ((x / step).round() * step).clamp(-largest, largest)

    def by_format(x, e: int, word_length: int):
        return split(e, word_length).quantize(x)

    def loop(convert: Callable) -> Callable[[int], Choices]:
        def call(word_length: int) -> Choices:
            def error(x, e: int) -> float:
                return float((convert(x, e, word_length).double() - x.double()).square().mean())

            return [min(SPLITS[word_length], key=lambda e, x=x: error(x, e)) for x in tensors.values()]

        return call

    def network(word_length: int) -> Choices:
        return [found.exponent_bits for found in search_network(tensors, word_length).values()]

    def torch_only(call: Callable[[int], Choices]) -> Callable[[int], Choices]:
        def without(word_length: int) -> Choices:
            usual, chunks.COMPILED_FROM = chunks.COMPILED_FROM, math.inf
            try:
                return call(word_length)
            finally:
                chunks.COMPILED_FROM = usual

        return without

    return {
        LOOP: loop(by_hand),
        "loop, `FloatFormat`, torch only": torch_only(loop(by_format)),
        "loop, `FloatFormat`, compiled": loop(by_format),
        "`search_network`, torch only": torch_only(network),
        "`search_network`, compiled": network,
    }


def measure(rounds: int, pipe) -> None:
    import torch

    torch.set_num_threads(1)
    tensors = layers()
    calls = implementations(tensors)
    rows = [[name] for name in calls]
    for word_length in (8, 16):
        choices = {name: call(word_length) for name, call in calls.items()}  # warms up, too
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                start = time.process_time()
                call(word_length)
                seconds[name].append(time.process_time() - start)
        expected = choices["loop, `FloatFormat`, torch only"]
        for row, name in zip(rows, calls, strict=True):
            median = statistics.median(seconds[name])
            same = sum(a == b for a, b in zip(choices[name], expected, strict=True))
            ratio = statistics.median(seconds[LOOP]) / median
            row += [f"{ratio:.1f}", f"{1000 * median:.0f} ms", f"{same} of {len(expected)}"]
    pipe.send((sum(x.numel() for x in tensors.values()), rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="into docs/numerics.md")
    arguments = parser.parse_args()
    # As in formats.py: without this the loops would pay for fresh pages of memory at every step, or not, by accident.
    os.environ.update(MALLOC_MMAP_THRESHOLD_=str(2**25), MALLOC_TRIM_THRESHOLD_=str(2**40))
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=measure, args=(arguments.rounds, theirs))
    process.start()
    theirs.close()
    elements, rows = ours.recv()
    process.join()
    head = ["times as fast", "8 bits", "", "same choice", "16 bits", "", "same choice"]
    text = f"{elements:,} numbers in 13 layers; {machine()}\n\n{table(head, rows)}"
    print(text)
    if arguments.write:
        write("search", text)


if __name__ == "__main__":
    main()
