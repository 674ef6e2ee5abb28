"""Cells of the evaluation: a job that is moved back and forth between two nodes over a link, in one mode."""
import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from lab import Failure, Lab

PORT = 7333
# A cell that takes longer is estimated.
PATIENCE = 600
# So long a job runs before it is moved, and between two moves.
WARM_UP = 2.0
PAUSE = 1.5
ENDLESS = 10_000_000


@dataclass(frozen=True)
class Workload:
    """What is moved: the guest's workload and its memory."""
    name: str
    kind: str
    megabytes: int
    # How long filling its memory takes at most.
    start: float = 3.0


WORKLOADS = {one.name: one for one in [
    Workload("counter", "counter", 0, 0.5),
    Workload("life", "life", 0),
    Workload("matrix", "matrix", 0),
    Workload("store", "store", 256, 8.0),
    Workload("hog", "hog", 256, 5.0),
    Workload("idle-64", "idle", 64),
    Workload("idle", "idle", 1024, 15.0),
    Workload("noise", "noise", 256, 5.0),
]}
STRATEGIES = ["stop", "pre", "post", "hybrid", "auto"]


@dataclass
class Move:
    """One move, as measured."""
    total: float
    downtime: float
    bytes: int
    pages: int
    rounds: int
    phases: dict
    cpu: float
    rss: int
    chosen: str = ""


@dataclass
class Cell:
    """All moves of one workload over one link in one mode, and what was predicted."""
    profile: str
    workload: str
    strategy: str
    moves: list = field(default_factory=list)
    plan: dict = field(default_factory=dict)
    predicted: dict = field(default_factory=dict)


