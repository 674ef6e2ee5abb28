// One variant of a program on V8. Compiles it, then runs it once in a fresh instance for every line of standard input,
// and answers each with a line of JSON: CPU milliseconds of this thread, exit code, digest of the output.
//
// usage: node bench-v8.mjs PROGRAM.json    with `name`, `kind` and `wasm` of the variant, `args`, `env`, `dirs`, and
// `output`, a file for what it prints.
import { createHash } from "node:crypto";
import { closeSync, openSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { WASI } from "node:wasi";

const program = JSON.parse(readFileSync(process.argv[2]));

// The next budget is chosen by time, as by runtime-shim/src/pacing.rs: a poll about every 0.125 ms.
const AIM_MS = 0.125;
const BUDGET_MAX = 2 ** 28;
const GROWTH_MAX = 4;

function migrationImports() {
  let budget = 64;
  let last = performance.now();
  const never = () => {
    throw new Error("the guest saves or loads a frame without being asked to");
  };
  return {
    poll() {
      const now = performance.now();
      const factor = Math.min(AIM_MS / Math.max(now - last, 1e-6), GROWTH_MAX);
      last = now;
      budget = Math.min(Math.max(Math.trunc(budget * factor), 1), BUDGET_MAX);
      return budget;
    },
    save_i32: never, save_i64: never, save_frame: never,
    load_frame: never, load_i32: never, load_i64: never, load_callee: never,
  };
}

function milliseconds() {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

let compileMs = process.cpuUsage();
const module = new WebAssembly.Module(readFileSync(program.wasm));
compileMs = process.cpuUsage(compileMs);

function run() {
  const output = openSync(program.output, "w+");
  const nothing = openSync("/dev/null", "r+");
  try {
    const wasi = new WASI({
      version: "preview1",
      args: program.args,
      env: Object.fromEntries(program.env),
      preopens: Object.fromEntries(program.dirs.map(([host, guest]) => [guest, host])),
      returnOnExit: true,
      stdin: nothing,
      stdout: output,
      stderr: nothing,
    });
    const imports = { ...wasi.getImportObject(), wasm_migrate: migrationImports(), inserted: { poll() {} } };
    const instance = new WebAssembly.Instance(module, imports);
    if (program.kind === "migratized") {
      instance.exports["wasm_migrate.budget"].value = 64;
      instance.exports["wasm_migrate.start"]?.();
    }
    const began = milliseconds();
    const exitCode = wasi.start(instance) ?? 0;
    const runMs = milliseconds() - began;
    const digest = createHash("sha256").update(readFileSync(program.output)).digest("hex");
    return { runMs, exitCode, digest };
  } finally {
    closeSync(output);
    closeSync(nothing);
  }
}

for await (const _ of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = run();
  } catch (error) {
    answer = { error: `${error}` };
  }
  process.stdout.write(JSON.stringify({ compileMs: (compileMs.user + compileMs.system) / 1000, ...answer }) + "\n");
}
