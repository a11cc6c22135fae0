"""What the machine can do, and what a piece of work takes of it."""

import ctypes
import gc
import os
import time
from pathlib import Path

import numba
import numpy as np
from numba import njit, prange

CHAIN = 16  # multiply-adds on each number between reading and writing it
BLOCK = 2048  # numbers that a thread works on; they stay in its first-level cache
ROUNDS = 4000


@njit(parallel=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _multiply_add(numbers, factor, term, rounds):
    for thread in prange(numbers.shape[0]):
        row = numbers[thread]
        for _ in range(rounds):
            for i in range(BLOCK):
                x = row[i]
                for _ in range(CHAIN):
                    x = x * factor + term
                row[i] = x


def multiply_adds_per_second(threads: int) -> float:
    """Most float32 multiply-adds per second that compiled code reaches here; the best of several tries."""
    numba.set_num_threads(threads)
    numbers = np.ones((threads, BLOCK), np.float32)
    factor, term = np.float32(0.5), np.float32(0.5)
    _multiply_add(numbers, factor, term, 1)
    best = 0.0
    for _ in range(8):
        began = time.perf_counter()
        _multiply_add(numbers, factor, term, ROUNDS)
        best = max(best, threads * BLOCK * CHAIN * ROUNDS / (time.perf_counter() - began))
    return best


def description() -> dict[str, str | int | float]:
    """The processor's name, cores that we may use, and how busy it was during the last minute."""
    model = "unknown processor"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": model, "cores": cores, "load": round(os.getloadavg()[0], 2)}


class MemoryMeter:
    """Peak of this process's resident memory above what it held when the meter was made; Linux only."""

    def __init__(self) -> None:
        gc.collect()
        library = ctypes.CDLL(None)
        if hasattr(library, "malloc_trim"):  # else memory that was freed, and kept for later, would hide what is used
            library.malloc_trim(0)
        self._before = self._read("VmRSS")

    @staticmethod
    def is_available() -> bool:
        return os.access("/proc/self/clear_refs", os.W_OK)

    @staticmethod
    def _read(field: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))

    def restart(self) -> None:
        """Forgets earlier peaks; what is held now counts, so that memory kept from one use to the next is seen."""
        Path("/proc/self/clear_refs").write_text("5")

    def peak(self) -> int:
        """In bytes."""
        return self._read("VmHWM") - self._before