class Nodes:
    """Two nodes with keys, at the ends of a link."""

    def __init__(self, profile, binary, module, work, via):
        self.binary, self.module, self.via = binary, module, via
        self.work = work / profile.name
        self.lab = Lab(["east", "west"], profile)
        self.processes = {}

    def __enter__(self):
        subprocess.run(["rm", "-rf", self.work], check=True)
        self.work.mkdir(parents=True)
        for name in ["east", "west", "me"]:
            self.make_keys(name)
        self.lab.__enter__()
        try:
            for name in ["east", "west"]:
                self.policy(name)
                self.serve(name)
        except BaseException:
            self.lab.close()
            raise
        return self

    def __exit__(self, *_):
        self.lab.close()

    def make_keys(self, name):
        subprocess.run([self.binary, "-q", "keys", "init", "--authority", self.work / "authority", "--name", name,
                        self.work / name], check=True)

    def policy(self, name):
        other = "west" if name == "east" else "east"
        (self.work / name / "node.toml").write_text(
            '[[peer]]\nname = "me"\nmay = ["submit", "read", "move-away", "manage"]\n'
            f'[[peer]]\nname = "{other}"\naddress = "{self.lab.address(other)}:{PORT}"\nmay = ["move-here", "read"]\n')

    def serve(self, name):
        log = open(self.work / f"{name}.log", "ab")
        command = [self.binary, "serve", "-v", "--keys", self.work / name, "--listen", f"{self.lab.address(name)}:{PORT}",
                   "--directory", self.work / f"node-{name}", "--via", self.via, "--checkpoint-every", "1000m"]
        self.processes[name] = self.lab.start(name, command, stderr=log)
        deadline = time.time() + 20
        while b"listens on" not in (self.work / f"{name}.log").read_bytes():
            if time.time() > deadline or self.processes[name].poll() is not None:
                raise Failure(f"the node {name} does not start: see {self.work / name}.log")
            time.sleep(0.05)

    def command(self, node, *words):
        return [self.binary, *words, "--keys", self.work / "me", "--node", f"{self.lab.address(node)}:{PORT}"]

    def run(self, node, *words):
        done = self.lab.run(node, self.command(node, *words), text=True)
        if done.returncode != 0:
            raise Failure(f"`wasm-migrate {' '.join(map(str, words))}` failed: {done.stderr.strip()}")
        return done.stdout

    def submit(self, workload):
        job = workload.name
        words = ["--", workload.kind, workload.megabytes, ENDLESS]
        done = self.lab.run("east", [*self.command("east", "submit", self.module, "--job", job), *words], text=True)
        if done.returncode != 0:
            raise Failure(f"{job} cannot be submitted: {done.stderr.strip()}")
        deadline = time.time() + 60 + 4 * workload.start
        while not self.output(job).strip():
            if time.time() > deadline:
                raise Failure(f"{job} prints nothing")
            time.sleep(0.2)
        time.sleep(WARM_UP)

    def output(self, job):
        """What the job has printed, put together from what both nodes keep."""
        parts = {}
        for node in ["east", "west"]:
            for path in (self.work / f"node-{node}" / "jobs" / job).glob("stdout.*"):
                first, text = int(path.suffix[1:]), path.read_bytes()
                if len(text) >= len(parts.get(first, b"")):
                    parts[first] = text
        whole = b""
        for first in sorted(parts):
            if first > len(whole):
                raise Failure(f"bytes {len(whole)} to {first} of what {job} printed are missing")
            whole = whole[:first] + parts[first]
        return whole

    def cpu(self):
        """CPU seconds of both nodes."""
        ticks = 0
        for process in self.processes.values():
            fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def peak(self):
        """Most memory that one of the nodes has had, in bytes."""
        def of(process):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
        return max(of(process) for process in self.processes.values())

    def plan(self, node, other, job, strategy):
        words = ["plan", job, other, "--mode", strategy, "--json"]
        return json.loads(self.run(node, *words))

    def move(self, node, other, job, strategy, *options):
        """Moves a job, and says what that took."""
        command = self.command(node, "move", job, other, "--mode", strategy, "--json", *options)
        cpu, began = self.cpu(), time.time()
        process = subprocess.Popen(self.lab.command(node, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        phases, last, since, total = {}, None, began, None
        for line in process.stdout:
            now, event = time.time(), json.loads(line)
            if event["event"] == "stayed":
                raise Failure(f"{job} was not moved by {strategy}: {event['reason']}")
            if event["event"] == "moved":
                break
            if last:
                phase = last["phase"]
                phases[phase] = phases.get(phase, 0) + now - since
            last, since = event["progress"], now
            # From here on the destination needs nothing of the source but its patience.
            if total is None and last["phase"] in ("settling", "finished"):
                total = now - began
        if process.wait() != 0 or last is None:
            raise Failure(f"{job} was not moved by {strategy}: {process.stderr.read().strip()}")
        downtime = last["downtime"] or {"secs": 0, "nanos": 0}
        return Move(total=total or time.time() - began, downtime=downtime["secs"] + downtime["nanos"] / 1e9,
                    bytes=last["bytes_sent"], pages=last["pages_sent"], rounds=last["round"], phases=phases, cpu=self.cpu() - cpu, rss=self.peak(),
                    chosen=last["mode"])


def seconds(duration):
    return duration["secs"] + duration["nanos"] / 1e9


def measure(nodes, workload, strategies, repetitions, tell):
    """The cells of one workload over one link. The modes take turns, so that all see the same machine."""
    nodes.submit(workload)
    place, other = "east", "west"
    cells = {}
    for strategy in strategies:
        plan = nodes.plan(place, other, workload.name, strategy)
        mode = plan["chosen"] if strategy == "auto" else strategy
        predicted = next((one for one in plan["predictions"] if one["mode"] == mode), None)
        cells[strategy] = Cell(nodes.lab.profile.name, workload.name, strategy, plan=plan, predicted=predicted or {})
    for _ in range(repetitions):
        for strategy, cell in cells.items():
            if not cell.predicted or seconds(cell.predicted["total"]) > PATIENCE:
                continue
            move = nodes.move(place, other, workload.name, strategy)
            cell.moves.append(move)
            place, other = other, place
            tell(f"{cell.profile} {workload.name} {strategy}: downtime {move.downtime * 1e3:.1f} ms, total {move.total:.2f} s, "
                 f"{move.bytes / 1e6:.1f} MB, {move.rounds} rounds")
            time.sleep(PAUSE)
    nodes.run(place, "kill", workload.name)
    return list(cells.values())


def check(nodes, workload):
    """What a job has printed must be what it prints when nobody moves it."""
    output = nodes.output(workload.name)
    lines = output.count(b"\n")
    undisturbed = subprocess.run([nodes.binary, "-q", "run", nodes.module, "--", workload.kind, str(workload.megabytes),
                                  str(lines)], capture_output=True, check=False)
    # The last line may be cut where the job was killed.
    whole = output[:output.rfind(b"\n") + 1]
    if undisturbed.stdout != whole:
        raise Failure(f"what {workload.name} printed differs from what it prints when nobody moves it")
    return lines
