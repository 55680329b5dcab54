# SPDX-License-Identifier: GPL-2.0-or-later
"""colo-clean-up: what COLO has in a QEMU goes, what is another's stays.

Each case puts together what one side of a pair has, by the commands that make
it, lets the pair end, and then compares the lists of nodes, objects, chardevs
and exports with those from before.
"""

from typing import Any, Dict, List, Sequence, Tuple

from colo import procs
from colo.case import Context, case, check, check_equal
from colo.qmp import QMPClient
from disklab import DISK_NODE, DiskLab
from primarylab import IMAGE_NODE, KIB, MIB, NODE, PrimaryLab
from test_disk_actions import QuorumLab
from test_net_lifecycle import Lab
from test_qmp import DEFAULTS, lone_machine, refused, small_pair

SLOW = {"merge-speed": 64 * KIB}
Names = List[str]


def clean_up(qmp: QMPClient, keep: Sequence[str] = ()) -> Tuple[Names, Names]:
    """What went and what stayed, each as "kind name"."""
    result = qmp.cmd("colo-clean-up", {"keep": list(keep)} if keep else {})
    return ([f"{part['kind']} {part['name']}" for part in result["removed"]],
            [f"{part['kind']} {part['name']}" for part in result["kept"]])


def things(qmp: QMPClient) -> Dict[str, Any]:
    """All that a part of COLO can be, by name."""
    nodes = qmp.cmd("query-named-block-nodes", {"flat": True})
    return {
        "nodes": sorted(node["node-name"] for node in nodes
                        if not node["node-name"].startswith("#")),
        "objects": sorted(item["name"] for item in qmp.cmd(
            "qom-list", {"path": "/objects"})),
        "chardevs": sorted(c["label"] for c in qmp.cmd("query-chardev")),
        "exports": sorted(e["id"] for e in qmp.cmd("query-block-exports")),
        "limits": qmp.cmd("query-colo-parameters"),
        "x-colo": [c["state"] for c in qmp.cmd("query-migrate-capabilities")
                   if c["capability"] == "x-colo"],
    }


def set_everything(qmp: QMPClient) -> None:
    """Settings as a side of a pair may have them."""
    qmp.cmd("migrate-set-capabilities", {"capabilities": [
        {"capability": "x-colo", "state": True}]})
    qmp.cmd("migrate-set-parameters", {"x-checkpoint-delay": 777})
    qmp.cmd("colo-set-parameters", {"step-limit": 1234, "heartbeat": 100,
                                    "page-hash": "off",
                                    "checkpoint-events": False})


def add_chardev(context: Context, qmp: QMPClient, *names: str) -> None:
    """Sockets with nobody behind."""
    for name in names:
        path = f"{context.run_dir}/{name}"
        qmp.cmd("chardev-add", {"id": name, "backend": {
            "type": "socket", "data": {
                "addr": {"type": "unix", "data": {"path": path}},
                "server": True, "wait": False}}})


def add_netdev(qmp: QMPClient, name: str = "n0") -> None:
    """A network that leads nowhere."""
    qmp.cmd("netdev_add", {"type": "hubport", "id": name, "hubid": 0})


def check_again(qmp: QMPClient) -> None:
    """There is nothing left, and that is no error."""
    check_equal(clean_up(qmp), ([], []), "second clean-up")


# ------------------------------------------------------------- settings

@case(linux=False, reference=False)
def clean_up_settings(context: Context) -> None:
    """Nothing of COLO is no error; limits go back, or stay if wanted."""
    qmp = lone_machine(context).qmp
    before = things(qmp)
    check_again(qmp)
    set_everything(qmp)
    check_equal(clean_up(qmp, ["limits"]),
                (["setting x-colo", "setting checkpoint-events"],
                 ["limits limits"]), "with limits kept")
    check_equal(qmp.cmd("query-colo-parameters")["step-limit"], 1234,
                "step-limit")
    check_equal(clean_up(qmp), (["limits limits"], []), "the rest")
    check_equal(qmp.cmd("query-colo-parameters"), DEFAULTS, "limits")
    check_equal(qmp.cmd("query-migrate-parameters")["x-checkpoint-delay"],
                20000, "x-checkpoint-delay")
    check_equal(things(qmp), before, "what there is")
    check_again(qmp)


# -------------------------------------------------------------- network

