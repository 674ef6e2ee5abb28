"""Strangers who send rubbish to nodes while jobs move."""
import contextlib
import os
import random
import socket
import threading
import time

from live_faults import setting
from live_guests import Failure

# Strangers are elsewhere than nodes, whose connections are counted by address.
STRANGER = "127.0.0.2"
# What a connection may begin with: rubbish, a TLS handshake, HTTP, a great length.
BEGINNINGS = [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff", b"\0" * 32]


def by_tcp(port, chosen, held):
    with contextlib.suppress(OSError):
        stranger = socket.socket()
        stranger.settimeout(0.5)
        stranger.bind((STRANGER, 0))
        stranger.connect(("127.0.0.1", port))
        stranger.sendall(chosen.choice(BEGINNINGS) + os.urandom(chosen.choice([0, 1, 40, 5000])))
        held.append(stranger)
        # Some are kept open and say nothing more.
        if len(held) > 40:
            held.pop(chosen.randrange(len(held))).close()


def by_udp(port, chosen, stranger):
    with contextlib.suppress(OSError):
        first = bytes([chosen.choice([0xc0, 0xc3, 0xf0, 0x40, chosen.randrange(256)])])
        version = chosen.choice([b"\0\0\0\1", b"\0\0\0\0", os.urandom(4)])
        rest = bytes([8]) + os.urandom(8) + bytes([8]) + os.urandom(chosen.choice([8, 100, 1200]))
        stranger.sendto(first + version + rest, ("127.0.0.1", port))


class Strangers:
    """Rubbish for nodes, as long as this lasts."""

    def __init__(self, ports):
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.send, args=(port, number), daemon=True)
                        for number, port in enumerate(ports)]
        self.sent = 0

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        for thread in self.threads:
            thread.join()

    def send(self, port, seed):
        chosen, held = random.Random(seed), []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind((STRANGER, 0))
            while not self.is_over.is_set():
                by_tcp(port, chosen, held)
                for _ in range(5):
                    by_udp(port, chosen, stranger)
                self.sent += 6
                time.sleep(0.005)
        for one in held:
            one.close()


def rubbish(via):
    """Moves go on as if nobody had sent any."""
    with setting(f"hostile-{via}", via=via, steps=1500) as (cluster, job):
        here = "a"
        with Strangers([node.port for node in cluster.nodes.values()]) as strangers:
            for mode in ["pre", "post", "hybrid", "stop"]:
                there = "b" if here == "a" else "a"
                cluster.move("job", here, there, mode)
                job.advances()
                here = there
            if strangers.sent < 100:
                raise Failure(f"strangers have sent only {strangers.sent} times")


def spoofed():
    """Rubbish from the address of the nodes themselves, by UDP, where anybody can write any address."""
    with setting("hostile-spoofed", via="quic", steps=1500) as (cluster, job):
        chosen = random.Random(1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.1", 0))
            here = "a"
            for mode in ["pre", "post", "stop"]:
                for node in cluster.nodes.values():
                    for _ in range(500):
                        by_udp(node.port, chosen, stranger)
                there = "b" if here == "a" else "a"
                cluster.move("job", here, there, mode)
                here = there


def cases():
    yield "hostile-quic", True, lambda: rubbish("quic")
    yield "hostile-tcp", False, lambda: rubbish("tcp")
    yield "hostile-spoofed", False, spoofed
