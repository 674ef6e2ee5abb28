"""Networks of test nodes on this machine: namespaces joined by `relay` (latency, jitter, loss, cuts) and shaped by `tc tbf`.

    with Lab(["a", "b"], PROFILES["5g"]) as lab:
        lab.run("a", ["wasm-migrate", ...])      # in namespace a, whose address is lab.address("a")
        lab.tell("cut")                          # and later lab.tell("mend")

Needs root. Namespaces are named after this process, and removed with everything in them, however it ends. The relay reaches
about 1 Gbit/s; faster profiles get a plain pair of veth devices, whose own latency is what there is.
"""
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
RELAY = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "relay"
# Faster than this the relay itself would be the bottleneck.
RELAY_MBIT_MAX = 1000
NODES_MAX = 200


class Failure(Exception):
    """A step that failed, told so that a person knows what to do next."""


@dataclass(frozen=True)
class Profile:
    """A link: rate, latency one way, and packets that are lost."""
    name: str
    mbit: float
    one_way_ms: float
    loss_percent: float
    jitter_ms: float = 0.0


PROFILES = {profile.name: profile for profile in [
    Profile("lan", 10_000, 0.1, 0),
    Profile("wifi6", 800, 5, 0.00001),
    Profile("5g", 400, 10, 0.01),
    Profile("starlink", 100, 45, 1),
    Profile("lte", 50, 40, 0.08),
    Profile("tee-best", 4, 200, 5),
    Profile("tee-average", 2, 400, 10),
    Profile("tee-worst", 0.65, 3000, 15),
]}


def setup():
    """Installs the tools, if they are not there."""
    missing = [package for tool, package in [("ip", "iproute2"), ("tc", "iproute2")] if not shutil.which(tool)]
    if missing:
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *set(missing)], check=True,
                       stdout=subprocess.DEVNULL)
    if os.geteuid() != 0:
        raise Failure("network namespaces need root: run this as root")


class Lab:
    def __init__(self, nodes, profile, seed=1):
        if not 2 <= len(nodes) <= NODES_MAX:
            raise Failure(f"a network has 2 to {NODES_MAX} nodes, not {len(nodes)}")
        self.nodes, self.profile, self.seed = list(nodes), profile, seed
        self.relay = None
        self.started = []

    def __enter__(self):
        try:
            self.build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def namespace(self, node):
        return f"lab{os.getpid()}-{node}"

    def address(self, node):
        return f"10.99.0.{self.nodes.index(node) + 1}"

    def build(self):
        setup()
        for node in self.nodes:
            tool("ip", "netns", "add", self.namespace(node))
            tool("ip", "-n", self.namespace(node), "link", "set", "lo", "up")
        if self.profile.mbit > RELAY_MBIT_MAX:
            self.join_by_bridge()
        else:
            self.join_by_relay()

    def join_by_relay(self):
        profile = self.profile
        command = [RELAY, "--delay", profile.one_way_ms, "--jitter", profile.jitter_ms, "--loss", profile.loss_percent,
                   "--seed", self.seed]
        for node in self.nodes:
            command += ["--node", f"{self.namespace(node)}={self.address(node)}"]
        self.relay = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      text=True)
        if self.relay.stdout.readline() != "ready\n":
            raise Failure("the relay does not start: it needs root, /dev/net/tun and `scripts/build`")
        for number, node in enumerate(self.nodes):
            self.shape(self.namespace(node), f"relay{number}")

    def join_by_bridge(self):
        """A switch in a namespace of its own; no latency is added."""
        switch = self.namespace("switch")
        tool("ip", "netns", "add", switch)
        tool("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        tool("ip", "-n", switch, "link", "set", "br0", "up")
        for number, node in enumerate(self.nodes):
            outer, inner = f"v{number}", "eth0"
            tool("ip", "-n", switch, "link", "add", outer, "type", "veth", "peer", "name", inner, "netns",
                 self.namespace(node))
            tool("ip", "-n", switch, "link", "set", outer, "master", "br0", "up")
            tool("ip", "-n", self.namespace(node), "addr", "add", f"{self.address(node)}/24", "dev", inner)
            tool("ip", "-n", self.namespace(node), "link", "set", inner, "up")
            self.shape(self.namespace(node), inner)

    def shape(self, namespace, device):
        """What a node sends goes at the profile's rate; 50 ms of it may wait, as in a good router."""
        bits = int(self.profile.mbit * 1e6)
        burst = max(3_200, bits // 8 // 250)
        tool("tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{bits}bit", "burst",
             f"{burst}b", "latency", "50ms")

    def tell(self, command):
        """Changes the relay's network: delay MS, jitter MS, loss PERCENT, cut, mend."""
        if not self.relay:
            raise Failure(f"the profile {self.profile.name} has no relay that could `{command}`")
        self.relay.stdin.write(f"{command}\n")
        self.relay.stdin.flush()
        if self.relay.stdout.readline() != "done\n":
            raise Failure(f"the relay does not understand `{command}`")

    def command(self, node, command):
        return ["ip", "netns", "exec", self.namespace(node), *(str(word) for word in command)]

    def start(self, node, command, **options):
        """Starts a process on a node; it is killed when the network is removed."""
        process = subprocess.Popen(self.command(node, command), **options)
        self.started.append(process)
        return process

    def run(self, node, command, **options):
        options = {"capture_output": True, "timeout": 600, **options}
        return subprocess.run(self.command(node, command), **options)

    def close(self):
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()
        if self.relay:
            self.relay.stdin.close()
            self.relay.wait()
        for name in [*self.nodes, "switch"]:
            namespace = self.namespace(name)
            if Path("/run/netns", namespace).exists():
                subprocess.run(["ip", "netns", "del", namespace], check=False)


def tool(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"`{' '.join(map(str, words))}` failed: {done.stderr.strip()}")