@case(linux=False, reference=False)
def clean_up_network_direct(context: Context) -> None:
    """Both sides' objects with their chardevs; what is another's stays."""
    qmp = Lab(context).qmp
    for name in ("n0", "n1"):
        add_netdev(qmp, name)
    add_chardev(context, qmp, "colo-console")
    qmp.cmd("object-add", {"qom-type": "filter-dump", "id": "dump",
                           "netdev": "n0", "file": f"{context.run_dir}/d"})
    qmp.cmd("object-add", {"qom-type": "rng-egd", "id": "rng",
                           "chardev": "colo-console"})
    before = things(qmp)
    # What is left of one that was interrupted, too.
    add_chardev(context, qmp, "link", "peer", "colo-link7", "theirs")
    qmp.cmd("object-add", {"qom-type": "colo-compare", "id": "cmp",
                           "netdev": "n0", "secondary": "link"})
    qmp.cmd("object-add", {"qom-type": "filter-rewriter", "id": "rew",
                           "netdev": "n1", "primary": "peer"})
    removed, kept = clean_up(qmp, ["connections"])
    check_equal((removed[:2], sorted(removed[2:]), kept), (
        ["compare cmp", "rewriter rew"],
        ["chardev colo-link7", "chardev link", "chardev peer"], []),
        "clean-up")
    qmp.cmd("chardev-remove", {"id": "theirs"})
    check_equal(things(qmp), before, "what there is")
    check_again(qmp)


@case(linux=False, reference=False)
def clean_up_network_chardevs(context: Context) -> None:
    """Mirrors and redirectors go where there is a compare object."""
    qmp = Lab(context).qmp
    add_netdev(qmp)
    before = things(qmp)
    names = ("m", "pri", "sec", "out", "back")
    add_chardev(context, qmp, *names)
    for kind, name, properties in (
            ("filter-mirror", "m0", {"queue": "tx", "outdev": "m"}),
            ("filter-redirector", "r0", {"queue": "rx", "indev": "back"})):
        qmp.cmd("object-add", {"qom-type": kind, "id": name, "netdev": "n0",
                               **properties})
    context.step("without one they are another's")
    check_equal(clean_up(qmp), ([], []), "clean-up of plain filters")
    qmp.cmd("object-add", {"qom-type": "colo-compare", "id": "cmp",
                           "primary_in": "pri", "secondary_in": "sec",
                           "outdev": "out"})
    removed, kept = clean_up(qmp)
    check_equal(kept, [], "kept")
    check_equal(removed[:3], ["filter m0", "filter r0", "compare cmp"],
                "objects, in this order")
    check_equal(sorted(removed[3:]),
                sorted(f"chardev {name}" for name in names), "chardevs")
    check_equal(things(qmp), before, "what there is")
    check_again(qmp)


# ------------------------------------------------------------ a primary

def check_ordinary(lab: PrimaryLab) -> None:
    """The guest goes on, straight to its image, which others can use."""
    lab.work(20)
    lab.guest.flush()
    data = lab.guest.read(0, lab.size)
    check_equal(lab.cmd("query-colo")["disks"], [], "replicated disks")
    lab.quit()
    with open(lab.image, "rb") as file:
        check(file.read() == data, "the image is not what the guest saw")


@case(linux=False, reference=False)
def clean_up_primary_survives(context: Context) -> None:
    """The node to the dead peer's disk goes with all else."""
    lab = PrimaryLab(context)
    server = lab.serve()
    target = lab.add_target(server)
    add_netdev(lab.machine.qmp)
    add_chardev(context, lab.machine.qmp, "link")
    lab.cmd("object-add", {"qom-type": "colo-compare", "id": "cmp",
                           "netdev": "n0", "secondary": "link"})
    set_everything(lab.machine.qmp)
    lab.protect(target)
    lab.work(20)
    text = refused(lab.machine.qmp, "colo-clean-up", {"keep": ["disks"]})
    check("in use by a protected guest" in text, text)
    server.kill()
    lab.work(5)
    lab.end()
    check_equal(clean_up(lab.machine.qmp, ["disks"]), (
        ["compare cmp", "chardev link", f"node {target}", "setting x-colo",
         "setting checkpoint-events", "limits limits"],
        [f"disk {NODE}"]), "disks kept")
    check(lab.info()["differs"] > 0, "it is not known what differs")
    check_equal(clean_up(lab.machine.qmp), ([f"disk {NODE}"], []), "the rest")
    check_again(lab.machine.qmp)
    check_ordinary(lab)


