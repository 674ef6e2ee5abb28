"""The figures to meet, computed from the rows of results, and their verdicts."""
import math

from bench_statistics import geometric_mean, quantile

# name: target, must; at most these, but for speedups
LIMITS = {
    "run_time_wasmtime_default": (1.05, 1.10),
    "run_time_worst": (1.20, 1.35),
    "run_time_v8": (1.08, 1.15),
    "run_time_wasmi": (1.25, 1.4),
    "size_balanced": (1.5, 1.8),
    "size_balanced_over_asyncify": (0.85, 1.0),
    "size_size_mode": (1.3, 1.5),
    "compiled_code_size": (1.6, 2.0),
    "compile_time": (1.6, 2.0),
    "overhead_over_asyncify": (0.2, 0.5),
    "rewriting_speedup_over_asyncify": (100, 30),
    "capture_latency_p99_ms": (1, 2),
    "capture_resume_10000_frames_ms": (5, 10),
    "rewrite_cpython_cpu_s": (10, 10),
    "rewrite_peak_memory_over_input": (15, 15),
}
AT_LEAST = {"rewriting_speedup_over_asyncify"}


def figures(rows, frames_ms):
    """By name; a figure that was not measured is NaN."""
    rows = [row for row in rows if "variants" in row or "v8" in row or "wasmi" in row or "latency" in row]
    measured = [row["variants"] for row in rows if "variants" in row]
    paired = [(variants, best_peer(variants)) for variants in measured if best_peer(variants)]
    return {
        "run_time_wasmtime_default": geometric_mean(variants["balanced"]["time"] for variants in measured),
        "run_time_worst": max((variants["balanced"]["time"] for variants in measured), default=math.nan),
        "run_time_v8": geometric_mean(row["v8"]["time"] for row in rows if "v8" in row),
        "run_time_wasmi": geometric_mean(row["wasmi"]["time"] for row in rows if "wasmi" in row),
        "size_balanced": mean_over_original(measured, "balanced", "wasm_bytes"),
        "size_balanced_over_asyncify": geometric_mean(
            variants["balanced"]["wasm_bytes"] / min(peer["wasm_bytes"] for peer in peers(variants))
            for variants in measured if peers(variants)),
        "size_size_mode": mean_over_original([variants for variants in measured if "size" in variants], "size",
                                             "wasm_bytes"),
        "compiled_code_size": mean_over_original(measured, "balanced", "code_bytes"),
        "compile_time": mean_over_original(measured, "balanced", "compile_ms"),
        "overhead_over_asyncify": overhead_ratio(paired),
        "rewriting_speedup_over_asyncify": geometric_mean(
            variants["asyncify-O2"]["made_cpu_s"] / variants["balanced"]["made_cpu_s"]
            for variants in measured if "asyncify-O2" in variants),
        "capture_latency_p99_ms": geometric_mean(
            max(quantile(row["latency"]["ms"], 0.99), 1e-6) for row in rows if "latency" in row),
        "capture_resume_10000_frames_ms": frames_ms,
    } | large_module(rows)


def large_module(rows):
    """What it takes to rewrite CPython, if it is among the programs."""
    for row in rows:
        if row["name"] == "cpython" and "variants" in row:
            variants = row["variants"]
            return {"rewrite_cpython_cpu_s": variants["balanced"]["made_cpu_s"],
                    "rewrite_peak_memory_over_input": (variants["balanced"]["made_peak_bytes"]
                                                       / variants["original"]["wasm_bytes"])}
    return {}


def peers(variants):
    return [variants[name] for name in ("asyncify-O2", "asyncify-O3") if name in variants]


def best_peer(variants):
    """The faster of Asyncify's two variants."""
    return min(peers(variants), key=lambda variant: variant["time"], default=None)


def overhead_ratio(paired):
    """Ours (mean run time - 1) over that of the peer, on the programs that the peer can process."""
    ours = geometric_mean(variants["balanced"]["time"] for variants, _ in paired) - 1
    theirs = geometric_mean(peer["time"] for _, peer in paired) - 1
    if math.isnan(ours) or theirs <= 0:
        return math.nan
    return max(ours, 0) / theirs


def mean_over_original(measured, variant, key):
    return geometric_mean(variants[variant][key] / variants["original"][key] for variants in measured)


def verdict(name, value):
    """`ok` meets the target, `short` only what must be met."""
    target, must = LIMITS[name]
    if name in AT_LEAST:
        value, target, must = -value, -target, -must
    return "ok" if value <= target else "short" if value <= must else "miss"


def print_figures(values):
    for name, value in values.items():
        target, must = LIMITS[name]
        print(f"figure {name} {value:.3f} {target} {must} {verdict(name, value)}")
