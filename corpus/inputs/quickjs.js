// Deterministic work for a JavaScript engine: closures, objects, strings, regular expressions, JSON, sorting,
// generators, big integers, typed arrays and exceptions. Prints as it goes.
let sum = 2166136261;

function note(text) {
  for (let i = 0; i < text.length; i++) sum = Math.imul(sum ^ text.charCodeAt(i), 16777619) >>> 0;
}

function random(seed) {
  return () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 4294967296;
}

function* fibonacci() {
  for (let [a, b] = [0n, 1n]; ; [a, b] = [b, a + b]) yield a;
}

function sorting(next) {
  const people = Array.from({ length: 4000 }, (_, i) => ({ id: i, age: Math.floor(next() * 90), name: `p${Math.floor(next() * 1e6)}` }));
  people.sort((a, b) => a.age - b.age || (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id));
  const ages = new Map();
  for (const { age } of people) ages.set(age, (ages.get(age) ?? 0) + 1);
  return JSON.stringify([people.slice(0, 3), [...ages].slice(0, 5)]);
}

function words(next) {
  let text = "";
  for (let i = 0; i < 3000; i++) text += String.fromCharCode(97 + Math.floor(next() * 6)) + (i % 7 ? "" : " ");
  const found = text.match(/\b[a-c]+[d-f]{2,}\b/g) ?? [];
  return found.map((word) => word.replace(/(.)(.)/g, "$2$1")).join(",").slice(0, 80);
}

function sieve(limit) {
  const composite = new Uint8Array(limit);
  let count = 0;
  for (let i = 2; i < limit; i++) {
    if (composite[i]) continue;
    count++;
    for (let j = i * i; j < limit; j += i) composite[j] = 1;
  }
  return `${count}`;
}

function numbers() {
  let index = 0;
  for (const value of fibonacci()) if (++index > 600) return `${value % 1000000007n} ${value.toString(36).length}`;
}

function unwinding(depth) {
  if (depth === 0) throw new RangeError("bottom");
  try {
    unwinding(depth - 1);
  } finally {
    sum = (sum + depth) >>> 0;
  }
}

const next = random(42);
for (let round = 1; round <= 5; round++) {
  for (const result of [sorting(next), words(next), sieve(150000), numbers()]) note(result);
  try {
    unwinding(200);
  } catch (error) {
    note(error.message);
  }
  console.log(`round ${round}: ${sum.toString(16)}`);
}
