"""The whole benchmark: every program in all variants, on wasmtime, V8 and wasmi, and how soon it stops when asked to; one
row of results each.

What is known of a program is written to the results after it, so that an interrupted run is not lost.
"""
import json
import time

import bench_asyncify
import bench_v8
import bench_wasmi
from bench_figures import figures, print_figures
from bench_plot import write_plot
from bench_programs import programs
from bench_run import REWRITER, WORK, build, fetch, frames_round_trip_ms, latencies_ms, race
from bench_statistics import paired_ratio, spread
from bench_table import print_head, print_row
from bench_variants import Variant, migratized, modes, original
from corpus_packages import Failure
from wasm_size import sizes

RESULTS = WORK / "results.json"
PLOT = WORK / "results.html"
REWRITES = 3
FRAMES = 10_000
REQUESTS = 1_000


def run(chosen):
    fetch()
    build()
    rows = []
    found = programs(chosen.names, chosen.sample)
    began = time.monotonic()
    print_head()
    for number, program in enumerate(found, 1):
        row = measure(program, chosen)
        rows.append(row)
        print_row(row, number, len(found), time.monotonic() - began)
        RESULTS.write_text(json.dumps({"programs": rows}, indent=1))
    frames_ms = frames_round_trip_ms(FRAMES)
    values = figures(rows, frames_ms)
    RESULTS.write_text(json.dumps({"programs": rows, "figures": values, "frames_ms": frames_ms}, indent=1))
    write_plot(PLOT, rows, values)
    print(f"\nresults: {RESULTS}\nplot: {PLOT}\n")
    print_figures(values)


def measure(program, chosen):
    """The row of a program. A stage that fails is noted under `failed`, and the others go on."""
    row = {"name": program.name, "group": program.group, "failed": {}}
    stages = {"wasmtime": on_wasmtime, "v8": on_v8, "wasmi": on_wasmi, "latency": latency}
    for name in chosen.stages.split(","):
        try:
            stages[name](program, row, chosen)
        except Failure as failure:
            row["failed"][name] = str(failure)
    return row


def on_wasmtime(program, row, chosen):
    variants = [original(program), *ours(program), *peers(program, row, chosen),
                Variant("epoch", "epoch", program.wasm)]
    raced = race(program, variants, *effort(chosen), "--compilations", 5)
    base = raced["original"]
    row["original_ms"] = sorted(base["run_ms"])[len(base["run_ms"]) // 2]
    row["rounds"] = len(base["run_ms"])
    row["variants"] = {}
    for variant in variants:
        found = raced[variant.name]
        size, gzip = sizes(variant.wasm)
        row["variants"][variant.name] = {
            "time": paired_ratio(found["run_ms"], base["run_ms"]),
            "spread": spread(found["run_ms"], base["run_ms"]),
            "run_ms": found["run_ms"],
            "wasm_bytes": size,
            "gzip_bytes": gzip,
            "code_bytes": found["code_bytes"],
            "compile_ms": min(found["compile_ms"]),
            "made_cpu_s": variant.made_cpu_s,
            "made_peak_bytes": variant.made_peak_bytes,
        }


def ours(program):
    """The modes of the rewriter; only the default if it has no others yet. Of several rewrites the quickest counts."""
    known = modes(REWRITER)
    made = []
    for mode in known or ["balanced"]:
        several = [migratized(program, mode, REWRITER, mode if known else None) for _ in range(REWRITES)]
        made.append(min(several, key=lambda variant: variant.made_cpu_s))
    return made


def peers(program, row, chosen):
    made = []
    for level in ("O2", "O3"):
        try:
            made.append(bench_asyncify.asyncified(program, level, chosen.kept_asyncify))
        except bench_asyncify.Refused as refused:
            row["failed"][f"asyncify-{level}"] = str(refused)
    return made


def on_v8(program, row, chosen):
    raced = bench_v8.race(program, [original(program), migratized(program, "balanced", REWRITER)], chosen.seconds,
                          chosen.runs or 5, chosen.runs or 100)
    row["v8"] = ratio_of(raced["balanced"], raced["original"])


def on_wasmi(program, row, chosen):
    raced = bench_wasmi.race_reduced(program, effort(chosen))
    if raced:
        row["wasmi"] = ratio_of(raced["reduced"]["run_ms"], raced["original"]["run_ms"])


def latency(program, row, chosen):
    row["latency"] = {"ms": latencies_ms(program, migratized(program, "balanced", REWRITER), REQUESTS)}


def ratio_of(values, base):
    return {"time": paired_ratio(values, base), "spread": spread(values, base), "rounds": len(values)}


def effort(chosen):
    if chosen.runs:
        return ["--rounds-min", chosen.runs, "--rounds-max", chosen.runs]
    return ["--seconds", chosen.seconds]
