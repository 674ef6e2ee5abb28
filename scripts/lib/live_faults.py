"""Nodes that die, stop, or cannot write, and links that stall, while a job moves: it goes on once, and nothing of it is lost."""
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time

from live_checks import DATA, Checksum, Watch
from live_guests import Failure
from live_nodes import RUNNING, Cluster, free_port, spawn

# Slow enough for a move of 32 MiB to be met in any of its phases.
SLOWLY = ["--bandwidth", "12M"]
# Phases of a move in which something happens, by mode.
PHASES = {"stop": ["stopped"], "pre": ["copying"], "post": ["pushing"], "hybrid": ["copying"], "auto": ["offering"]}
OUTCOME_LIMIT = 60
# What a source says that has let a job run elsewhere, and keeps it until that is safe there.
NOT_KNOWN = ("uncertain", "handed")
# Seconds after which all is well again.
PATIENCE = 5


class Moving:
    """A move under way."""

    def __init__(self, cluster, job, source, destination, mode, *flags):
        self.process = spawn(cluster.move_command(job, source, destination, mode, *flags), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.phases, self.last, self.said = [], None, b""
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            with self.changed:
                if event["event"] == "progress":
                    self.phases.append(event["progress"]["phase"])
                else:
                    self.last = event
                self.changed.notify_all()
        self.said = self.process.stderr.read()
        with self.changed:
            self.phases.append(None)
            self.changed.notify_all()

    def wait_for(self, phase, limit=OUTCOME_LIMIT):
        with self.changed:
            self.changed.wait_for(lambda: {phase, None} & set(self.phases), limit)
            if phase not in self.phases:
                raise Failure(f"the move was never {phase}: {sorted(set(map(str, self.phases)))}, {self.last}, {self.said}")

    def outcome(self, limit=OUTCOME_LIMIT):
        """Whether the job has moved, and what was said of it."""
        self.thread.join(limit)
        if self.thread.is_alive():
            self.process.kill()
            raise Failure(f"the move has no outcome after {limit} s; it was {self.phases[-1:]}")
        code = self.process.wait(10)
        if (code == 0) != (self.last == {"event": "moved"}):
            raise Failure(f"the move ends with exit code {code}, but says {self.last}: {self.said}")
        return code == 0, f"{self.last} {self.said.decode(errors='replace')}"


@contextlib.contextmanager
def setting(label, names="ab", steps=2000, flags=(), via="quic"):
    """Nodes and a job on a, which is watched, and must come to its end as if nothing had happened."""
    with Cluster(label, names, settings=DATA, flags=flags, via=via) as cluster:
        job = Checksum(cluster, "job", mebibytes=32, steps=steps)
        with Watch(cluster, "job"):
            yield cluster, job
            job.finish(is_rolled_back=True)


def moves_again(cluster, job):
    """Afterwards all is well: the job can move."""
    job.advances()
    here = cluster.executor("job")
    there = "b" if here == "a" else "a"
    until = time.monotonic() + PATIENCE
    while True:
        has_moved, said = Moving(cluster, "job", here, there, "pre").outcome()
        if has_moved:
            return
        # The other node may not know yet that the move before is over.
        if time.monotonic() > until:
            raise Failure(f"afterwards the job cannot move from {here} to {there}: {said}")
        time.sleep(0.5)


def die(victims, mode, phase):
    """Nodes are killed in a phase of a move and started again."""
    with setting(f"{'-'.join(victims)}-dies-{mode}-{phase}", flags=["--checkpoint-every", "1s"]) as (cluster, job):
        time.sleep(1.2)
        moving = Moving(cluster, "job", "a", "b", mode, *SLOWLY)
        moving.wait_for(phase)
        time.sleep(random.random() * 0.5)
        for victim in victims:
            cluster.nodes[victim].stop()
        time.sleep(0.3)
        if victims == ["b"] and phase == "copying":
            job.advances()
        for victim in victims:
            cluster.nodes[victim].start()
        moving.outcome()
        moves_again(cluster, job)


def settling(victim):
    """A node is killed when the job has just begun to run at its destination."""
    with setting(f"{victim}-dies-settling", flags=["--checkpoint-every", "1s"]) as (cluster, job):
        time.sleep(1.2)
        moving = Moving(cluster, "job", "a", "b", "stop")
        moving.wait_for("settling")
        cluster.nodes[victim].stop()
        time.sleep(0.3)
        cluster.nodes[victim].start()
        moving.outcome()
        moves_again(cluster, job)


def at_random(rounds, seed):
    """Nodes are killed at any moment of moves in any mode, on a link as fast as there is."""
    chosen = random.Random(seed)
    told = []
    with setting("at-random", steps=400 * rounds, flags=["--checkpoint-every", "1s"]) as (cluster, job):
        for _ in range(rounds):
            here = cluster.executor("job")
            there = "b" if here == "a" else "a"
            mode, victims = chosen.choice(list(PHASES)), chosen.choice(["a", "b", "b", "ab"])
            told.append(f"{here} to {there} by {mode}, {victims} killed")
            moving = Moving(cluster, "job", here, there, mode)
            time.sleep(chosen.random())
            try:
                for victim in victims:
                    cluster.nodes[victim].stop()
                time.sleep(0.2)
                for victim in victims:
                    cluster.nodes[victim].start()
                moving.outcome()
                cluster.executor("job")
                job.advances()
            except Failure as failure:
                raise Failure(f"{failure}\n  round by round: {'; '.join(told)}") from None


def cancel(mode, phase):
    """A move is given up; too late when the other node may own the job."""
    with setting(f"cancel-{mode}", steps=1500) as (cluster, job):
        moving = Moving(cluster, "job", "a", "b", mode, *SLOWLY)
        moving.wait_for(phase)
        code, _, said = cluster.ask("a", "cancel", "job")
        has_moved, outcome = moving.outcome()
        if phase != "pushing" and (code != 0 or has_moved):
            raise Failure(f"cancel: exit code {code} ({said}); the job has moved: {has_moved}, {outcome}")
        if phase == "pushing" and not has_moved:
            raise Failure(f"a job was taken back though the other node owned it: {outcome}")
        moves_again(cluster, job)
        code, _, said = cluster.ask("a", "cancel", "job")
        if code == 0 or "not being moved" not in said:
            raise Failure(f"cancel without a move: exit code {code}: {said}")


def nobody_there():
    """The destination does not exist."""
    with setting("nobody-there") as (cluster, job):
        began = time.monotonic()
        code, _, said = cluster.ask("a", "move", "job", f"b@127.0.0.1:{free_port()}")
        if code == 0 or "127.0.0.1" not in said:
            raise Failure(f"a destination that is not there: exit code {code}: {said}")
        if time.monotonic() - began > 20:
            raise Failure("that nobody is there took too long to be found out")
        job.advances()
        cluster.move("job", "a", "b", "pre")


def stall(mode, phase, who):
    """A node stands still for some seconds, as if the link did."""
    with setting(f"stall-{mode}-{who}") as (cluster, job):
        moving = Moving(cluster, "job", "a", "b", mode, *SLOWLY)
        moving.wait_for(phase)
        node = cluster.nodes[who]
        node.pause()
        time.sleep(5)
        node.go_on()
        has_moved, said = moving.outcome()
        if not has_moved:
            raise Failure(f"after a link that stood still for 5 s the job has not moved: {said}")
        job.advances()


@contextlib.contextmanager
def small_disk(cluster, name):
    """A node has a file system of 1 MiB from now on: its place."""
    place = cluster.directory / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "none", place], capture_output=True).returncode != 0:
        raise Failure("no small file system can be mounted: this test needs the right to do so")
    try:
        cluster.nodes[name].stop()
        cluster.nodes[name].start(directory=place)
        yield place
    finally:
        cluster.nodes[name].stop()
        subprocess.run(["umount", place], check=True)


