"""What must be refused: with a message that says why, and the job goes on where it is."""
import re
import shutil
import time

from live_checks import DATA, Checksum
from live_guests import MIGRATE, WORK, Failure, module
from live_nodes import EVERYTHING, Cluster, free_port, run

PATIENCE = 20


def refused(command, pattern, what):
    """A command must fail soon, and say why."""
    began = time.monotonic()
    code, _, said = run(command)
    took = time.monotonic() - began
    if code == 0 or code == 101 or code < 0:
        raise Failure(f"{what}: exit code {code}: {said}")
    if not re.search(pattern, said):
        raise Failure(f"{what}: the message is not clear, expected {pattern!r}: {said}")
    if took > PATIENCE:
        raise Failure(f"{what}: it took {took:.0f} s to be refused")


def at_destination(label, pattern, change=None, **policy):
    """A node whose policy or keys are changed is not moved to."""
    with Cluster(f"trust-{label}", "ab", settings=DATA) as cluster:
        node = cluster.nodes["b"]
        node.stop()
        if change:
            change(cluster)
        cluster.write_policy("b", **policy)
        node.start()
        job = Checksum(cluster, "job", steps=2400)
        for mode in ["pre", "post"]:
            refused(cluster.move_command("job", "a", "b", mode), pattern, f"a move by {mode}")
            job.advances()
        # Its new identity may be strange to this one's tools, too.
        node.stop()
        job.finish()


def other_authority(cluster):
    shutil.rmtree(cluster.keys("b"))
    cluster.make_keys("b", authority="another")


def unlisted():
    at_destination("unlisted", r"list|admit|let in|not known|denied|refuse", peers={"b": EVERYTHING, "person": EVERYTHING})


def authority():
    at_destination("authority", r"authority|certificate|vouch", other_authority)


def move_here():
    may = [action for action in EVERYTHING if action != "move-here"]
    at_destination("move-here", r"move-here", peers={"a": may, "b": may, "person": EVERYTHING})


def memory():
    at_destination("memory", r"memory", settings=DATA_AT + '[limits]\nmemory = "8MiB"\n')


def modules():
    at_destination("modules", r"allowed modules", settings=DATA_AT + f'[limits]\nmodules = ["{"0" * 64}"]\n')


def read_only():
    at_destination("read-only", r"/data.*read-only", settings=f'[directories]\n"/data" = {{ path = "{WORK}" }}\n')


# A directory of that name, for tests that refuse for other reasons.
DATA_AT = f'[directories]\n"/data" = {{ path = "{WORK}", write = true }}\n'


def jobs():
    """The limit of jobs, of a job that comes and of one that is submitted."""
    with Cluster("trust-jobs", "ab", settings=DATA + "[limits]\njobs = 1\n") as cluster:
        moved, other = Checksum(cluster, "moved", steps=500), Checksum(cluster, "other", "b", steps=500)
        refused(cluster.move_command("moved", "a", "b", "pre"), r"1 jobs run there", "one job too many")
        third = cluster.command("b", "submit", module("checksum"), "--job", "third", "--", 1, 1, 1)
        refused(third, r"1 are allowed", "one job too many")
        moved.advances()
        if moved.finish() != "a" or other.finish() != "b":
            raise Failure("a job has moved")


def person():
    """People who may not do what they ask, or are not known."""
    with Cluster("trust-person", "ab", settings=DATA) as cluster:
        for name in ["nobody", "guest", "stranger"]:
            cluster.make_keys(name, authority="another" if name == "stranger" else "authority")
        cluster.nodes["a"].stop()
        cluster.write_policy("a", peers={"person": EVERYTHING, "guest": [], "stranger": EVERYTHING, "b": EVERYTHING})
        cluster.nodes["a"].start()
        job = Checksum(cluster, "job", steps=800)
        orders = {"submit": ["submit", module("checksum"), "--job", "more", "--", 1, 1, 1],
                  "read": ["ps"],
                  "move-away": ["move", "job", f"b@{cluster.nodes['b'].address}"],
                  "manage": ["kill", "job"]}
        for action, words in orders.items():
            refused(cluster.command("a", *words, person="guest"), f'add "{action}"', f"{action} by one who may not")
        for name in ["nobody", "stranger"]:
            refused(cluster.command("a", "ps", person=name), r"list|admit|let in|authority|certificate|vouch|refuse",
                    f"ps by {name}")
        refused(cluster.command("a", "attach", "job", person="guest"), r'add "(read|submit)"', "attach by one who may not")
        job.advances()
        job.finish()
        if "more" in cluster.jobs("a"):
            raise Failure("a job was started by one who may not")


