"""Many moves of one job in a row, which has a file and its input open."""
import random
import subprocess
import threading

from live_checks import DATA, Checksum, Watch, finish, same
from live_guests import Failure, oracle
from live_moves import MODES
from live_nodes import Cluster, spawn

LINE_EVERY = 0.02
# Steps of 5 ms and more that a job does for each move: it should last longer than they do.
STEPS_PER_MOVE = 100


class Typist:
    """Types lines for a job through `attach`, until it is told to end."""

    def __init__(self, cluster, node, job):
        self.process = spawn(cluster.command(node, "attach", job), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        self.lines, self.output = [], b""
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.type, daemon=True), threading.Thread(target=self.read, daemon=True)]
        for thread in self.threads:
            thread.start()

    def type(self):
        try:
            while not self.is_over.wait(LINE_EVERY):
                self.lines.append(b"%d %s\n" % (len(self.lines), b"z" * (len(self.lines) % 77)))
                self.process.stdin.write(self.lines[-1])
                self.process.stdin.flush()
            self.process.stdin.close()
        except BrokenPipeError:
            self.lines.pop()

    def read(self):
        self.output = self.process.stdout.read()

    def finish(self):
        """All that was typed, the output, and the exit status."""
        self.is_over.set()
        for thread in self.threads:
            thread.join(60)
            if thread.is_alive():
                raise Failure("attach does not end when its input does")
        return b"".join(self.lines), self.output, self.process.wait(10), self.process.stderr.read().decode(errors="replace")


def soak(count):
    """`count` moves, of three jobs in turns: one writes all over its memory, one reads what is typed, one has a file open."""
    chosen = random.Random(count)
    steps = STEPS_PER_MOVE * count
    with Cluster("soak", settings=DATA, flags=["--checkpoint-every", "5s"]) as cluster:
        job = Checksum(cluster, "checksum", mebibytes=16, steps=steps)
        cluster.submit("a", "echo", "echo", "8", flags=["--input"])
        typist = Typist(cluster, "a", "echo")
        aside = cluster.directory / "aside"
        aside.mkdir()
        cluster.submit("a", "files", "files", "/data/log", steps, 5000, flags=["--dir", "/data"])
        places = {"checksum": "a", "echo": "a", "files": "a"}
        with Watch(cluster, "checksum"), Watch(cluster, "echo"), Watch(cluster, "files"):
            for number in range(count):
                name, mode = list(places)[number % 3], chosen.choice(MODES)
                here, there = places[name], chosen.choice([node for node in "abc" if node != places[name]])
                try:
                    cluster.move(name, here, there, mode)
                except Failure as failure:
                    raise Failure(f"move {number} of {count}, of {name} from {here} to {there} by {mode}: {failure}") from None
                places[name] = there
            typed, output, code, said = typist.finish()
            expected = oracle("echo", "8", stdin=typed)
            same(expected[0], output, f"what attach printed (it said {said!r})")
            same(expected[1], code, "the exit status of attach")
            finish(cluster, "echo", expected)
            job.finish(limit=60 + steps / 50)
            finish(cluster, "files", oracle("files", "/data/log", str(steps), "0", data=aside))
    return f"{count} moves, {len(typed)} bytes typed"
