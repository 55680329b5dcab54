# SPDX-License-Identifier: GPL-2.0-or-later
"""Network objects come and go: properties, orders, many of them."""

import itertools
import time
from typing import Any, Callable, Dict, List, Tuple

import packets
from colo.case import Context, add, case, check, check_equal
from netlab import Lab, Nic
from test_net_compare import CHARDEVS, Bench, mixture
from wires import Drain, Flood, Wire, WireClosed

DEFAULTS: Dict[str, Any] = {
    "compare_timeout": 3000, "expired_scan_cycle": 1000,
    "max_queue_size": 1024, "max_flows": 65536,
    "max_held_bytes": 64 << 20, "vnet_hdr_support": False,
    "standalone": False}
MOST: Dict[str, int] = {
    "compare_timeout": 3600000, "expired_scan_cycle": 0xFFFFFFFF,
    "max_queue_size": 1 << 24, "max_flows": 1 << 24,
    "max_held_bytes": 1 << 40}
ROUNDS = 20
HELLO = b"Hello! Any bytes will do."

# type -> properties, chardevs, netdev
KINDS: Dict[str, Tuple[Dict[str, Any], Tuple[str, ...]]] = {
    "colo-compare": (CHARDEVS, ("pri", "sec", "out")),
    "colo-compare-direct": ({"netdev": "n0", "secondary": "sec"}, ("sec",)),
    "colo-compare-split": ({"netdev": "n0", "secondary_in": "sec",
                            "mirrordev": "out"}, ("sec", "out")),
    "filter-mirror": ({"netdev": "n0", "outdev": "out"}, ("out",)),
    "filter-redirector": ({"netdev": "n0", "outdev": "out", "indev": "pri"},
                          ("out", "pri")),
    "filter-rewriter": ({"netdev": "n0", "primary": "pri"}, ("pri",)),
}


def type_of(kind: str) -> str:
    """The QOM type of one of KINDS."""
    return "colo-compare" if kind.startswith("colo-compare") else kind


def tells_vnet(properties: Dict[str, Any]) -> bool:
    """Each frame on its chardevs says how long its vnet header is."""
    return bool({"secondary", "primary"} & set(properties))


# ---------------------------------------------------------- properties

@case(linux=False, reference=False)
def net_compare_properties(context: Context) -> None:
    """All can be read; numbers can change, within bounds; the rest not."""
    lab = Lab(context)
    lab.chardev(*CHARDEVS.values())
    lab.add("iothread", "io0")
    lab.add("colo-compare", "x0", iothread="io0", **CHARDEVS)
    for prop, value in {**DEFAULTS, **CHARDEVS, "iothread": "io0"}.items():
        check_equal(lab.get("x0", prop), value, prop)
    for prop, most in MOST.items():
        for value in (1, 12345, most):
            check(lab.set("x0", prop, value) is None, f"{prop}={value}")
            check_equal(lab.get("x0", prop), value, prop)
        for value in (0, most + 1):
            error = lab.set("x0", prop, value)
            check_equal(error and error.desc,
                        f"'{prop}' must be between 1 and {most}", "refusal")
            check_equal(lab.get("x0", prop), most, f"{prop} afterwards")
        check(lab.set("x0", prop, -1) is not None, f"{prop}=-1")
        check(lab.set("x0", prop, "many") is not None, f"{prop}=many")
    fixed: Dict[str, Any] = {prop: "other" for prop in (
        *CHARDEVS, "iothread", "notify_dev", "netdev", "secondary",
        "mirrordev")}
    refuse_changes(lab, "x0", {**fixed, "vnet_hdr_support": True,
                               "standalone": True})


def refuse_changes(lab: Lab, name: str, fixed: Dict[str, Any]) -> None:
    """These cannot change once the object is complete."""
    for prop, value in fixed.items():
        before = lab.get(name, prop)
        error = lab.set(name, prop, value)
        check_equal(error and error.desc, f"'{prop}' cannot change any more; "
                    "make the object anew", f"setting {prop} of {name}")
        check_equal(lab.get(name, prop), before, prop)


@case(linux=False, reference=False)
def net_filter_properties(context: Context) -> None:
    """All can be read; what is fixed is refused and not ignored."""
    lab = Lab(context)
    lab.netdev("n0")
    lab.chardev("c0", "c1", "c2", "c3")
    lab.add("filter-mirror", "m0", netdev="n0", outdev="c0")
    lab.add("filter-redirector", "d0", netdev="n0", queue="rx", outdev="c1",
            indev="c2", vnet_hdr_support=True)
    lab.add("filter-rewriter", "r0", netdev="n0", primary="c3")
    wanted = {"m0": {"netdev": "n0", "queue": "all", "outdev": "c0",
                     "vnet_hdr_support": False, "status": "on"},
              "d0": {"netdev": "n0", "queue": "rx", "outdev": "c1",
                     "indev": "c2", "vnet_hdr_support": True},
              "r0": {"netdev": "n0", "queue": "all", "primary": "c3",
                     "vnet_hdr_support": False}}
    for name, properties in wanted.items():
        for prop, value in properties.items():
            check_equal(lab.get(name, prop), value, f"{prop} of {name}")
    refuse_changes(lab, "m0", {"outdev": "c1", "vnet_hdr_support": True})
    refuse_changes(lab, "d0", {"outdev": "c0", "indev": "c0",
                               "vnet_hdr_support": False})
    refuse_changes(lab, "r0", {"primary": "c0", "vnet_hdr_support": True})


