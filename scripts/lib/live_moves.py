"""Moves that go well: all modes on both transports, those who look on, files, predictions."""
import contextlib
import json
import random
import subprocess
import threading
import time

from live_checks import DATA, Checksum, Watch, finish, same
from live_guests import Failure, oracle
from live_nodes import Cluster, spawn

MODES = ["stop", "pre", "post", "hybrid", "auto"]
ROUTE = ["a", "b", "c", "a"]


def every_mode(via, mode):
    """A job goes round three nodes."""
    with Cluster(f"{via}-{mode}", via=via, settings=DATA) as cluster:
        job = Checksum(cluster, "job")
        with Watch(cluster, "job") as watch:
            for source, destination in zip(ROUTE, ROUTE[1:]):
                told = cluster.move("job", source, destination, mode)
                if mode in ("stop", "pre", "post") and told["mode"].lower() != mode:
                    raise Failure(f"it moved by {told['mode']} instead of {mode}")
                job.advances()
            node = job.finish()
        if node != "a" or watch.rounds < 2:
            raise Failure(f"it came to its end on {node}, and was watched {watch.rounds} times")


def without_keys():
    """As the documentation tells to try it out."""
    with Cluster("loopback", via=None, settings=DATA) as cluster:
        job = Checksum(cluster, "job", steps=600)
        for source, destination in zip(ROUTE, ROUTE[1:]):
            cluster.move("job", source, destination, "auto")
        job.finish()


def ended(process, limit, what):
    """Output and exit status of a process that must end."""
    try:
        output, said = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        output, said = process.communicate()
        raise Failure(f"{what} does not end; it printed {len(output)} bytes and said {said.decode(errors='replace')[-500:]}") from None
    return output, process.returncode, said.decode(errors="replace")


def follow():
    """`logs -f` follows a job that moves several times."""
    with Cluster("follow", settings=DATA) as cluster:
        job = Checksum(cluster, "job", steps=1500)
        logs = [spawn(cluster.command("a", "logs", "-f", "job"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                      stderr=subprocess.PIPE) for _ in range(2)]
        for (source, destination), mode in zip(zip("abcacb", "bcacba"), [*MODES, "post"]):
            cluster.move("job", source, destination, mode)
            job.advances()
        job.finish()
        for process in logs:
            output, code, said = ended(process, 30, "logs -f")
            same(job.expected[0], output, f"what logs -f printed (it said {said!r})")
            same(job.expected[1], code, "the exit status of logs -f")


def feed(process, lines, pause):
    """Types lines in another thread."""
    def write():
        with contextlib.suppress(BrokenPipeError):
            for line in lines:
                process.stdin.write(line)
                process.stdin.flush()
                time.sleep(pause)
            process.stdin.close()
            process.stdin = None

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def attach(label, lines, pause, moves):
    """`attach` types while the job moves back and forth."""
    expected = oracle("echo", "4", stdin=b"".join(lines))
    with Cluster(label) as cluster:
        cluster.submit("a", "job", "echo", "4", flags=["--input"])
        process = spawn(cluster.command("a", "attach", "job"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE)
        typing = feed(process, lines, pause)
        output = []
        reading = threading.Thread(target=lambda: output.append(process.stdout.read()), daemon=True)
        reading.start()
        here, count = "a", 0
        with Watch(cluster, "job"):
            for number in range(moves):
                if not typing.is_alive():
                    break
                there = "b" if here == "a" else "a"
                cluster.move("job", here, there, MODES[number % len(MODES)])
                here, count = there, count + 1
            typing.join(60)
            reading.join(60)
        if typing.is_alive() or reading.is_alive() or count < min(moves, 2):
            raise Failure(f"attach hangs after {count} moves (typing: {typing.is_alive()}, reading: {reading.is_alive()}): "
                          f"{cluster.places('job')}")
        code = process.wait(10)
        said = process.stderr.read().decode(errors="replace")
        same(expected[0], output[0], f"what attach printed (it said {said!r}, exit status {code})")
        same(expected[1], code, f"the exit status of attach (it said {said!r})")
        finish(cluster, "job", expected)


def attach_slowly():
    chosen = random.Random(7)
    lines = [b"line %d %s\n" % (number, b"x" * chosen.randrange(120)) for number in range(400)]
    attach("attach", lines, 0.02, 12)


def attach_much():
    """More input than is under way anywhere, to a job that reads as fast as it can."""
    attach("attach-much", [b"%07d\n" % number * 1024 for number in range(800)], 0.005, 6)


def files():
    """A job with an open file moves to nodes that have its directory, and not to one that does not."""
    with Cluster("files", settings=DATA) as cluster:
        cluster.write_policy("c", settings="")
        cluster.nodes["c"].stop()
        cluster.nodes["c"].start()
        aside = cluster.directory / "aside"
        aside.mkdir()
        steps = "700"
        expected = oracle("files", "/data/log", steps, "0", data=aside)
        cluster.submit("a", "job", "files", "/data/log", steps, "5000", flags=["--dir", "/data"])
        here = "a"
        with Watch(cluster, "job"):
            for mode, there in zip(MODES[:4], "baba"):
                code, _, said = cluster.ask(here, "move", "job", f"c@{cluster.nodes['c'].address}", "--mode", mode)
                if code == 0 or "/data" not in said:
                    raise Failure(f"a node without the directory: exit code {code}: {said}")
                cluster.move("job", here, there, mode)
                here = there
            finish(cluster, "job", expected)
        same((aside / "log").read_bytes(), (cluster.data / "log").read_bytes(), "the file that it wrote")


def plan():
    """What `plan` says, and what comes of it."""
    with Cluster("plan", settings=DATA) as cluster:
        job = Checksum(cluster, "job", mebibytes=32, steps=1500)
        here, said = "a", []
        for number, mode in enumerate(MODES[:4]):
            there = "b" if here == "a" else "a"
            output = cluster.must(cluster.command(here, "plan", "job", there, "--json"))
            predicted = {one["mode"].lower(): one["downtime"] for one in json.loads(output)["predictions"]}
            if mode not in predicted:
                raise Failure(f"plan says nothing of {mode}: {predicted}")
            downtime = cluster.move("job", here, there, mode)["downtime"]
            if downtime is None:
                raise Failure(f"no downtime of a move by {mode} was told")
            predicted, found = (time["secs"] + time["nanos"] / 1e9 for time in (predicted[mode], downtime))
            said.append(f"{mode} {found * 1000:.1f} ms, {found / max(predicted, 1e-9):.1f} times the predicted")
            here = there
        job.finish()
        return "; ".join(said)


def cases():
    """All of them: name, is it part of the sample, and the test."""
    for via in ["quic", "tcp"]:
        for mode in MODES:
            yield f"{via}-{mode}", via == "quic" or mode == "hybrid", lambda via=via, mode=mode: every_mode(via, mode)
    yield "without-keys", False, without_keys
    yield "follow", True, follow
    yield "attach", True, attach_slowly
    yield "attach-much", False, attach_much
    yield "files", True, files
    yield "plan", True, plan
