"""Original against default mode on wasmi, an interpreter: the kernels, each with a part of its work. Programs of the corpus need
more of WASI than the runner has."""
from dataclasses import replace

import corpus_build
from bench_run import REWRITER, race
from bench_variants import migratized, original

# An interpreter takes twenty to fifty times as long.
REDUCTION = 20


def race_reduced(program, effort):
    """What was measured of `original` and `reduced`, by name; `None` for a program that is no kernel."""
    if program.group == "real":
        return None
    corpus_build.build_kernel(corpus_build.KERNELS / f"{program.name}.c", REDUCTION)
    reduced = replace(program, wasm=corpus_build.kernel_path(program.name, REDUCTION))
    variants = [original(reduced), migratized(reduced, "reduced", REWRITER)]
    return race(reduced, variants, "--engine", "wasmi", *effort)