def fill(place):
    """A file that takes all room that is left."""
    filler = place / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return filler


def full_disk():
    """The destination has no room for its journal."""
    with setting("full-disk", "abc") as (cluster, job):
        with small_disk(cluster, "b") as place:
            # The module has room, and nothing else.
            cluster.submit("b", "other", "checksum", 1, 1, 0)
            fill(place)
            for mode in ["stop", "pre", "post"]:
                has_moved, said = Moving(cluster, "job", "a", "b", mode).outcome()
                if has_moved:
                    raise Failure(f"by {mode} the job has moved to a node that cannot write its journal")
                job.advances()
                if "space" not in said:
                    raise Failure(f"that there is no space left is not said: {said}")
            cluster.move("job", "a", "c", "pre")
            job.advances()


def full_later():
    """The destination has room for its journal, but not for its first checkpoint, until somebody makes some."""
    with setting("full-later", steps=1500) as (cluster, job):
        node, kept = cluster.nodes["b"], cluster.directory / "kept"
        with small_disk(cluster, "b") as place:
            cluster.submit("b", "other", "checksum", 1, 1, 0)
            filler = fill(place)
            os.truncate(filler, filler.stat().st_size - (256 << 10))
            moving = Moving(cluster, "job", "a", "b", "stop")
            moving.wait_for("settling")
            cluster.wait_for("job", RUNNING, 20, ["b"])
            job.advances()
            found = cluster.state("a", "job")
            if found[0] not in NOT_KNOWN:
                raise Failure(f"without a checkpoint at b, a says {found}")
            subprocess.run(["mount", "-o", "remount,size=200M", place], check=True)
            has_moved, said = moving.outcome()
            if not has_moved:
                raise Failure(f"though there is room again, the job has not moved: {said}")
            node.stop(signal.SIGTERM)
            shutil.copytree(place, kept)
        node.start(directory=kept)


