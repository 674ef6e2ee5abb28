"""Variants of a program against each other on V8, in the pinned Node.

Every variant is a process that lives as long as the program's turn. In a round all of them run once, at the same
time and on one processor, as in testsuite/src/bench/race.rs. The first rounds, in which V8 replaces its first code
by optimised code, do not count.
"""
import json
import subprocess
import time

from bench_run import WORK, one_processor
from bench_tools import node
from corpus_packages import ROOT, Failure

HOST = ROOT / "scripts" / "lib" / "bench-v8.mjs"
# V8's own limit is 1 MB, which recursive programs exceed; the system's is 8 MB.
FLAGS = ["--no-warnings", "--stack-size=7000"]
WARM_UP_ROUNDS = 2


class Contestant:
    def __init__(self, program, variant):
        directory = WORK / "v8" / program.name
        directory.mkdir(parents=True, exist_ok=True)
        about = directory / f"{variant.name}.json"
        about.write_text(json.dumps({
            "name": variant.name, "kind": variant.kind, "wasm": str(variant.wasm), "args": program.args,
            "env": program.env, "dirs": program.dirs, "output": str(directory / f"{variant.name}.output")}))
        self.name, self.run_ms = variant.name, []
        self.process = subprocess.Popen([*one_processor(), node(), *FLAGS, HOST, about], cwd=ROOT, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def begin(self):
        self.process.stdin.write("run\n")
        self.process.stdin.flush()

    def finish(self):
        """What came of the run; the host prints nothing else."""
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"node ended with {self.process.wait()}"}
        if "error" in answer:
            raise Failure(f"{self.name} on V8: {answer['error']}")
        return answer

    def close(self):
        self.process.kill()
        self.process.wait()


def race(program, variants, seconds, rounds_min=5, rounds_max=100):
    """CPU milliseconds of every round, by name of the variant."""
    contestants = []
    try:
        contestants = [Contestant(program, variant) for variant in variants]
        began = time.monotonic()
        for number in range(-WARM_UP_ROUNDS, rounds_max):
            if number >= rounds_min and time.monotonic() - began > seconds:
                break
            for contestant in contestants:
                contestant.begin()
            answers = [contestant.finish() for contestant in contestants]
            check(program, contestants, answers)
            if number >= 0:
                for contestant, answer in zip(contestants, answers):
                    contestant.run_ms.append(answer["runMs"])
        return {contestant.name: contestant.run_ms for contestant in contestants}
    finally:
        for contestant in contestants:
            contestant.close()


def check(program, contestants, answers):
    for contestant, answer in zip(contestants, answers):
        found = answer["digest"], answer["exitCode"]
        expected = program.stdout_sha256, program.exit_code
        if found != expected:
            raise Failure(f"{program.name}, {contestant.name} on V8: output and exit code are {found}, expected "
                          f"{expected}")