@case(linux=False, reference=False)
def clean_up_unprotected_primary(context: Context) -> None:
    """A copy goes, whether it is complete or still being made."""
    lab = PrimaryLab(context)
    lab.cmd("colo-disk-insert", {"node": IMAGE_NODE,
                                 "node-name": "another"})
    server = lab.serve()
    for options in ({}, {"speed": 64 * KIB}):
        target = lab.add_target(server)
        lab.attach(target, **options)
        if not options:
            lab.wait_in_sync()
        lab.work(5)
        check_equal(clean_up(lab.machine.qmp, ["disks"])[0],
                    [f"copy {NODE}", f"node {target}"], "removed")
        check_equal(lab.jobs(), [], "jobs")
        lab.cmd("blockdev-add", {"driver": "null-co", "node-name": target})
        check_equal(clean_up(lab.machine.qmp, ["disks"])[0], [],
                    "with another node of that name")
        lab.cmd("blockdev-del", {"node-name": target})
    removed, kept = clean_up(lab.machine.qmp)
    check_equal((sorted(removed), kept), (["disk another", f"disk {NODE}"],
                                          []), "replication nodes")
    check_again(lab.machine.qmp)
    check_ordinary(lab)


@case(linux=False, reference=False)
def clean_up_interrupted(context: Context) -> None:
    """A node that was to lead to the peer, and was never attached."""
    lab = PrimaryLab(context)
    for name in ("colo-vda-copy", "vda-copy"):
        lab.cmd("blockdev-add", {"driver": "null-co", "node-name": name})
    check_equal(clean_up(lab.machine.qmp),
                ([f"disk {NODE}", "node colo-vda-copy"], []), "clean-up")
    lab.cmd("blockdev-del", {"node-name": "vda-copy"})
    check_ordinary(lab)


@case(linux=False, reference=False)
def clean_up_layers(context: Context) -> None:
    """All that leads to a copy goes, but for what another uses, too."""
    lab = PrimaryLab(context)
    below = lab.add_target(lab.serve())
    lab.cmd("blockdev-add", {"driver": "raw", "node-name": "upper",
                             "file": below})
    lab.attach("upper", sync="none")
    check_equal(clean_up(lab.machine.qmp, ["disks"])[0],
                [f"copy {NODE}", "node upper", f"node {below}"], "removed")
    below = lab.add_target(lab.serve("second"))
    lab.cmd("blockdev-add", {"driver": "raw", "node-name": "upper",
                             "file": below})
    lab.cmd("block-export-add", {"type": "nbd", "id": "theirs",
                                 "node-name": below, "name": "theirs"})
    lab.attach("upper", sync="none")
    check_equal(clean_up(lab.machine.qmp)[0],
                [f"copy {NODE}", f"disk {NODE}", "node upper"], "removed")
    check_ordinary(lab)


@case(linux=False, reference=False)
def clean_up_used_nodes(context: Context) -> None:
    """Somebody else's use is told by its name, before anything goes."""
    lab = PrimaryLab(context)
    add_netdev(lab.machine.qmp)
    add_chardev(context, lab.machine.qmp, "link")
    lab.cmd("object-add", {"qom-type": "colo-compare", "id": "cmp",
                           "netdev": "n0", "secondary": "link"})
    target = lab.add_target(lab.serve())
    lab.attach(target)
    lab.wait_in_sync()
    lab.cmd("block-export-add", {"type": "nbd", "id": "theirs",
                                 "node-name": target, "name": "theirs"})
    before = things(lab.machine.qmp)

    def refuse(*expected: str) -> None:
        text = lab.refusal("colo-clean-up")
        for word in expected:
            check(word in text, f"'{text}' lacks '{word}'")
        check_equal(things(lab.machine.qmp), before, "what there is")

    refuse(f"'{target}'", "export 'theirs' uses it")
    lab.cmd("block-export-del", {"id": "theirs"})
    lab.detach()
    lab.cmd("blockdev-add", {"driver": "null-co", "node-name": "void",
                             "size": lab.size})
    lab.cmd("blockdev-mirror", {"job-id": "mirror", "device": NODE,
                                "target": "void", "sync": "full",
                                "speed": 1})
    before = things(lab.machine.qmp)
    refuse(f"'{NODE}'", "mirror")
    check_equal(clean_up(lab.machine.qmp, ["disks"])[1], [f"disk {NODE}"],
                "kept")
    lab.cmd("block-job-cancel", {"device": "mirror", "force": True})
    procs.wait_until(lambda: not lab.jobs(), 10, "the end of the job")
    check_equal(clean_up(lab.machine.qmp), ([f"disk {NODE}"], []), "the rest")
    check_ordinary(lab)


