"""Makes the variants of a program that run against each other.

A variant is a file with what it took to make it. The rewriter is quick and may have changed, so its variants are
made anew every time.
"""
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench_run import WORK
from corpus_packages import Failure

VARIANTS = WORK / "variants"
REWRITE_TIME_LIMIT = 600


@dataclass
class Variant:
    """`kind` is what it needs of a host, as in testsuite/src/bench/plan.rs."""
    name: str
    kind: str
    wasm: Path
    made_wall_s: float = 0.0
    made_cpu_s: float = 0.0
    made_peak_bytes: int = 0


@dataclass
class Measured:
    """What a command used: seconds on the wall and of CPU, and peak memory."""
    wall_s: float
    cpu_s: float
    peak_bytes: int


def original(program):
    return Variant("original", "plain", program.wasm)


def migratized(program, name, rewriter, optimize=None):
    """The program rewritten by a `wasm-migratize`, in one of its modes if it has modes."""
    target = variant_path(program, name)
    flags = ["--optimize", optimize] if optimize else []
    used = measured([rewriter, program.wasm, "-o", target, *flags], REWRITE_TIME_LIMIT)
    return Variant(name, "migratized", target, used.wall_s, used.cpu_s, used.peak_bytes)


def modes(rewriter):
    """The modes of a `wasm-migratize` that can be chosen with --optimize, if that version can."""
    text = subprocess.run([rewriter, "--help"], capture_output=True, text=True, check=True).stdout
    return ["balanced", "size", "speed"] if "--optimize" in text else []


def variant_path(program, name):
    target = VARIANTS / program.name / f"{name}.wasm"
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def measured(command, time_limit, **more):
    """Runs a command and says what it used. It is stopped at the time limit, counted in CPU seconds so that a busy
    machine does not change what is refused, and in any case after ten times as long."""
    command = [str(part) for part in command]
    limited = ["timeout", "--kill-after=5", str(10 * time_limit), "prlimit", f"--cpu={time_limit}", *command]
    started = time.monotonic()
    child = subprocess.Popen(limited, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **more)
    said = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    cpu_s = usage.ru_utime + usage.ru_stime
    if cpu_s >= time_limit - 1:
        raise Failure(f"not done after {time_limit} s of CPU time")
    if child.returncode != 0:
        raise Failure(f"`{' '.join(command)}` ended with exit code {child.returncode}:\n{said.strip()[-3000:]}")
    return Measured(time.monotonic() - started, cpu_s, usage.ru_maxrss * 1024)
