"""How fast products of packed signs are beside float32: ``python benchmarks/xnor.py`` prints a table.

A matrix of +1 and -1 by a vector of them: torch's float32 product, and `xnor_matvec` with the matrix packed beforehand,
as a network's weights are, by the compiled loop and by numpy; the last line packs the vector, too, from float32 anew in
each call. All take turns, in an order drawn anew each round, in one process with one thread; every product is compared
with whole numbers. A figure says how many times as fast as float32's something is, by the medians over the rounds of
the processor time; the least of the rounds stands beside it in microseconds.

``--write`` puts the table into docs/numerics.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import time

from formats import machine, table, write  # the benchmark beside this one

SIZES = (256, 1024, 4096)
FLOAT = "torch, float32"


def measure(rounds: int, pipe) -> None:
    import torch

    from course_utils.low_bit import pack_signs, sign, xnor, xnor_matvec

    torch.set_num_threads(1)
    usual = xnor.compiled_loops

    def numpy_only(matrix, vector, length):
        xnor.compiled_loops = lambda: None
        try:
            return xnor_matvec(matrix, vector, length)
        finally:
            xnor.compiled_loops = usual

    rows: dict[str, list[str]] = {}
    for size in SIZES:
        generator = torch.Generator().manual_seed(size)
        matrix = sign(torch.randn(size, size, generator=generator))
        vector = sign(torch.randn(size, generator=generator))
        packed, short = pack_signs(matrix), pack_signs(vector)
        calls = {
            FLOAT: lambda m=matrix, v=vector: m @ v,
            "packed, compiled": lambda p=packed, s=short, n=size: xnor_matvec(p, s, n),
            "packed, numpy": lambda p=packed, s=short, n=size: numpy_only(p, s, n),
            "packed, compiled, with packing the vector": lambda p=packed, v=vector, n=size: xnor_matvec(
                p, pack_signs(v), n
            ),
        }
        exact = matrix.long() @ vector.long()
        for name, call in calls.items():  # warms up, too
            if not torch.equal(call().long(), exact):
                raise SystemExit(f"{name}: the product of {size} x {size} is wrong")
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        order = list(calls.items())
        for _ in range(rounds):
            random.shuffle(order)  # who follows the float product finds the caches full of it
            for name, call in order:
                start = time.process_time_ns()
                call()
                seconds[name].append((time.process_time_ns() - start) / 1e9)
        for name, taken in seconds.items():
            ratio = statistics.median(seconds[FLOAT]) / statistics.median(taken)
            rows.setdefault(name, [name]).extend([f"{ratio:.1f}", f"{1e6 * min(taken):.0f} us"])
    pipe.send(list(rows.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--write", action="store_true", help="into docs/numerics.md")
    arguments = parser.parse_args()
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=measure, args=(arguments.rounds, theirs))
    process.start()
    theirs.close()
    rows = ours.recv()
    process.join()
    head = ["times as fast", *(text for size in SIZES for text in (f"{size} x {size}", ""))]
    text = f"{machine()}\n\n{table(head, rows)}"
    print(text)
    if arguments.write:
        write("xnor", text)


if __name__ == "__main__":
    main()
