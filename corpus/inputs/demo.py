"""The demonstration: a few seconds of deterministic work that prints as it goes; as often as the argument says."""
import hashlib
import json
import sys


def primes(limit):
    sieve = bytearray([1]) * limit
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            for multiple in range(number * number, limit, number):
                sieve[multiple] = 0
    return [number for number in range(2, limit) if sieve[number]]


def queens(size, row=0, columns=0, left=0, right=0):
    if row == size:
        return 1
    count = 0
    free = ((1 << size) - 1) & ~(columns | left | right)
    while free:
        place = free & -free
        free ^= place
        count += queens(size, row + 1, columns | place, (left | place) << 1, (right | place) >> 1)
    return count


digest = hashlib.sha256()
for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1):
    for step in range(1, 6):
        found = primes(60_000 * step)
        digest.update(json.dumps(found[-100:]).encode())
        print(f"step {step}: {len(found)} primes, digest {digest.hexdigest()[:16]}", flush=True)
    for size in range(6, 9):
        print(f"{size} queens: {queens(size)} ways", flush=True)