def submitted():
    """What a node does not run even if it is submitted there."""
    with Cluster("trust-submitted", "a", settings=DATA) as cluster:
        submit = lambda name, *flags: cluster.command("a", "submit", module("checksum"), "--job", name, *flags, "--", 1, 9, 1)
        refused(submit("elsewhere", "--dir", "/other"), r"no directory `/other`", "a directory that is not there")
        cluster.submit("a", "twice", "checksum", 1, 9, 1)
        refused(submit("twice"), r"twice.*choose another name", "a name that is in use")
        cluster.nodes["a"].stop()
        cluster.write_policy("a", settings=f'[limits]\nmodules = ["{"0" * 64}"]\n')
        cluster.nodes["a"].start()
        refused(submit("module"), r"may not run here", "a module that is not allowed")


def written():
    """A directory that node.toml does not let jobs write to."""
    with Cluster("trust-written", "a", settings='[directories]\n"/data" = { path = "{data}" }\n') as cluster:
        command = cluster.command("a", "submit", module("checksum"), "--job", "job", "--dir", "/data", "--", 1, 3, 0, "/data/file")
        refused(command, r"/data.*write = true", "a directory that is not to be written to")
        if "job" in cluster.jobs("a"):
            raise Failure("the job was started nevertheless")


def same_name():
    """Another job has the name on the other node."""
    with Cluster("trust-same-name", "ab", settings=DATA) as cluster:
        mine = Checksum(cluster, "job", steps=500)
        cluster.submit("b", "job", "checksum", 1, 2000, 5000)
        refused(cluster.move_command("job", "a", "b", "pre"), r"its own", "a job whose name is taken")
        mine.advances()
        cluster.nodes["b"].stop()
        _, about = cluster.wait_for("job", ["ended"], 30)
        if about["status"] != mine.expected[1]:
            raise Failure(f"the job has ended with {about}")


def loopback():
    """Without keys, only this machine is listened to."""
    for address in ["0.0.0.0", "[::]"]:
        command = [MIGRATE, "serve", "--insecure-loopback", "--name", "a", "--directory", WORK / "trust-loopback",
                   "--listen", f"{address}:{free_port()}"]
        refused(command, r"127\.0\.0\.1 only", f"listening on {address}")


def wrong_name():
    """Another node answers than the one that is meant, or nobody."""
    with Cluster("trust-name", "abc", settings=DATA) as cluster:
        job = Checksum(cluster, "job", steps=5000)
        move = lambda to: cluster.command("a", "move", "job", to, "--mode", "pre")
        refused(move(f"c@{cluster.nodes['b'].address}"), r"`?b`?", "another node's name")
        refused(move(f"d@127.0.0.1:{free_port()}"), r"127\.0\.0\.1:\d+", "a node that is not there")
        refused(cluster.command("a", "move", "other", "b"), r"no job `other`", "a job that is not there")
        refused(move("e"), r"where is node `e`", "a node that nobody knows")
        refused(move(f"a@{cluster.nodes['a'].address}"), r"already", "where it is")
        cluster.move("job", "a", "c", "pre")
        job.finish()


def cases():
    checks = [unlisted, authority, move_here, memory, modules, read_only, jobs, person, submitted, written, same_name, loopback, wrong_name]
    in_sample = [move_here, person, loopback]
    for check in checks:
        yield "trust-" + check.__name__.replace("_", "-"), check in in_sample, check
