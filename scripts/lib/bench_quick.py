"""Original against the working copy of the rewriter, and against another build of it if there is one."""
from bench_programs import programs
from bench_run import REWRITER, build, fetch, race
from bench_statistics import geometric_mean, paired_ratio, spread
from bench_variants import migratized, original
from wasm_size import sizes


def run(chosen):
    fetch()
    build()
    found = programs(chosen.names, sample=False)
    if not chosen.names:
        found = [program for program in found if program.group != "real"]
    rewriters = {"ours": REWRITER, **({"against": chosen.against} if chosen.against else {})}
    width = max(len(program.name) for program in found)
    head = "".join(f" {name:>8} {'+-':>6} {'size':>6} {'code':>6} {'compile':>7} |" for name in rewriters)
    print(f"{'program':{width}} {'original':>9} {'runs':>4} |{head}" + ("  ours/against" if chosen.against else ""))
    columns = {name: [] for name in rewriters}
    for program in found:
        rows = measure(program, rewriters, chosen)
        base = rows["original"]
        line = f"{program.name:{width}} {sorted(base['run_ms'])[len(base['run_ms']) // 2]:7.1f}ms {len(base['run_ms']):4} |"
        for name in rewriters:
            row = ratios(rows[name], base)
            columns[name].append(row)
            line += (f" {row['time']:8.3f} {100 * row['spread']:5.1f}% {row['size']:6.3f} {row['code']:6.3f} "
                     f"{row['compile']:7.2f} |")
        if chosen.against:
            line += f" {paired_ratio(rows['ours']['run_ms'], rows['against']['run_ms']):8.3f}"
        print(line, flush=True)
    summary = f"{'geometric mean':{width}} {'':9} {'':4} |"
    for name in rewriters:
        mean = {key: geometric_mean(row[key] for row in columns[name]) for key in ("time", "size", "code", "compile")}
        summary += f" {mean['time']:8.3f} {'':6} {mean['size']:6.3f} {mean['code']:6.3f} {mean['compile']:7.2f} |"
    print(summary)


def measure(program, rewriters, chosen):
    variants = [original(program)]
    variants += [migratized(program, name, rewriter, chosen.optimize) for name, rewriter in rewriters.items()]
    rows = race(program, variants, "--seconds", chosen.seconds, "--rounds-min", 3, "--compilations", 3)
    for variant in variants:
        rows[variant.name]["wasm_bytes"], _ = sizes(variant.wasm)
    return rows


def ratios(row, base):
    return {
        "time": paired_ratio(row["run_ms"], base["run_ms"]),
        "spread": spread(row["run_ms"], base["run_ms"]),
        "size": row["wasm_bytes"] / base["wasm_bytes"],
        "code": row["code_bytes"] / base["code_bytes"],
        "compile": min(row["compile_ms"]) / min(base["compile_ms"]),
    }