def restart_files(number):
    """A job with an open file goes on from its checkpoint after it has written more, which it writes again."""
    with Cluster(f"restart-files-{number}", "a", settings=DATA, flags=["--checkpoint-every", "500ms"]) as cluster:
        cluster.submit("a", "job", "files", "/data/log", 600, 5000, flags=["--dir", "/data"])
        time.sleep(1.5)
        cluster.nodes["a"].stop(number)
        cluster.nodes["a"].start()
        place = cluster.state("a", "job")
        if place[0] not in RUNNING:
            raise Failure(f"it does not go on: {place}")
        _, about = cluster.wait_for("job", ["ended"], 30)
        if about["reason"]:
            raise Failure(f"it has ended with {about}")


def kill():
    """`kill` ends a job: where it runs, in mid-move, and while its pages follow."""
    with Cluster("kill", "ab", settings=DATA) as cluster:
        for mode, phase in [(None, None), ("pre", "copying"), ("post", "pushing")]:
            job = Checksum(cluster, f"job-{mode}", mebibytes=32, steps=4000)
            here, moving = "a", None
            if mode:
                moving = Moving(cluster, job.job, "a", "b", mode, *SLOWLY)
                moving.wait_for(phase)
                here = "b" if phase == "pushing" else "a"
                cluster.wait_for(job.job, RUNNING, 10, [here])
            cluster.must(cluster.command(here, "kill", job.job))
            _, about = cluster.wait_for(job.job, ["ended"], 20)
            if about["status"] != 137:
                raise Failure(f"killed by {mode}, it has ended with {about}")
            if moving:
                moving.outcome()
            done = job.done()
            time.sleep(0.3)
            if job.done() != done:
                raise Failure(f"killed by {mode}, it goes on")
            code, _, said = cluster.ask(here, "logs", "-f", job.job)
            if code != 137:
                raise Failure(f"logs -f of a killed job: exit code {code}: {said}")
            if cluster.ask(here, "kill", job.job)[0] == 0:
                raise Failure("what has ended was killed")


def resolve():
    """The destination is gone for good while pages follow; a person decides. Then it comes back after all."""
    with setting("resolve", steps=2500) as (cluster, job):
        code, _, said = cluster.ask("a", "resolve", "job", "--here")
        if code == 0 or "not being moved" not in said:
            raise Failure(f"resolve without a move: exit code {code}: {said}")
        moving = Moving(cluster, "job", "a", "b", "post", *SLOWLY)
        moving.wait_for("pushing")
        cluster.nodes["b"].stop()
        time.sleep(1)
        place = cluster.state("a", "job")
        if place[0] not in NOT_KNOWN:
            raise Failure(f"nobody knows who owns the job, but a says {place}")
        cluster.must(cluster.command("a", "resolve", "job", "--here"))
        cluster.wait_for("job", RUNNING, 20, ["a"])
        has_moved, said = moving.outcome()
        if has_moved:
            raise Failure(f"a job that was taken back has moved: {said}")
        job.advances()
        cluster.nodes["b"].start()
        time.sleep(1)
        job.advances()
        if cluster.state("b", "job")[0] in RUNNING:
            raise Failure("the node that came back runs the job, too")
        moves_again(cluster, job)


def given_up():
    """A person decides that the job is the other node's: it runs here no more."""
    with Cluster("given-up", "ab", settings=DATA) as cluster:
        job = Checksum(cluster, "job", mebibytes=32)
        moving = Moving(cluster, "job", "a", "b", "post", *SLOWLY)
        moving.wait_for("pushing")
        cluster.nodes["b"].stop()
        time.sleep(1)
        cluster.must(cluster.command("a", "resolve", "job", "--gone"))
        cluster.wait_for("job", ["gone"], 20, ["a"])
        moving.outcome()
        cluster.nodes["a"].stop()
        cluster.nodes["a"].start()
        done = job.done()
        time.sleep(1)
        if job.done() != done or cluster.state("a", "job")[0] != "gone":
            raise Failure(f"a job that was given up goes on: {cluster.places('job')}")


