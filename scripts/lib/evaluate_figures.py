"""Figures of the evaluation, and results as CSV and as a page."""
import csv
import html
from statistics import median, quantiles

from evaluate_cells import seconds
from lab import PROFILES

TARGET = 0.050
DOWNTIME_WEIGHT = 10
FIELDS = ["profile", "workload", "strategy", "moves", "total_s", "total_iqr_s", "downtime_ms", "downtime_iqr_ms", "bytes",
          "rounds", "cpu_s", "peak_rss_bytes", "chosen", "predicted_total_s", "predicted_downtime_ms", "predicted_bytes",
          "is_estimated", "phases"]


def middle(cell, what):
    return median(getattr(move, what) for move in cell.moves)


def spread(cell, what):
    values = [getattr(move, what) for move in cell.moves]
    if len(values) < 2:
        return 0.0
    low, _, high = quantiles(values, n=4, method="inclusive")
    return high - low


def score(cell):
    """As the nodes score a mode: total time, and ten times the downtime, where less than the target counts like it."""
    return middle(cell, "total") + DOWNTIME_WEIGHT * max(middle(cell, "downtime"), TARGET)


def figures(cells, throughput):
    """(name, value, target, must) of all figures whose cells were measured; smaller is better but for throughput."""
    measured = {(cell.profile, cell.workload, cell.strategy): cell for cell in cells if cell.moves}
    found = []

    def downtime(profile, workload, strategies):
        values = [middle(measured[key], "downtime") * 1e3 for strategy in strategies
                  if (key := (profile, workload, strategy)) in measured]
        return min(values) if values else None

    for profile, target in [("lan", 10), ("wifi6", 50), ("5g", 50)]:
        for workload in ["life", "idle"]:
            value = downtime(profile, workload, ["pre", "auto"])
            if value is not None:
                found.append((f"downtime_{profile}_{workload}", value, target, 2 * target))
    for strategy in ["pre", "post"]:
        ratios = []
        for profile in PROFILES:
            small, large = (downtime(profile, workload, [strategy]) for workload in ["idle-64", "idle"])
            if small and large:
                ratios.append(large / small)
        if ratios:
            found.append((f"flatness_{strategy}", median(ratios), 1.2, 1.5))
    for name, profile in PROFILES.items():
        bound = 3 * 2 * profile.one_way_ms + 20
        values = [middle(cell, "downtime") * 1e3 / bound for key, cell in measured.items() if key[0] == name and key[2] == "post"]
        if values:
            found.append((f"post_copy_downtime_{name}", max(values), 1.0, 2.0))
    ratios = []
    for (profile, workload, strategy), cell in measured.items():
        others = [other for key, other in measured.items() if key[:2] == (profile, workload) and key[2] != "auto"]
        if strategy == "auto" and others:
            ratios.append(score(cell) / min(score(other) for other in others))
    if ratios:
        found.append(("auto_vs_best", max(ratios), 1.15, 1.5))
    ratios = []
    for cell in measured.values():
        predicted, actual = seconds(cell.predicted["downtime"]), middle(cell, "downtime")
        # Below a millisecond, ratios say nothing.
        ratios.append(max(predicted, 1e-3) / max(actual, 1e-3))
    if ratios:
        found.append(("plan_downtime", max(max(ratio, 1 / ratio) for ratio in ratios), 2.0, 4.0))
    for strategy in ["stop", "post"]:
        # Each page once: how many bytes it takes depends on the compression, which depends on the link.
        ratios = [middle(cell, "pages") / cell.plan["touched_pages"]
                  for key, cell in measured.items() if key[2] == strategy and cell.plan["touched_pages"] > 1000]
        if ratios:
            found.append((f"pages_{strategy}", max(ratios), 1.1, 1.3))
    if throughput is not None:
        found.append(("stop_throughput", throughput, 0.7, 0.5))
    return found


def verdict(name, value, target, must):
    is_larger_better = name == "stop_throughput"
    reaches = (lambda limit: value >= limit) if is_larger_better else (lambda limit: value <= limit)
    return "ok" if reaches(target) else "short" if reaches(must) else "miss"


