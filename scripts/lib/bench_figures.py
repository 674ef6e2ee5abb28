"""The figures to meet, and their verdicts."""

# name: target, must
LIMITS = {
    "run_time_wasmtime_default": (1.05, 1.10),
    "run_time_worst": (1.20, 1.35),
    "size_balanced": (1.5, 1.8),
    "compiled_code_size": (1.6, 2.0),
    "compile_time": (1.6, 2.0),
    "capture_resume_10000_frames_ms": (5, 10),
    "rewrite_cpython_s": (10, 10),
    "rewrite_peak_memory_over_input": (15, 15),
}


def print_figure(name, value):
    """`ok` meets the target, `short` only what must be met."""
    target, must = LIMITS[name]
    verdict = "ok" if value <= target else "short" if value <= must else "miss"
    print(f"figure {name} {value:.3f} {target} {must} {verdict}")
