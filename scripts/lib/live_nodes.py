"""Nodes of one test: processes, keys, and the commands that are given to them."""
import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time

from live_guests import MIGRATE, WORK, Failure, module

COMMAND_LIMIT = 60
START_LIMIT = 30
EVERYTHING = ["submit", "move-here", "move-away", "read", "manage"]
RUNNING = ("running", "leaving")
processes = set()


def free_port():
    """A port of 127.0.0.1 that is free on TCP and UDP."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                udp.bind(tcp.getsockname())
                return tcp.getsockname()[1]
    raise Failure("no port is free on both TCP and UDP")


def spawn(command, **options):
    """A process that does not outlive this one."""
    process = subprocess.Popen([str(word) for word in command], **options)
    processes.add(process)
    return process


def end_all():
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


atexit.register(end_all)
signal.signal(signal.SIGTERM, lambda *_: exit(143))


def run(command, limit=COMMAND_LIMIT, stdin=None):
    """A command to its end: exit code, output, and what it said, all as text."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL if stdin is None else None, input=stdin, timeout=limit,
                              capture_output=True)
    except subprocess.TimeoutExpired:
        raise Failure(f"no end after {limit} s: {' '.join(words)}") from None
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


class Node:
    """One node. `settings` is what its node.toml has beside its peers."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.directory = cluster.directory / name
        self.log = cluster.directory / f"{name}.log"
        self.process = None
        self.is_paused = False
        self.is_expected_down = True

    def start(self, *flags, directory=None):
        """Starts it and waits until it listens."""
        self.directory = directory or self.directory
        with open(self.log, "ab") as log:
            before = log.tell()
            self.process = spawn([MIGRATE, "serve", "-v", "--directory", self.directory, "--listen", self.address,
                                  *self.cluster.identity(self.name), *self.cluster.flags, *flags],
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + START_LIMIT
        while b"listens on" not in self.log.read_bytes()[before:]:
            if self.process.poll() is not None:
                raise Failure(f"node {self.name} has ended: {self.tail(5)}")
            if time.monotonic() > until:
                raise Failure(f"node {self.name} does not listen after {START_LIMIT} s")
            time.sleep(0.02)
        self.is_expected_down = False

    def send(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGKILL):
        """Ends it and waits for that."""
        self.is_expected_down = True
        self.send(number)
        try:
            self.process.wait(START_LIMIT)
        except subprocess.TimeoutExpired:
            raise Failure(f"node {self.name} does not end at signal {number}") from None

    def pause(self):
        """It stands still."""
        self.is_paused = True
        self.send(signal.SIGSTOP)

    def go_on(self):
        self.send(signal.SIGCONT)
        self.is_paused = False

    def is_up(self):
        """Does it answer? One that has ended by itself is a failure."""
        if self.is_expected_down:
            return False
        if self.process.poll() is not None:
            raise Failure(f"node {self.name} has ended by itself with exit code {self.process.returncode}: {self.tail(5)}")
        return not self.is_paused

    def tail(self, lines):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def output(self, job):
        """What a job has written here: number of the first byte, and the bytes, of each stretch."""
        found = []
        for file in (self.directory / "jobs" / job).glob("stdout.*"):
            with contextlib.suppress(FileNotFoundError):
                found.append((int(file.suffix[1:]), file.read_bytes()))
        return sorted(found)


class Cluster:
    """Nodes that know each other. With `via` None there are no keys, as with --insecure-loopback."""

    def __init__(self, label, names="abc", via="quic", settings="", flags=()):
        self.directory = WORK / label
        shutil.rmtree(self.directory, ignore_errors=True)
        self.data = self.directory / "data"
        self.data.mkdir(parents=True)
        self.via = via
        self.settings = settings.replace("{data}", str(self.data))
        self.flags = [*flags, *(["--via", via] if via else [])]
        self.nodes = {}
        for name in names:
            self.nodes[name] = Node(self, name)
        for name in [*names, "person"]:
            self.make_keys(name)
            self.write_policy(name)

    def __enter__(self):
        for node in self.nodes.values():
            node.start()
        return self

    def __exit__(self, kind, error, _):
        for node in self.nodes.values():
            if node.process:
                node.process.kill()
                node.process.wait()
        if isinstance(error, Failure):
            tails = "\n".join(f"  {name}: " + node.tail(12).replace("\n", "\n     ") for name, node in self.nodes.items())
            error.args = (f"{error}\n{tails}",)

    def keys(self, name):
        return self.directory / "keys" / name

    def make_keys(self, name, authority="authority"):
        if self.via:
            self.must([MIGRATE, "keys", "init", self.keys(name), "--name", name, "--authority",
                       self.directory / authority])
        else:
            self.keys(name).mkdir(parents=True)

    def write_policy(self, name, peers=None, settings=None):
        """A node's node.toml: `peers` by name with what they may, everybody everything if it is not given."""
        peers = {**{name: EVERYTHING for name in self.nodes}, "person": EVERYTHING} if peers is None else peers
        text = self.settings if settings is None else settings
        for peer, may in peers.items():
            address = f'address = "{self.nodes[peer].address}"\n' if peer in self.nodes else ""
            text += f'\n[[peer]]\nname = "{peer}"\n{address}may = {json.dumps(may)}\n'
        (self.keys(name) / "node.toml").write_text(text)

    def identity(self, name):
        """Flags by which a node is who it is."""
        if self.via:
            return ["--keys", self.keys(name)]
        return ["--insecure-loopback", "--name", name, "--policy", self.keys(name) / "node.toml"]

    def command(self, node, *words, person="person"):
        """A command for a node, from a person."""
        flags = ["--keys", self.keys(person), "--via", self.via] if self.via else ["--insecure-loopback"]
        verb, *rest = words
        return [MIGRATE, verb, *flags, "--node", self.nodes[node].address, *rest]

    def ask(self, node, *words, limit=COMMAND_LIMIT, **options):
        return run(self.command(node, *words, **options), limit)

    def must(self, command, limit=COMMAND_LIMIT):
        """Output of a command that has to succeed."""
        code, output, said = run(command, limit)
        if code != 0:
            raise Failure(f"{' '.join(map(str, command[1:3]))}: exit code {code}: {said}")
        return output

    def submit(self, node, job, guest, *args, flags=()):
        self.must(self.command(node, "submit", module(guest), "--job", job, *flags, "--", *args))

    def move_command(self, job, source, destination, mode, *flags):
        address = self.nodes[destination].address
        return self.command(source, "move", job, f"{destination}@{address}", "--mode", mode, "--json", *flags)

    def move(self, job, source, destination, mode, *flags):
        """Moves a job, which has to go well: the last that was told of it."""
        output = self.must(self.move_command(job, source, destination, mode, *flags))
        events = [json.loads(line) for line in output.splitlines()]
        if not events or events[-1]["event"] != "moved":
            raise Failure(f"the last event of a move from {source} to {destination} is {events[-1:]}")
        told = [event["progress"] for event in events if event["event"] == "progress"]
        if not told:
            raise Failure("a move told nothing of how it went")
        return told[-1]

    def jobs(self, node):
        """Jobs of a node by name: state, what belongs to that, and epoch."""
        found = {}
        for view in json.loads(self.must(self.command(node, "ps", "--json"))):
            state, about = view["state"], {}
            if isinstance(state, dict):
                [(state, about)] = state.items()
            found[view["job"]] = (state, about, view["epoch"])
        return found

    def state(self, node, job):
        return self.jobs(node).get(job, (None, {}, 0))

    def places(self, job):
        """State of a job on each node that is up."""
        return {name: self.state(name, job) for name, node in self.nodes.items() if node.is_up()}

    def wait_for(self, job, wanted, limit=60, nodes=None):
        """Waits until the job is in one of these states somewhere: on which node, and what belongs to the state."""
        until = time.monotonic() + limit
        while True:
            places = self.places(job)
            for name, (state, about, _) in places.items():
                if state in wanted and (nodes is None or name in nodes):
                    return name, about
            if time.monotonic() > until:
                raise Failure(f"job {job} is {' or '.join(wanted)} nowhere after {limit} s: {places}")
            time.sleep(0.05)

    def executor(self, job, limit=60):
        """The node on which a job runs."""
        return self.wait_for(job, RUNNING, limit)[0]