@case(linux=False, reference=False)
def net_types_can_be_listed(context: Context) -> None:
    """Asking what a type can do makes and unmakes one of it."""
    lab = Lab(context)
    for kind in ("colo-compare", "filter-mirror", "filter-redirector",
                 "filter-rewriter"):
        for _ in range(3):
            names = {p["name"] for p in lab.qmp.cmd(
                "qom-list-properties", {"typename": kind})}
            check("vnet_hdr_support" in names, f"{kind}: {names}")
    text = lab.qmp.hmp("info network")
    check(text == "", f"info network: {text}")
    lab.quit()


# ------------------------------------------------------ coming, going

def again(context: Context, kind: str) -> None:
    """Made and unmade many times, connected and not: nothing is left."""
    lab = Lab(context)
    lab.netdev("n0")
    properties, chardevs = KINDS[kind]
    lab.chardev(*chardevs)
    wires = lab.wires(*chardevs)
    counts: List[Tuple[int, int]] = []
    for number in range(ROUNDS):
        lab.add(type_of(kind), "x0", **properties)
        if number % 4 == 3:
            for wire, name in zip(wires, chardevs):
                wire.close()
                lab.wait_connected(name, False)
            wires = lab.wires(*chardevs)
        lab.delete("x0")
        counts.append((lab.open_files(), lab.threads()))
    files, threads = zip(*counts[3:])
    check_equal(files[-1], files[0], f"files of QEMU at the end, of {files}")
    lab.wait_threads(min(threads))
    check_equal(lab.qmp.cmd("query-colo")["nics"], [], "nics")
    lab.quit()


def push(lab: Lab, wires: Dict[str, Wire], frames: List[bytes],
         vnet: bool) -> None:
    """Send without waiting; connect anew where QEMU hung up."""
    for name, wire in list(wires.items()):
        try:
            wire.send_some(b"".join(map(wire.encode, frames)), 0.01)
        except WireClosed:
            wires[name] = lab.wire(name, vnet)


def churn(context: Context, kind: str) -> None:
    """Made and unmade while frames stream in: QEMU lives, and it serves."""
    lab = Lab(context)
    nic = lab.nic("n0")
    properties, chardevs = KINDS[kind]
    lab.chardev(*chardevs)
    vnet = tells_vnet(properties)
    wires = {name: lab.wire(name, vnet) for name in chardevs}
    frames = mixture(1, 100)
    drain = Drain(*nic)
    for _ in range(ROUNDS):
        lab.add(type_of(kind), "x0", **properties)
        push(lab, wires, frames, vnet)
        nic.guest.send(HELLO)
        nic.client.send(HELLO)
        lab.delete("x0")
        push(lab, wires, frames, vnet)
    for name, wire in wires.items():
        wire.close()
        lab.wait_connected(name, False)
    drain.stop()
    nic.guest.send(HELLO * 2)
    limit_s = time.monotonic() + 5
    while nic.client.frame() != HELLO * 2:
        check(time.monotonic() < limit_s, "frames do not pass afterwards")
    lab.quit()


def ends(context: Context, kind: str) -> None:
    """QEMU ends in good order while frames stream in."""
    properties, chardevs = KINDS[kind]
    vnet = tells_vnet(properties)
    for number in range(ROUNDS):
        lab = Lab(context, f"lab{number}")
        nic = lab.nic("n0")
        lab.chardev(*chardevs)
        wires = [lab.wire(name, vnet) for name in chardevs]
        lab.add(type_of(kind), "x0", **properties)
        drain = Drain(*nic)
        flood = Flood(mixture(1, 100), *wires)
        lab.quit()
        flood.stop()
        drain.stop()


def orders(context: Context, kind: str) -> None:
    """object-del, netdev_del and chardev-remove in every order."""
    properties, chardevs = KINDS[kind]
    steps = ["object", "chardev"]
    if "netdev" in properties:
        steps.append("netdev")
    lab = Lab(context)
    for order in itertools.permutations(steps):
        context.step(f"{order}")
        lab.chardev(*chardevs)
        if "netdev" in steps:
            lab.netdev("n0").close()
        lab.add(type_of(kind), "x0", **properties)
        remove(lab, order, chardevs, kind)
    lab.quit()


