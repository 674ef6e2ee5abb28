"""Jobs that move in special circumstances: they end meanwhile, are moved twice, have followers while nodes die, and the like."""
import contextlib
import subprocess
import time

from live_checks import DATA, Checksum, Watch, check_output, finish, same
from live_faults import SLOWLY, Moving, setting
from live_guests import Failure, oracle
from live_moves import MODES, ended
from live_nodes import RUNNING, Cluster, spawn


def ends(mode, phase):
    """A job comes to its end while it moves."""
    with Cluster(f"ends-{mode}", "ab", settings=DATA) as cluster:
        job = Checksum(cluster, "job", mebibytes=32, steps=300)
        moving = Moving(cluster, "job", "a", "b", mode, "--bandwidth", "4M")
        moving.wait_for(phase)
        node = job.finish()
        has_moved, said = moving.outcome()
        if has_moved != (phase == "pushing") or node != ("b" if has_moved else "a"):
            raise Failure(f"it came to its end on {node}; it has moved: {has_moved}, {said}")
        code, _, said = cluster.ask("a", "logs", "-f", "job")
        same(job.expected[1], code, f"the exit status of logs -f (it said {said!r})")


def twice():
    """A job that is being moved is not moved elsewhere."""
    with setting("twice", "abc", steps=1500) as (cluster, job):
        moving = Moving(cluster, "job", "a", "b", "pre", *SLOWLY)
        moving.wait_for("copying")
        for there in "bc":
            code, _, said = cluster.ask("a", "move", "job", f"{there}@{cluster.nodes[there].address}")
            if code == 0 or "is being moved" not in said:
                raise Failure(f"a second move: exit code {code}: {said}")
        has_moved, said = moving.outcome()
        if not has_moved:
            raise Failure(f"the first move was disturbed: {said}")


def many():
    """Many jobs move to and fro at once."""
    with Cluster("many", "ab", settings=DATA) as cluster:
        jobs = [(Checksum(cluster, f"{node}-{mode}", node, mebibytes=4, steps=1500), node, mode)
                for mode in MODES for node in "ab"[:1 + (mode != "auto")]]
        for round in range(2):
            moves = []
            for job, node, mode in jobs:
                here = node if round == 0 else {"a": "b", "b": "a"}[node]
                there = "b" if here == "a" else "a"
                moves.append((f"{job.job} from {here}", Moving(cluster, job.job, here, there, mode)))
            for name, moving in moves:
                has_moved, said = moving.outcome()
                if not has_moved:
                    raise Failure(f"{name} has not moved: {said}")
        for job, _, _ in jobs:
            job.finish()


def options():
    """All compressions, and a job that is slowed down."""
    with setting("options", steps=1500) as (cluster, job):
        here = "a"
        for flags in [["--compress", "none"], ["--compress", "lz4"], ["--compress", "zstd"],
                      ["--auto-converge", "--bandwidth", "30M", "--downtime-target", "5ms"]]:
            there = "b" if here == "a" else "a"
            cluster.move("job", here, there, "pre", *flags)
            job.advances()
            here = there


def taken_back(what):
    """Somebody follows a job, or types for it, at its source while its destination dies in post-copy: it is taken back."""
    lines = [b"line %d\n" % number for number in range(150)]
    guest = ("echo", "32") if what == "attach" else ("checksum", "32", "800", "5000")
    stdin = b"".join(lines) if what == "attach" else b""
    expected = oracle("echo", "32", stdin=stdin) if what == "attach" else oracle("checksum", "32", "800", "0")
    with Cluster(f"{what}-taken-back", "ab") as cluster:
        cluster.submit("a", "job", *guest, flags=["--input"])
        words = ["attach", "job"] if what == "attach" else ["logs", "-f", "job"]
        process = spawn(cluster.command("a", *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with Watch(cluster, "job"):
            send(process, lines[:50])
            moving = Moving(cluster, "job", "a", "b", "post", *SLOWLY)
            moving.wait_for("pushing")
            send(process, lines[50:100])
            time.sleep(0.3)
            cluster.nodes["b"].stop()
            time.sleep(0.3)
            cluster.nodes["b"].start()
            moving.outcome()
            cluster.wait_for("job", RUNNING, 30, ["a"])
            send(process, lines[100:])
            output, code, said = ended(process, 60, what)
            same(expected[0], output, f"what {what} printed (it said {said!r})")
            same(expected[1], code, f"the exit status of {what} (it said {said!r})")
            finish(cluster, "job", expected, is_rolled_back=True)


def send(process, lines):
    with contextlib.suppress(BrokenPipeError):
        for line in lines:
            process.stdin.write(line)
            process.stdin.flush()
            time.sleep(0.005)


def waits():
    """Those who follow a job see what it writes while its pages still follow, not only afterwards."""
    with setting("waits", steps=1500) as (cluster, job):
        process = spawn(cluster.command("a", "logs", "-f", "job"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE)
        moving = Moving(cluster, "job", "a", "b", "post", "--bandwidth", "4M")
        moving.wait_for("pushing")
        time.sleep(0.5)
        seen = []
        for _ in range(2):
            process.stdout.read1(1 << 20)
            seen.append(process.stdout.read1(1 << 20))
        is_pushing = moving.phases[-1] == "pushing"
        process.kill()
        moving.outcome()
        if not is_pushing:
            raise Failure("logs -f showed nothing of what the job wrote while its pages followed")


def no_input():
    """A job without input that is killed before its first checkpoint still has none when it begins anew."""
    with Cluster("no-input", "a") as cluster:
        expected = oracle("echo", "1000", stdin=b"")
        cluster.submit("a", "job", "echo", "1000")
        cluster.nodes["a"].stop()
        cluster.nodes["a"].start()
        _, about = cluster.wait_for("job", ["ended"], 20)
        same(expected[1], about["status"], "the exit status")
        check_output(cluster, "job", expected[0], is_rolled_back=True)


def without_addresses(what):
    """Nodes that know each other's addresses only from orders to move are started again in the middle, or afterwards."""
    with Cluster(f"no-addresses-{what}", "ab", via=None, settings=DATA, flags=["--checkpoint-every", "1s"]) as cluster:
        for node in cluster.nodes.values():
            node.stop()
            cluster.write_policy(node.name, peers={})
            node.start()
        job = Checksum(cluster, "job", mebibytes=32, steps=1200)
        time.sleep(1.2)
        moving = Moving(cluster, "job", "a", "b", "post", *SLOWLY)
        if what == "dies":
            moving.wait_for("pushing")
        else:
            moving.outcome()
        cluster.nodes["a"].stop()
        cluster.nodes["a"].start()
        moving.outcome()
        job.advances()
        if what == "follow":
            code, output, said = cluster.ask("a", "logs", "-f", "job")
            same(job.expected[1], code, f"the exit status of logs -f (it said {said!r})")
        job.finish(is_rolled_back=True)


def cases():
    for mode, phase in [("pre", "copying"), ("post", "pushing")]:
        yield f"ends-{mode}", False, lambda m=mode, p=phase: ends(m, p)
    yield "moved-twice", False, twice
    yield "many", False, many
    yield "options", False, options
    for what in ["logs", "attach"]:
        yield f"{what}-taken-back", False, lambda what=what: taken_back(what)
    yield "logs-while-pages-follow", False, waits
    yield "no-input", False, no_input
    for what in ["dies", "follow"]:
        yield f"no-addresses-{what}", False, lambda what=what: without_addresses(what)
