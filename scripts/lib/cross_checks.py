"""What must happen between machines of different architectures when something is not as it should be, and guests that
are shipped through pipes instead of files."""
import hashlib
import shlex

from cross_build import ARCHITECTURES, ROOT, Failure
from cross_programs import NATIVE, SNAPSHOT_WRITTEN, TOO_LARGE, Node, Program, directory, run

CROSS = ROOT / "corpus" / "cross"
IS_32_BIT = {"armv7"}


def all_checks(programs, names):
    """Pairs of what is checked and how."""
    programs = {program.name: program for program in programs}
    files, deep = programs["files"], programs["deep"]
    for name in names:
        node = Node(name)
        yield f"relaxed SIMD is refused on {name}", lambda node=node: relaxed_simd_is_refused(node)
        yield f"NaNs are warned of on {name}", lambda node=node: nans_are_warned_of(node)
        yield f"a stack too deep for {name} is refused", lambda node=node: deep_stack_is_refused(deep, node)
        yield f"code that is not for {name} is refused", lambda node=node: other_code_is_refused(files, node)
        if name in IS_32_BIT:
            yield f"a memory too large for {name} is refused", lambda node=node: large_memory_is_refused(node)
        here = Node(NATIVE)
        yield f"a pipe to {name}", lambda node=node: pipe(files, [here, node])
        yield f"a pipe from {name}", lambda node=node: pipe(files, [node, here])
        yield f"a command on {name}", lambda node=node: ship_by_command(files, here, node)
        yield f"a command from {name}", lambda node=node: ship_by_command(files, node, here)
        yield f"a command that fails on {name}", lambda node=node: failing_commands(files, node)
        yield f"a pipe that breaks on {name}", lambda node=node: broken_pipes(files, node)
    if len(names) > 1:
        nodes = [Node(name) for name in names]
        label = " -> ".join([NATIVE, *names, NATIVE])
        yield f"pipes {label}", lambda: pipe(files, [here, *nodes, here])


def expect(is_so, what, code, said):
    if not is_so:
        raise Failure(f"expected {what}, found exit code {code}: {said[-2000:]}")


def stop(program, node, here, poll):
    code, output, said = run(program.start(node, here, ["--snapshot-at", poll]))
    expect(code == SNAPSHOT_WRITTEN, "a snapshot", code, said)
    return output


def relaxed_simd_is_refused(node):
    program = Program("relaxed-as-it-comes", CROSS / "relaxed.wat", invoke="run")
    here = directory(f"relaxed-{node.name}")
    stop(program, Node(NATIVE), here, 100)
    code, _, said = run(program.resume(node, here))
    expect(code == 1 and "--deterministic-relaxed-simd" in said, "a refusal that names the option", code, said)
    code, _, said = run(program.resume(Node(NATIVE), here))
    expect(code == 0, "that it goes on where it was", code, said)


def nans_are_warned_of(node):
    program = Program("nans-as-they-come", CROSS / "float.wat", invoke="run")
    here = directory(f"nans-{node.name}")
    stop(program, Node(NATIVE), here, 100)
    code, output, said = run(program.resume(node, here))
    expect(code == 0 and "--canonicalize-nans" in said, "a warning that names the option", code, said)
    program.check(code, output, here)