def restart():
    """A node that is told to end leaves checkpoints, and goes on from them."""
    with setting("restart", "a") as (cluster, job):
        for number in [signal.SIGTERM, signal.SIGINT, signal.SIGTERM]:
            job.advances()
            before = job.done()
            cluster.nodes["a"].stop(number)
            cluster.nodes["a"].start()
            job.advances()
            first_again(cluster, job, before - 100)


def first_again(cluster, job, least):
    """The first step that was done again after a restart, which should be about where it ended."""
    numbers = [int(line) for line in (cluster.data / job.witness).read_text().split()]
    again = min([number for before, number in zip(numbers, numbers[1:]) if number <= before], default=least)
    if again < least:
        raise Failure(f"after a restart it began with step {again} again, though it was told to end after step {least}")


def restart_destination(phase, mode):
    """The destination of a move is told to end, and started again."""
    with setting(f"restart-destination-{phase}") as (cluster, job):
        moving = Moving(cluster, "job", "a", "b", mode, *SLOWLY)
        moving.wait_for(phase)
        cluster.nodes["b"].stop(signal.SIGTERM)
        cluster.nodes["b"].start()
        moving.outcome()
        moves_again(cluster, job)


def restart_moving(phase, mode):
    """The source of a move is told to end, and started again."""
    with setting(f"restart-{phase}") as (cluster, job):
        time.sleep(1)
        moving = Moving(cluster, "job", "a", "b", mode, *SLOWLY)
        moving.wait_for(phase)
        before = job.done()
        cluster.nodes["a"].stop(signal.SIGTERM)
        cluster.nodes["a"].start()
        moving.outcome()
        cluster.executor("job")
        job.advances()
        first_again(cluster, job, before - 100)


def checkpoints():
    """Checkpoints are written as often as can be while a job moves to and fro."""
    with setting("checkpoints", steps=2500, flags=["--checkpoint-every", "100ms"]) as (cluster, job):
        here = "a"
        for mode in ["pre", "hybrid", "pre", "stop", "post", "pre", "auto", "pre"]:
            there = "b" if here == "a" else "a"
            cluster.move("job", here, there, mode)
            here = there


def cases():
    for mode, phases in PHASES.items():
        for phase in phases:
            yield f"destination-dies-{mode}", mode in ("pre", "post"), lambda m=mode, p=phase: die(["b"], m, p)
            yield f"source-dies-{mode}", mode == "post", lambda m=mode, p=phase: die(["a"], m, p)
            yield f"both-die-{mode}", False, lambda m=mode, p=phase: die(["a", "b"], m, p)
    yield "destination-dies-hybrid-pushing", False, lambda: die(["b"], "hybrid", "pushing")
    yield "destination-dies-settling", False, lambda: settling("b")
    yield "source-dies-settling", False, lambda: settling("a")
    yield "die-at-random", False, lambda: at_random(15, random.randrange(1 << 30))
    for mode, phase in [("pre", "copying"), ("stop", "stopped"), ("post", "pushing")]:
        yield f"cancel-{mode}", mode == "pre", lambda m=mode, p=phase: cancel(m, p)
    yield "nobody-there", False, nobody_there
    for mode, phase, who in [("pre", "copying", "b"), ("post", "pushing", "b"), ("post", "pushing", "a"),
                             ("stop", "stopped", "b")]:
        yield f"stall-{mode}-{who}", False, lambda m=mode, p=phase, w=who: stall(m, p, w)
    yield "full-disk", False, full_disk
    yield "full-later", False, full_later
    yield "kill", True, kill
    yield "resolve", True, resolve
    yield "given-up", False, given_up
    yield "restart", True, restart
    yield "restart-copying", False, lambda: restart_moving("copying", "pre")
    yield "restart-pushing", False, lambda: restart_moving("pushing", "post")
    yield "restart-destination-copying", False, lambda: restart_destination("copying", "pre")
    yield "restart-destination-pushing", False, lambda: restart_destination("pushing", "post")
    for name, number in [("told", signal.SIGTERM), ("killed", signal.SIGKILL)]:
        yield f"restart-files-{name}", False, lambda number=number: restart_files(number)
    yield "checkpoints", False, checkpoints
