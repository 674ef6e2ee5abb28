// Deterministic work for AssemblyScript: classes, arrays, maps, strings, sorting, recursion, 64-bit arithmetic.
// Prints as it goes.

class Random {
  constructor(private state: u64) {}

  below(limit: u64): u64 {
    this.state = this.state * 6364136223846793005 + 1442695040888963407;
    return (this.state >> 33) % limit;
  }
}

class Tree {
  left: Tree | null = null;
  right: Tree | null = null;

  constructor(public value: u64) {}

  insert(value: u64): void {
    const next = value < this.value ? this.left : this.right;
    if (next) next.insert(value);
    else if (value < this.value) this.left = new Tree(value);
    else this.right = new Tree(value);
  }

  depth(): i32 {
    const left = this.left;
    const right = this.right;
    return 1 + max(left ? left.depth() : 0, right ? right.depth() : 0);
  }
}

let sum: u32 = 2166136261;

function note(text: string): void {
  for (let i = 0; i < text.length; i++) sum = (sum ^ text.charCodeAt(i)) * 16777619;
}

function tree(random: Random): string {
  const root = new Tree(random.below(1 << 30));
  for (let i = 0; i < 30000; i++) root.insert(random.below(1 << 30));
  return root.depth().toString();
}

function words(random: Random): string {
  const counts = new Map<string, i32>();
  for (let i = 0; i < 20000; i++) {
    let word = "";
    for (let length = random.below(3); length >= 0 && length < 3; length--) {
      word += String.fromCharCode(97 + <i32>random.below(6));
    }
    counts.set(word, (counts.has(word) ? counts.get(word) : 0) + 1);
  }
  const keys = counts.keys().sort();
  const parts: string[] = [];
  for (let i = 0; i < keys.length; i += 17) parts.push(keys[i] + counts.get(keys[i]).toString());
  return parts.join(",");
}

function sorting(random: Random): string {
  const numbers = new Array<f64>(30000);
  for (let i = 0; i < numbers.length; i++) numbers[i] = <f64>random.below(1000000) / 64;
  numbers.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return numbers[numbers.length / 2].toString();
}

function queens(size: i32, row: i32, columns: i32, left: i32, right: i32): i32 {
  if (row == size) return 1;
  let count = 0;
  let free = ((1 << size) - 1) & ~(columns | left | right);
  while (free) {
    const place = free & -free;
    free ^= place;
    count += queens(size, row + 1, columns | place, (left | place) << 1, (right | place) >> 1);
  }
  return count;
}

const random = new Random(5);
for (let round = 1; round <= 12; round++) {
  note(tree(random));
  note(words(random));
  note(sorting(random));
  note(queens(10, 0, 0, 0, 0).toString());
  console.log("round " + round.toString() + ": " + sum.toString(16));
}