def remove(lab: Lab, order: Tuple[str, ...], chardevs: Tuple[str, ...],
           kind: str) -> None:
    """The steps of one order, with what each has to say."""
    filter_gone = object_gone = False
    for step in order:
        if step == "netdev":
            lab.qmp.cmd("netdev_del", {"id": "n0"})
            filter_gone = kind.startswith("filter")
        elif step == "object" and filter_gone:
            error = lab.qmp.try_cmd("object-del", {"id": "x0"})
            check_equal(error and error.desc, "object 'x0' not found",
                        "object-del after its netdev")
        elif step == "object":
            lab.delete("x0")
            object_gone = True
        elif not (filter_gone or object_gone):
            for name in chardevs:
                error = lab.qmp.try_cmd("chardev-remove", {"id": name})
                check_equal(error and error.desc, f"Chardev '{name}' is busy",
                            "chardev-remove of one in use")
    left = [c["label"] for c in lab.qmp.cmd("query-chardev")]
    for name in chardevs:
        if name in left:
            lab.qmp.cmd("chardev-remove", {"id": name})
    lab.delete(*[o["name"] for o in lab.qmp.cmd(
        "qom-list", {"path": "/objects"}) if o["name"] == "x0"])


@case(linux=False, reference=False)
def net_iothread_in_use(context: Context) -> None:
    """A comparer keeps its iothread; several may share one."""
    lab = Lab(context)
    lab.add("iothread", "io0")
    made = []
    for number in range(3):
        names = [f"{name}{number}" for name in ("pri", "sec", "out")]
        lab.chardev(*names)
        lab.add("colo-compare", f"x{number}", standalone=True,
                iothread="io0", **dict(zip(CHARDEVS, names)))
        made.append(Bench(lab, *lab.wires(*names)))
    for number, bench in enumerate(made):
        bench.both(packets.udp(b"%d" % number))
    lab.delete("io0")           # it goes on until its last user is gone
    for number, bench in enumerate(made):
        bench.both(packets.udp(b"still %d" % number))
    threads_count = lab.threads()
    lab.delete("x1", "x0", "x2")
    lab.wait_threads(threads_count - 1)
    lab.quit()


# ---------------------------------------------------------------- many

def primary_half(lab: Lab, number: int) -> Tuple[Nic, Bench]:
    """All that a primary has at one NIC, in the form of ever."""
    names = {key: f"{key}{number}" for key in
             ("mirror", "pri", "sec", "out", "pri-in", "out-in")}
    nic = lab.nic(f"n{number}")
    lab.chardev(names["mirror"], names["pri"], names["sec"], names["out"])
    for name in ("pri", "out"):
        lab.qmp.cmd("chardev-add", {"id": names[f"{name}-in"], "backend": {
            "type": "socket", "data": {"server": False, "addr": {
                "type": "unix",
                "data": {"path": lab.path(names[name])}}}}})
        lab.wait_connected(names[name])
    netdev = f"n{number}"
    lab.add("filter-mirror", f"m{number}", netdev=netdev, queue="tx",
            outdev=names["mirror"])
    lab.add("filter-redirector", f"in{number}", netdev=netdev, queue="rx",
            indev=names["out-in"])
    lab.add("filter-redirector", f"out{number}", netdev=netdev, queue="rx",
            outdev=names["pri-in"])
    lab.add("colo-compare", f"x{number}", standalone=True,
            primary_in=names["pri"], secondary_in=names["sec"],
            outdev=names["out"])
    mirror, sec = lab.wires(names["mirror"], names["sec"])
    return nic, Bench(lab, mirror, sec, nic.client)


@case(linux=False, reference=False)
def net_eight_nics_compare(context: Context) -> None:
    """Eight NICs with all that a primary has; frames stay in theirs."""
    lab = Lab(context)
    halves = [primary_half(lab, number) for number in range(8)]
    for number, (nic, half) in enumerate(halves):
        frames = [packets.udp(b"%d %d" % (number, n)) for n in range(50)]
        nic.guest.send(*frames)
        half.sec.send(*frames)
        nic.client.send(*frames)
    for number, (nic, half) in enumerate(halves):
        frames = [packets.udp(b"%d %d" % (number, n)) for n in range(50)]
        check_equal(nic.client.frames(50), frames, f"what left NIC {number}")
        check_equal(half.pri.frames(50), frames, "what was mirrored")
        check_equal(nic.guest.frames(50), frames, "what the guest got")
    told = lab.qmp.cmd("query-colo")["nics"]
    check_equal([n["id"] for n in told], [f"x{n}" for n in range(8)],
                "ids in query-colo")
    for info in told:
        check("netdev" not in info and "rewriter" not in info, f"{info}")
        check_equal((info["compare"]["matched-frames"],
                     info["compare"]["released-frames"],
                     info["compare"]["mode"]), (50, 50, "match"), "counters")
    for number in (3, 0, 7, 1, 6, 2, 5, 4):
        lab.delete(f"x{number}", f"out{number}", f"in{number}", f"m{number}")
    lab.quit()


def _register() -> None:
    for kind in KINDS:
        for what, function in (("again", again), ("churn", churn),
                               ("ends", ends), ("orders", orders)):
            def body(context: Context, kind: str = kind,
                     function: Callable[[Context, str], None] = function
                     ) -> None:
                function(context, kind)
            body.__doc__ = (f"{kind}: {(function.__doc__ or '').strip()}"
                            .splitlines()[0])
            add(f"net_{what}_{kind.replace('-', '_')}", body, linux=False,
                reference=False)


_register()
