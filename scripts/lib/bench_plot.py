"""Results as one page of HTML with drawings in it, which needs nothing else: run time by program and variant, wasm size,
and how long guests ran on after a request to stop."""
import html
import math

from bench_figures import LIMITS, best_peer, verdict

WIDTH, LEFT, ROW = 900, 170, 20
COLOURS = {"balanced": "#1b6ca8", "size": "#7fb3d5", "speed": "#0b3954", "asyncify": "#d1495b", "epoch": "#999999",
           "v8": "#2e8b57", "wasmi": "#c98b00"}
STYLE = ("body{font:14px sans-serif;max-width:960px;margin:2em auto;color:#222}table{border-collapse:collapse}"
         "td,th{padding:2px 10px;text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}"
         ".ok{color:#2e8b57}.short{color:#c98b00}.miss{color:#d1495b}text{font:11px sans-serif;fill:#222}")


def write_plot(path, rows, values):
    measured = [row for row in rows if "variants" in row]
    parts = ["<!doctype html><meta charset='utf-8'><title>Benchmark</title>", f"<style>{STYLE}</style>",
             "<h1>What migratizing costs</h1>", figure_table(values)]
    parts.append("<h2>Run time over the original's</h2>" + legend())
    parts.append(dots([(row["name"], times(row)) for row in rows if times(row)], 0.8, 3.0))
    parts.append("<h2>Size of the module over the original's</h2>")
    parts.append(dots([(row["name"], sizes(row["variants"])) for row in measured], 1.0, 4.0))
    waits = [wait for row in rows for wait in row.get("latency", {}).get("ms", [])]
    if waits:
        parts.append(f"<h2>From request to stop, {len(waits)} requests</h2>" + histogram(waits))
    path.write_text("\n".join(parts))


def figure_table(values):
    lines = "".join(
        f"<tr><td>{name}<td>{value:.3f}<td>{LIMITS[name][0]}<td>{LIMITS[name][1]}"
        f"<td class='{verdict(name, value)}'>{verdict(name, value)}" for name, value in values.items())
    return f"<table><tr><th>figure<th>value<th>target<th>must<th>{lines}</table>"


def times(row):
    variants = row.get("variants", {})
    found = {name: variants[name]["time"] for name in ("balanced", "size", "speed", "epoch") if name in variants}
    if variants and best_peer(variants):
        found["asyncify"] = best_peer(variants)["time"]
    return found | {name: row[name]["time"] for name in ("v8", "wasmi") if name in row}


def sizes(variants):
    base = variants["original"]["wasm_bytes"]
    found = {name: variants[name]["wasm_bytes"] / base for name in ("balanced", "size", "speed") if name in variants}
    if "asyncify-O2" in variants:
        found["asyncify"] = variants["asyncify-O2"]["wasm_bytes"] / base
    return found


def legend():
    return "<p>" + " ".join(f"<span style='color:{colour}'>&#9679; {name}</span>" for name, colour in COLOURS.items())


def dots(rows, low, high):
    """A line per program with a dot per variant, on a logarithmic scale; what lies outside sits at its end."""
    place = lambda value: LEFT + (WIDTH - LEFT - 20) * (math.log(min(max(value, low), high) / low) / math.log(high / low))
    bottom = ROW * len(rows) + 10
    marks = [mark for mark in (0.8, 0.9, 1, 1.05, 1.1, 1.2, 1.35, 1.5, 1.8, 2, 2.5, 3, 4) if low <= mark <= high]
    drawn = [f"<line x1='{place(mark):.1f}' x2='{place(mark):.1f}' y1='0' y2='{bottom}' stroke='{'#888' if mark == 1 else '#ddd'}'/>"
             f"<text x='{place(mark):.1f}' y='{bottom + 12}' text-anchor='middle'>{mark:g}</text>" for mark in marks]
    for number, (name, values) in enumerate(rows):
        y = ROW * number + 12
        drawn.append(f"<text x='{LEFT - 8}' y='{y + 4}' text-anchor='end'>{html.escape(name)}</text>")
        drawn += [f"<circle cx='{place(value):.1f}' cy='{y}' r='4' fill='{COLOURS[variant]}'>"
                  f"<title>{variant} {value:.3f}</title></circle>" for variant, value in values.items()]
    return f"<svg width='{WIDTH}' height='{bottom + 20}'>{''.join(drawn)}</svg>"


def histogram(waits, bins=50):
    """Counts on a logarithmic scale of time from 1 us to 10 ms."""
    low, high = 0.001, 10
    counts = [0] * bins
    for wait in waits:
        part = math.log(min(max(wait, low), high) / low) / math.log(high / low)
        counts[min(int(part * bins), bins - 1)] += 1
    width, tall = (WIDTH - LEFT) / bins, 180
    drawn = [f"<rect x='{LEFT + width * number:.1f}' y='{tall - tall * count / max(counts):.1f}' width='{width - 1:.1f}' "
             f"height='{tall * count / max(counts):.1f}' fill='{COLOURS['balanced']}'/>" for number, count in enumerate(counts)]
    for mark in (0.001, 0.01, 0.1, 1, 10):
        x = LEFT + (WIDTH - LEFT) * math.log(mark / low) / math.log(high / low)
        drawn.append(f"<text x='{x:.1f}' y='{tall + 14}' text-anchor='middle'>{mark:g} ms</text>")
    return f"<svg width='{WIDTH + 30}' height='{tall + 20}'>{''.join(drawn)}</svg>"