def deep_stack_is_refused(program, node):
    here = directory(f"deep-{node.name}")
    stop(program, Node(NATIVE), here, program.polls * 3 // 4)
    digest = hashlib.sha256((here / "snapshot").read_bytes()).digest()
    code, _, said = run(program.resume(node, here, ["--stack-size", "128K"]))
    expect(code == 1 and "--stack-size" in said, "a refusal that names the option", code, said)
    if hashlib.sha256((here / "snapshot").read_bytes()).digest() != digest:
        raise Failure("the snapshot has changed")
    code, output, _ = run(program.resume(node, here))
    program.check(code, output, here)


def large_memory_is_refused(node):
    program = Program(TOO_LARGE, CROSS / f"{TOO_LARGE}.wat", invoke="run")
    here = directory(f"large-{node.name}")
    stop(program, Node(NATIVE), here, program.polls // 2)
    code, _, said = run(program.resume(node, here))
    expect(code == 1 and "memory" in said and "panicked" not in said, "a refusal because of the memory", code, said)
    code, output, _ = run(program.resume(Node(NATIVE), here))
    program.check(code, output, here)


def other_code_is_refused(program, node):
    here = directory(f"code-{node.name}")
    stop(program, Node(NATIVE), here, program.polls // 2)
    machine = ARCHITECTURES[node.name].machine
    resume = [*node.command, "resume", here / "snapshot"]
    for flags, reason in [
        ([], f"--target {machine}"),
        (["--precompiled", program.code(another(machine))], f"--target {machine}"),
        (["--precompiled", program.module], "not code"),
        (["--precompiled", damaged(program.code(machine), here)], "damaged"),
    ]:
        code, _, said = run([*resume, *flags])
        expect(code == 1 and reason in said, f"a refusal that says {reason!r}", code, said)
    code, _, said = run(program.resume(node, here))
    expect(code == program.expected[0], "that it goes on with its own code", code, said)


def another(machine):
    return "s390x" if machine == "aarch64" else "aarch64"


def damaged(file, here):
    code = bytearray(file.read_bytes())
    code[len(code) // 2] ^= 1
    (here / "damaged").write_bytes(code)
    return here / "damaged"


def line(command):
    return shlex.join(str(word) for word in command)


def pipe(program, nodes):
    """The guest goes from node to node, each time after as many polls."""
    here = directory("pipe-" + "-".join(node.name for node in nodes))
    polls = program.polls // (len(nodes) + 1)
    ship = ["--snapshot-at", polls, "--snapshot-to", "-", "--with-module"]
    stages = [line(program.start(nodes[0], here, ship))]
    stages += [line(program.resume(node, here, ship, source="-")) for node in nodes[1:-1]]
    stages += [line(program.resume(nodes[-1], here, source="-"))]
    code, output, said = run(" | ".join(stages))
    expect(code == program.expected[0], "the guest's own exit code", code, said)
    program.check(code, output, here)


def ship_by_command(program, source, target):
    here = directory(f"command-{source.name}-{target.name}")
    command = line(program.resume(target, here, ["--ack"], source="-"))
    ship = ["--snapshot-at", program.polls // 2, "--snapshot-command", command, "--with-module"]
    code, output, said = run(program.start(source, here, ship))
    expect("the guest runs at" in said, "that it runs there", code, said)
    program.check(code, output, here)


def failing_commands(program, node):
    """Whatever becomes of the other side, the guest goes on here."""
    resume = [*node.command, "resume", "-", "--ack", "--precompiled"]
    other_code = line([*resume, program.code(another(ARCHITECTURES[node.name].machine))])
    for number, (command, reason) in enumerate([
        (other_code, "--target"),
        ("head -c 3000 > /dev/null", "did not take the guest"),
        (f"qemu-of-no-machine {node.command[-1]} resume - --ack", "not found"),
    ]):
        here = directory(f"failing-{node.name}-{number}")
        ship = ["--snapshot-at", program.polls // 2, "--snapshot-command", command]
        code, output, said = run(program.start(Node(NATIVE), here, ship))
        expect(reason in said and "goes on" in said, f"{reason!r} and that the guest goes on here", code, said)
        program.check(code, output, here)


def broken_pipes(program, node):
    """Nobody tells the source that the other side has failed, so the snapshot stays."""
    wrong = program.code(another(ARCHITECTURES[node.name].machine))
    for number, end in enumerate([
        "head -c 3000 > /dev/null",
        line([*node.command, "resume", "-", "--precompiled", wrong]),
    ]):
        here = directory(f"broken-{node.name}-{number}")
        ship = ["--snapshot-at", program.polls // 2, "--snapshot-to", "-"]
        run(f"{line(program.start(Node(NATIVE), here, ship))} | {end}")
        code, output, said = run(program.resume(node, here))
        whole = program.expected[1]
        expect(code == program.expected[0], "the guest's own exit code", code, said)
        if not output or not whole.endswith(output):
            raise Failure(f"output {output[-300:]!r}, not the end of the original's {whole[-300:]!r}")