def row(cell):
    predicted = cell.predicted
    values = dict.fromkeys(FIELDS, "")
    values |= {"profile": cell.profile, "workload": cell.workload, "strategy": cell.strategy, "moves": len(cell.moves),
               "is_estimated": int(not cell.moves)}
    if predicted:
        values |= {"predicted_total_s": round(seconds(predicted["total"]), 4), "predicted_bytes": int(predicted["bytes"]),
                   "predicted_downtime_ms": round(seconds(predicted["downtime"]) * 1e3, 3)}
    if cell.moves:
        names = sorted({name for move in cell.moves for name in move.phases})
        phases = {name: median(move.phases.get(name, 0) for move in cell.moves) for name in names}
        values |= {"total_s": round(middle(cell, "total"), 4), "total_iqr_s": round(spread(cell, "total"), 4),
                   "downtime_ms": round(middle(cell, "downtime") * 1e3, 3),
                   "downtime_iqr_ms": round(spread(cell, "downtime") * 1e3, 3), "bytes": int(middle(cell, "bytes")),
                   "rounds": int(middle(cell, "rounds")), "cpu_s": round(middle(cell, "cpu"), 3),
                   "peak_rss_bytes": max(move.rss for move in cell.moves), "chosen": cell.moves[-1].chosen,
                   "phases": " ".join(f"{name}={value:.3f}" for name, value in phases.items())}
    return values


def write_csv(path, cells):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(map(row, cells))


COLOURS = {"stop": "#d1495b", "pre": "#1b6ca8", "post": "#2e8b57", "hybrid": "#c98b00", "auto": "#222222"}
STYLE = ("body{font:14px sans-serif;max-width:1000px;margin:2em auto}table{border-collapse:collapse}td,th{padding:2px 8px;"
         "border-bottom:1px solid #ddd;text-align:right}text{font:11px sans-serif}")


def write_page(path, cells, values):
    parts = ["<!doctype html><meta charset='utf-8'><title>Live migration</title>", f"<style>{STYLE}</style>",
             "<h1>Live migration</h1><table><tr><th>figure<th>value<th>target<th>must<th>"]
    parts += [f"<tr><td>{name}<td>{value:.3f}<td>{target}<td>{must}<td>{verdict(name, value, target, must)}"
              for name, value, target, must in values]
    parts.append("</table><p>" + " ".join(f"<span style='color:{colour}'>&#9679; {name}</span>" for name, colour in COLOURS.items()))
    for title, what, unit, scale in [("Downtime", "downtime", "ms", 1e3), ("Total time", "total", "s", 1.0),
                                     ("Bytes", "bytes", "MB", 1e-6)]:
        parts.append(f"<h2>{title}, {unit}</h2>" + bars(cells, what, scale))
    keys = [key for key in FIELDS if key != "phases"]
    parts.append("<h2>All cells</h2><table><tr>" + "".join(f"<th>{key}" for key in keys))
    parts += ["<tr>" + "".join(f"<td>{html.escape(str(values[key]))}" for key in keys) for values in map(row, cells)]
    path.write_text("\n".join([*parts, "</table>"]))


def bars(cells, what, scale):
    """A bar for each cell, on a scale of its workload's and link's largest."""
    groups = {}
    for cell in cells:
        if cell.moves:
            groups.setdefault((cell.profile, cell.workload), []).append(cell)
    lines, y = [], 4
    for (profile, workload), group in groups.items():
        most = max(middle(cell, what) for cell in group) or 1
        lines.append(f"<text x='0' y='{y + 11}'>{profile} {workload}</text>")
        for cell in group:
            value = middle(cell, what)
            lines.append(f"<rect x='170' y='{y}' width='{600 * value / most:.1f}' height='10' fill='{COLOURS[cell.strategy]}'/>"
                         f"<text x='{175 + 600 * value / most:.1f}' y='{y + 9}'>{value * scale:.4g}</text>")
            y += 12
        y += 6
    return f"<svg width='900' height='{y}'>" + "".join(lines) + "</svg>"
