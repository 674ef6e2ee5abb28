"""Builds what measures, hands it plans, and reads its results."""
import json
import os
import subprocess
from pathlib import Path

from corpus_packages import ROOT, Failure

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
REWRITER = TARGET / "wasm-migratize"
BENCH = TARGET / "bench"
# What a run makes for itself; in the directory of the build, so that two working copies do not meet.
WORK = TARGET.parent / "bench"


def build():
    """The commands alone, which are quicker to build than everything."""
    done = subprocess.run(["cargo", "build", "--release", "--workspace", "--bins", "--quiet"], cwd=ROOT)
    if done.returncode != 0:
        raise Failure("the build failed")


def one_processor():
    """The beginning of a command that is to run on one processor: see testsuite/src/bench/race.rs."""
    return ["taskset", "--cpu-list", str(max(os.sched_getaffinity(0)))]


def fetch(names=()):
    """Fetches and builds the programs; what they print is shown if that fails."""
    done = subprocess.run([ROOT / "scripts" / "fetch-corpus", *names], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failure(f"scripts/fetch-corpus failed:\n{done.stdout}")


def race(program, variants, *flags):
    """Runs the variants of a program against each other; answers what was measured, by name of the variant."""
    line = measure(program, variants, one_processor(), "race", *flags)
    return {raced["name"]: raced for raced in line["raced"]}


def latencies_ms(program, variant, requests):
    """How long the guest ran on after each request to stop."""
    return measure(program, [variant], [], "latency", "--requests", requests)["latencies"]


def measure(program, variants, prefix, command, *flags):
    plan = WORK / "plans" / f"{program.name}.json"
    write_plan(plan, program, variants)
    done = subprocess.run([*prefix, BENCH, command, plan, *map(str, flags)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failure(f"measuring {program.name} ended with exit code {done.returncode}")
    line = json.loads(done.stdout)
    if "error" in line:
        raise Failure(f"{program.name}: {line['error']}")
    return line


def frames_round_trip_ms(frames):
    """How long it takes to save a stack that deep and rebuild it in a fresh instance."""
    done = subprocess.run([BENCH, "frames", str(frames)], stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def write_plan(path, program, variants):
    contestants = [{"name": variant.name, "kind": variant.kind, "wasm": str(variant.wasm)} for variant in variants]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"programs": [{
        "name": program.name, "args": program.args, "env": program.env, "dirs": program.dirs,
        "contestants": contestants}]}, indent=1))
