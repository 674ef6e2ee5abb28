"""Deterministic work for CPython: classes, generators, dictionaries, sorting, regular expressions, JSON, big
integers, fractions, heaps, exceptions and hashing. Prints as it goes."""
import bisect
import collections
import fractions
import hashlib
import heapq
import itertools
import json
import re


class Random:
    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % limit


def shortest_paths(random, nodes=300, edges=2500):
    graph = collections.defaultdict(list)
    for _ in range(edges):
        graph[random.below(nodes)].append((random.below(nodes), 1 + random.below(100)))
    distance, queue = {0: 0}, [(0, 0)]
    while queue:
        so_far, node = heapq.heappop(queue)
        if so_far > distance[node]:
            continue
        for to, length in graph[node]:
            if so_far + length < distance.get(to, 10**9):
                distance[to] = so_far + length
                heapq.heappush(queue, (so_far + length, to))
    return sorted(distance.items())[-20:]


def words(random):
    text = "".join("abcdefgh    "[random.below(12)] for _ in range(12_000))
    counts = collections.Counter(re.findall(r"\b[a-d]+(?=[e-h]*\s)", text))
    return [re.sub(r"(\w)(\w)", r"\2\1", word) for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:30]]


def records(random):
    made = [{"id": number, "tags": [random.below(9) for _ in range(3)], "x": random.below(1000) / 8} for number in range(900)]
    back = json.loads(json.dumps(made))
    back.sort(key=lambda record: (record["tags"], -record["x"]))
    return [record["id"] for record in back[:25]]


def series(terms):
    total = sum((fractions.Fraction((-1) ** n, 2 * n + 1) for n in range(terms)), fractions.Fraction(0))
    return str(total.numerator % 10**9 + total.denominator % 10**9)


def increasing(random):
    tails = []
    for value in (random.below(10**6) for _ in range(9000)):
        place = bisect.bisect_left(tails, value)
        tails[place:place + 1] = [value]
    return len(tails)


def nested(depth):
    try:
        if depth == 0:
            raise KeyError("bottom")
        return nested(depth - 1)
    except KeyError as error:
        raise ValueError(f"{depth}:{error.args[0]}"[:40]) from error


def permutations():
    return sum(1 for p in itertools.permutations(range(7)) if all(p[i] != i for i in range(7)))


def main():
    random, digest = Random(7), hashlib.sha256()
    for step in range(1, 7):
        results = [shortest_paths(random), words(random), records(random), series(120), increasing(random), permutations()]
        try:
            nested(1)
        except ValueError as error:
            results.append(str(error))
        digest.update(json.dumps(results).encode())
        print(f"step {step}: {digest.hexdigest()}", flush=True)


main()
