// Starts a WASI program on Node's own WASI: node start-frozen.mjs FILE [HOST::GUEST]...
import { readFileSync } from 'node:fs';
import { WASI } from 'node:wasi';

const [file, ...directories] = process.argv.slice(2);
const preopens = Object.fromEntries(directories.map((pair) => pair.split('::').reverse()));
const wasi = new WASI({ version: 'preview1', args: ['frozen'], env: {}, preopens, returnOnExit: true });
const { instance } = await WebAssembly.instantiate(readFileSync(file), wasi.getImportObject());
process.exitCode = wasi.start(instance);