@case(linux=False, reference=False)
def clean_up_forwarder(context: Context) -> None:
    """The older form: the quorum stays, what forwards goes with its node."""
    lab = QuorumLab(context)
    before = things(lab.machine.qmp)
    lab.protect()
    check("protected" in lab.refusal("colo-clean-up"), "in a pair")
    lab.work(5)
    lab.end()
    check_equal(clean_up(lab.machine.qmp),
                (["forwarder sender", "node to-copy"], []), "clean-up")
    check_equal(things(lab.machine.qmp), before, "what there is")
    check_again(lab.machine.qmp)
    check_ordinary(lab)


# ---------------------------------------------------------- a secondary

@case(linux=False, reference=False)
def clean_up_secondary_survives(context: Context) -> None:
    """The peer's way to the disk is closed at once, the node goes later."""
    lab = DiskLab(context, options=SLOW)
    qmp = lab.machine.qmp
    add_netdev(qmp)
    add_chardev(context, qmp, "peer")
    lab.cmd("object-add", {"qom-type": "filter-rewriter", "id": "rew",
                           "netdev": "n0", "primary": "peer"})
    lab.steps("begin", "cut", "enter")
    check("protected" in refused(qmp, "colo-clean-up", {}), "in a pair")
    lab.write("guest", 0, b"g" * (512 * KIB))
    lab.advance("take-over")
    before = things(qmp)
    text = refused(qmp, "colo-clean-up", {})
    check("still being merged" in text, text)
    check_equal(things(qmp), before, "what there is")
    check_equal(clean_up(qmp, ["disks", "connections"]), (
        ["export peer", "rewriter rew", "chardev peer"],
        ["nbd-server nbd-server", f"disk {DISK_NODE}"]), "disks kept")
    check(not lab.is_merged(), "it was too slow to be seen merging")
    lab.check_guest()
    procs.wait_until(lambda: "buffer" not in lab.info(), 60, "the merge",
                     0.1)
    lab.stage = "alone"
    check_equal(clean_up(qmp), ([f"disk {DISK_NODE}"], []), "the rest")
    check_again(qmp)
    lab.write("guest", MIB, b"h" * MIB)
    lab.check_guest()
    lab.quit()
    lab.check_image()


@case(linux=False, reference=False)
def clean_up_server(context: Context) -> None:
    """The NBD server goes with the last export, if that is the peer's."""
    lab = DiskLab(context)
    lab.cmd("block-export-del", {"id": "guest", "mode": "hard"})
    procs.wait_until(lambda: things(lab.machine.qmp)["exports"] == ["peer"],
                     5, "the end of the guest's export")
    check_equal(clean_up(lab.machine.qmp)[0],
                ["export peer", "nbd-server nbd-server",
                 f"disk {DISK_NODE}"], "removed")
    lab.serve()
    check_again(lab.machine.qmp)
    lab.quit()


# --------------------------------------------------------------- a pair

@case(linux=False, reference=False)
def clean_up_pair(context: Context) -> None:
    """Refused on both sides of a pair, and then on neither."""
    pair = small_pair(context)
    pair.start()
    second = pair.secondary()
    text = refused(second.qmp, "colo-clean-up", {})
    check("waits for its guest" in text, text)
    pair.protect()
    for machine in (pair.p, second):
        text = refused(machine.qmp, "colo-clean-up", {})
        check("protected" in text, text)
    pair.p.kill()
    procs.wait_until(lambda: second.qmp.cmd("query-colo")["state"] == "lost",
                     10, "the loss")
    refused(second.qmp, "colo-clean-up", {})
    second.qmp.cmd("x-colo-lost-heartbeat")
    pair.wait_alone(second)
    procs.wait_until(lambda: second.qmp.try_cmd("colo-clean-up") is None,
                     10, "the end of COLO")
    check_again(second.qmp)
    check_equal(second.runstate(), "running", "run state")
