"""What must be true of a job, wherever it has been: it runs on one node at a time, and does what it does if it never moves.

A guest's witness is a file on all nodes to which it appends the number of each step. Somebody who is taken back repeats steps, so a
number may be smaller than it should be; it is never greater, unless steps are lost or two executors take turns.
"""
import contextlib
import json
import threading
import time

from live_guests import Failure, oracle
from live_nodes import RUNNING, run

DATA = '[directories]\n"/data" = { path = "{data}", write = true }\n'


class Watch:
    """Asks all nodes again and again whether a job runs on two of them."""

    def __init__(self, cluster, job):
        self.cluster, self.job = cluster, job
        self.fault, self.rounds = None, 0
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.is_over.set()
        self.thread.join()
        if self.fault and kind is None:
            raise Failure(self.fault)

    def epoch_of_runner(self, node):
        """The epoch in which a node runs the job; none if it does not, or does not answer."""
        if not self.cluster.nodes[node].is_up():
            return None
        code, output, _ = run(self.cluster.command(node, "ps", "--json"), 20)
        for view in json.loads(output) if code == 0 and output else []:
            state = view["state"] if isinstance(view["state"], str) else next(iter(view["state"]))
            if view["job"] == self.job and state in RUNNING:
                return view["epoch"]
        return None

    def watch(self):
        before, round_before = {}, {}
        while not self.is_over.is_set():
            now = {}
            for name in self.cluster.nodes:
                with contextlib.suppress(Failure):
                    now[name] = self.epoch_of_runner(name)
            # Who ran it before others were asked, and still runs it in the same epoch, ran it all the time.
            always = [name for name, epoch in now.items() if epoch is not None and before.get(name) == epoch]
            if len(always) > 1:
                self.fault = f"job {self.job} runs on {' and '.join(always)} at once: {before}, then {now}"
                return
            before = now
            self.rounds += 1
            self.is_over.wait(0.15)


def finish(cluster, job, expected, is_rolled_back=False, limit=120):
    """Waits for a job's end: output on all nodes together, and exit status, must be as expected."""
    output, status = expected
    node, about = cluster.wait_for(job, ["ended"], limit)
    if about["status"] != status:
        raise Failure(f"job {job} has ended on {node} with status {about['status']} ({about['reason']}), expected {status}")
    check_output(cluster, job, output, is_rolled_back)
    return node


def check_output(cluster, job, output, is_rolled_back=False):
    """All stretches that nodes have of a job's output are part of it, and together all of it; each byte once, if the job was never
    taken back."""
    stretches = sorted((first, name, part) for name, node in cluster.nodes.items() for first, part in node.output(job))
    end = 0
    for first, name, part in stretches:
        if output[first:first + len(part)] != part:
            raise Failure(f"output of {job} on {name} from byte {first} on is not the oracle's: {difference(output[first:], part)}")
        if first > end:
            raise Failure(f"bytes {end} to {first} of the output of {job} are nowhere: {[(f, n, len(p)) for f, n, p in stretches]}")
        if first < end and part and not is_rolled_back:
            raise Failure(f"bytes {first} to {end} of the output of {job} were written twice, again on {name}")
        end = max(end, first + len(part))
    if end != len(output):
        raise Failure(f"the output of {job} has {end} bytes, the oracle's {len(output)}")


def same(expected, found, what):
    if expected != found:
        how = difference(expected, found) if isinstance(expected, bytes) else f"{found}, expected {expected}"
        raise Failure(f"{what} is not as expected: {how}")


def difference(expected, found):
    """Where two texts differ, in words."""
    length = min(len(expected), len(found))
    at = next((i for i in range(length) if expected[i] != found[i]), length)
    return (f"{len(found)} bytes, expected {len(expected)}; at byte {at} {found[at:at + 60]!r}, "
            f"expected {expected[at:at + 60]!r}")


def check_witness(cluster, name, steps, is_rolled_back=False):
    numbers = [int(line) for line in (cluster.data / name).read_text().split()]
    expected = 0
    for at, number in enumerate(numbers):
        if number > expected:
            raise Failure(f"step {number} comes after {numbers[max(0, at - 4):at]}: steps are lost, or two executors take turns")
        if number < expected and not is_rolled_back:
            raise Failure(f"step {number} was done twice: {numbers[max(0, at - 4):at + 1]}")
        expected = number + 1
    if expected != steps:
        raise Failure(f"{expected} steps were done, expected {steps}")


class Checksum:
    """A job that writes all over its memory, with a witness."""

    def __init__(self, cluster, job, node="a", mebibytes=16, steps=1000, pause=5000):
        self.cluster, self.job, self.steps = cluster, job, steps
        self.witness = f"witness-{job}"
        self.expected = oracle("checksum", str(mebibytes), str(steps), "0")
        cluster.submit(node, job, "checksum", mebibytes, steps, pause, f"/data/{self.witness}", flags=["--dir", "/data"])
        until = time.monotonic() + 30
        while not (cluster.data / self.witness).exists():
            if time.monotonic() > until:
                raise Failure(f"job {job} does not begin: {cluster.state(node, job)}")
            time.sleep(0.02)

    def done(self):
        """How many steps were begun, some of them perhaps twice."""
        return (self.cluster.data / self.witness).read_bytes().count(b"\n")

    def advances(self, limit=30):
        """Waits until it has done something more."""
        before, until = self.done(), time.monotonic() + limit
        while self.done() <= before:
            if time.monotonic() > until:
                raise Failure(f"job {self.job} does nothing for {limit} s: {self.cluster.places(self.job)}")
            time.sleep(0.02)

    def finish(self, is_rolled_back=False, limit=120):
        node = finish(self.cluster, self.job, self.expected, is_rolled_back, limit)
        check_witness(self.cluster, self.witness, self.steps, is_rolled_back)
        return node
