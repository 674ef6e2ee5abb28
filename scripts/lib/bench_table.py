"""Results as lines of a table, printed while the run goes on."""
from bench_figures import best_peer, peers
from bench_statistics import quantile

COLUMNS = [("original", 10), ("balanced", 9), ("size", 7), ("speed", 7), ("asyncify", 9), ("epoch", 7), ("V8", 7),
           ("wasmi", 7), ("wasm", 6), ("gzip", 6), ("code", 6), ("compile", 8), ("asy.wasm", 9), ("p50/p99/max ms", 18)]


def print_head():
    print(f"{'':9} {'program':18}" + "".join(f"{name:>{width}}" for name, width in COLUMNS))


def print_row(row, number, count, elapsed_s):
    cells = {**on_wasmtime(row.get("variants")), **elsewhere(row)}
    if "original_ms" in row:
        cells["original"] = f"{row['original_ms']:.0f} ms"
    line = "".join(f"{cells.get(name, '-'):>{width}}" for name, width in COLUMNS)
    print(f"{number:3}/{count:<3} {int(elapsed_s) // 60:2}m {row['name']:18}{line}", flush=True)
    for stage, reason in row["failed"].items():
        print(f"{'':9} {stage}: {' '.join(reason.split())[:150]}", flush=True)


def on_wasmtime(variants):
    if not variants:
        return {}
    cells = {name: f"{variants[name]['time']:.3f}" for name in ("balanced", "size", "speed", "epoch") if name in variants}
    ratio = lambda key: f"{variants['balanced'][key] / variants['original'][key]:.2f}"
    cells |= {"wasm": ratio("wasm_bytes"), "gzip": ratio("gzip_bytes"), "code": ratio("code_bytes"),
              "compile": ratio("compile_ms")}
    if best_peer(variants):
        smallest = min(peer["wasm_bytes"] for peer in peers(variants))
        cells |= {"asyncify": f"{best_peer(variants)['time']:.3f}",
                  "asy.wasm": f"{smallest / variants['original']['wasm_bytes']:.2f}"}
    return cells


def elsewhere(row):
    cells = {}
    if "v8" in row:
        cells["V8"] = f"{row['v8']['time']:.3f}"
    if "wasmi" in row:
        cells["wasmi"] = f"{row['wasmi']['time']:.3f}"
    if "latency" in row:
        waits = row["latency"]["ms"]
        cells["p50/p99/max ms"] = f"{quantile(waits, 0.5):.2f}/{quantile(waits, 0.99):.2f}/{max(waits):.2f}"
    return cells
