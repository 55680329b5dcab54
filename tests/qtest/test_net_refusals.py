# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever is wrong with a network object is refused with its cause.

After each refusal the same id, netdev and chardevs still serve: nothing of
the failed attempt is left.
"""

from typing import Any, Dict, List, Tuple

from colo import procs
from colo.case import Context, add, case, check, check_equal
from netlab import Lab

Row = Tuple[Dict[str, Any], str]

FORMS = ("colo-compare needs 'primary_in', 'secondary_in' and 'outdev', or "
         "'netdev' and 'secondary'")
THREE = ("'primary_in', 'secondary_in' and 'outdev' must be three different "
         "chardevs")
EITHER = ("with 'netdev' give either 'secondary', the chardev for both "
          "directions, or 'mirrordev' and 'secondary_in'")
NO_NETDEV = "Parameter 'netdev' expects a network backend id"
BAD_STATUS = ("Invalid value for netfilter status, should be 'on' or 'off'")
CHARDEVS: Dict[str, Any] = {"primary_in": "c0", "secondary_in": "c1",
                            "outdev": "c2"}
DIRECT: Dict[str, Any] = {"netdev": "n0", "secondary": "c0"}
RANGES = {"compare_timeout": 3600000, "expired_scan_cycle": 0xFFFFFFFF,
          "max_queue_size": 1 << 24, "max_flows": 1 << 24,
          "max_held_bytes": 1 << 40}


def other_thread(prop: str) -> str:
    """The refusal of a chardev that is no socket."""
    return (f"'{prop}': chardev 'null' cannot be served by another thread; "
            "use a socket")


def nobody(prop: str) -> str:
    """The refusal of a chardev that is not there."""
    return f"'{prop}': there is no chardev 'nobody'"


def in_use(prop: str, chardev: str = "used") -> str:
    """The refusal of a chardev that something else has."""
    return f"'{prop}': chardev '{chardev}' is already in use"


def stranger(prop: str) -> str:
    """The refusal of a property that does not go with netdev."""
    return (f"'{prop}' does not go with 'netdev': the frames of the primary "
            "are taken from the NIC")


def wrong_chardevs(good: Dict[str, Any], props: Tuple[str, ...]) -> List[Row]:
    """Each of the chardevs: not there, taken."""
    rows: List[Row] = []
    for prop in props:
        rows += [({**good, prop: "nobody"}, nobody(prop)),
                 ({**good, prop: "used"}, in_use(prop))]
    return rows


def compare_rows() -> List[Row]:
    """All that can be wrong with a colo-compare."""
    rows: List[Row] = [({}, FORMS)]
    for prop in CHARDEVS:
        rows.append(({k: v for k, v in CHARDEVS.items() if k != prop}, FORMS))
    for one, other in (("primary_in", "secondary_in"),
                       ("primary_in", "outdev"), ("secondary_in", "outdev")):
        rows.append(({**CHARDEVS, one: CHARDEVS[other]}, THREE))
    for prop in ("secondary", "mirrordev"):
        rows.append(({**CHARDEVS, prop: "c3"}, f"'{prop}' needs 'netdev'"))
    rows += wrong_chardevs(CHARDEVS, (*CHARDEVS, "notify_dev"))
    for prop in (*CHARDEVS, "notify_dev"):
        rows.append(({**CHARDEVS, prop: "null"}, other_thread(prop)))
    rows += [({**CHARDEVS, "notify_dev": "c0"}, in_use("notify_dev", "c0")),
             ({**CHARDEVS, "iothread": "io9"},
              "'iothread': there is no iothread 'io9'"),
             ({**CHARDEVS, "surprise": 1},
              "Parameter 'surprise' is unexpected"),
             ({**CHARDEVS, "compare_timeout": "soon"},
              "Parameter 'compare_timeout' expects uint64")]
    return rows + direct_rows() + range_rows()


def direct_rows() -> List[Row]:
    """The same for its direct form."""
    rows: List[Row] = [
        ({"netdev": "n0"}, EITHER),
        ({**DIRECT, "mirrordev": "c1"}, EITHER),
        ({**DIRECT, "secondary_in": "c1"}, EITHER),
        ({"netdev": "n0", "secondary_in": "c0"}, EITHER),
        ({"netdev": "n0", "mirrordev": "c0"}, EITHER),
        ({"netdev": "n0", "mirrordev": "c0", "secondary_in": "c0"},
         "'mirrordev' and 'secondary_in' are the same chardev: give it as "
         "'secondary'"),
        ({**DIRECT, "primary_in": "c1"}, stranger("primary_in")),
        ({**DIRECT, "outdev": "c1"}, stranger("outdev")),
        ({**DIRECT, "netdev": "n9"}, NO_NETDEV),
        ({**DIRECT, "secondary": "null"}, other_thread("secondary")),
        ({**DIRECT, "iothread": "io9"},
         "'iothread': there is no iothread 'io9'")]
    split = {"netdev": "n0", "mirrordev": "c0", "secondary_in": "c1"}
    return (rows + wrong_chardevs(DIRECT, ("secondary", "notify_dev"))
            + wrong_chardevs(split, ("mirrordev", "secondary_in")))


def range_rows() -> List[Row]:
    """Numbers out of their range."""
    rows: List[Row] = []
    for prop, most in RANGES.items():
        text = f"'{prop}' must be between 1 and {most}"
        rows.append(({**CHARDEVS, prop: 0}, text))
        if most + 1 <= 0xFFFFFFFF or prop == "max_held_bytes":
            rows.append(({**CHARDEVS, prop: most + 1}, text))
    return rows


def filter_rows(good: Dict[str, Any]) -> List[Row]:
    """What can be wrong with any filter."""
    return [
        ({k: v for k, v in good.items() if k != "netdev"},
         "Parameter 'netdev' is missing"),
        ({**good, "netdev": "n9"}, NO_NETDEV),
        ({**good, "queue": "both"},
         "Parameter 'queue' does not accept value 'both'"),
        ({**good, "status": "maybe"}, BAD_STATUS),
        ({**good, "position": "middle"},
         "Parameter 'position' expects 'head', 'tail' or 'id=<id>'"),
        ({**good, "position": "id=nobody"}, "filter 'nobody' not found"),
        ({**good, "position": "id=elsewhere"},
         "filter 'elsewhere' belongs to a different netdev"),
        ({**good, "position": "id=io0"}, "'position': 'io0' is no filter"),
        ({**good, "surprise": 1}, "Parameter 'surprise' is unexpected")]


def mirror_rows() -> List[Row]:
    """filter-mirror."""
    good = {"netdev": "n0", "outdev": "c0"}
    return filter_rows(good) + wrong_chardevs(good, ("outdev",)) + [
        ({"netdev": "n0"}, "Parameter 'outdev' is missing"),
        ({**good, "indev": "c1"}, "Parameter 'indev' is unexpected")]


def redirector_rows() -> List[Row]:
    """filter-redirector."""
    good = {"netdev": "n0", "outdev": "c0", "indev": "c1"}
    return filter_rows(good) + wrong_chardevs(good, ("outdev", "indev")) + [
        ({"netdev": "n0"},
         "filter-redirector needs 'indev', 'outdev' or both"),
        ({**good, "indev": "c0"},
         "'indev' and 'outdev' cannot both be chardev 'c0'")]


def rewriter_rows() -> List[Row]:
    """filter-rewriter."""
    good = {"netdev": "n0", "primary": "c0"}
    return filter_rows(good) + wrong_chardevs(good, ("primary",)) + [
        ({**good, "queue": "rx"}, "'primary' needs queue=all"),
        ({**good, "netdev": "n1"},
         "netdev 'n1' has a filter-rewriter already")]


KINDS = {"colo-compare": (compare_rows, CHARDEVS),
         "filter-mirror": (mirror_rows, {"netdev": "n0", "outdev": "c0"}),
         "filter-redirector": (redirector_rows, {
             "netdev": "n0", "outdev": "c0", "indev": "c1"}),
         "filter-rewriter": (rewriter_rows, {"netdev": "n0",
                                             "primary": "c0"})}


def refusal_lab(context: Context) -> Lab:
    """Netdevs n0 and n1, chardevs c0 to c3, one in use, one no socket."""
    lab = Lab(context)
    lab.netdev("n0")
    lab.netdev("n1")
    lab.chardev("c0", "c1", "c2", "c3", "used")
    lab.qmp.cmd("chardev-add", {"id": "null", "backend": {
        "type": "null", "data": {}}})
    lab.add("iothread", "io0")
    lab.add("filter-mirror", "user", netdev="n1", outdev="used")
    lab.add("filter-rewriter", "elsewhere", netdev="n1")
    return lab


def refusals(context: Context, kind: str) -> None:
    """Every wrong set of properties, and a right one after each."""
    lab = refusal_lab(context)
    rows, good = KINDS[kind]
    for properties, text in rows():
        check_equal(lab.refused(kind, "x0", **properties), text,
                    f"refusal of {kind} {properties}")
        lab.add(kind, "x0", **good)
        lab.delete("x0")
    check_equal(lab.refused(kind, "user", **good), "attempt to add duplicate "
                "property 'user' to object (type 'container')",
                "refusal of an id that is in use")
    lab.delete("user", "elsewhere")
    for name in ("c0", "c1", "c2", "c3", "used", "null"):
        lab.qmp.cmd("chardev-remove", {"id": name})
    lab.quit()


FIRST: Dict[str, List[Row]] = {
    "colo-compare": [
        ({}, FORMS),
        (CHARDEVS, "'primary_in': there is no chardev 'c0'"),
        (DIRECT, "'secondary': there is no chardev 'c0'"),
        ({**CHARDEVS, "max_queue_size": 0},
         f"'max_queue_size' must be between 1 and {1 << 24}")],
    "filter-mirror": [
        ({"netdev": "n0", "outdev": "c0"},
         "'outdev': there is no chardev 'c0'"),
        ({"netdev": "n9", "outdev": "c0"}, NO_NETDEV)],
    "filter-redirector": [
        ({"netdev": "n0", "outdev": "c0"},
         "'outdev': there is no chardev 'c0'"),
        ({"netdev": "n0"},
         "filter-redirector needs 'indev', 'outdev' or both")],
    "filter-rewriter": [
        ({"netdev": "n0", "primary": "c0"},
         "'primary': there is no chardev 'c0'"),
        ({"netdev": "n9"}, NO_NETDEV)]}


def first_instance(context: Context, kind: str) -> None:
    """The first of its type that this QEMU ever sees is a wrong one."""
    for number, (properties, text) in enumerate(FIRST[kind]):
        lab = Lab(context, f"lab{number}")
        lab.netdev("n0")
        check_equal(lab.refused(kind, "x0", **properties), text,
                    f"refusal of the first {kind} {properties}")
        lab.qmp.cmd("qom-list-properties", {"typename": kind})
        check_equal(lab.qmp.cmd("query-colo")["nics"], [], "nics")
        lab.quit()


@case(linux=False, reference=False)
def net_multiqueue_is_refused(context: Context) -> None:
    """A netdev with several queues has several paths."""
    procs.run(["ip", "tuntap", "add", "tap0", "mode", "tap", "multi_queue"])
    lab = Lab(context)
    lab.chardev("c0", "c1", "c2")
    lab.qmp.cmd("netdev_add", {
        "type": "tap", "id": "several", "ifname": "tap0", "queues": 2,
        "script": "no", "downscript": "no"})
    for kind, properties in (
            ("filter-mirror", {"outdev": "c0"}),
            ("filter-redirector", {"outdev": "c0"}),
            ("filter-rewriter", {}),
            ("colo-compare", {"secondary": "c0"})):
        check_equal(lab.refused(kind, "x0", netdev="several", **properties),
                    "multiqueue is not supported", f"refusal of {kind}")
    lab.add("colo-compare", "x0", **CHARDEVS)
    lab.quit()


@case(linux=False, reference=False)
def net_one_compare_per_netdev(context: Context) -> None:
    """A second direct colo-compare on a netdev would compare it twice."""
    lab = Lab(context)
    nic = lab.nic("n0")
    lab.nic("n1")
    lab.chardev("c0", "c1", "c2", "c3")
    lab.add("colo-compare", "x0", **DIRECT)
    for form in ({"secondary": "c1"},
                 {"mirrordev": "c1", "secondary_in": "c2"}):
        check_equal(lab.refused("colo-compare", "x1", netdev="n0", **form),
                    "netdev 'n0' has a colo-compare already",
                    f"refusal of a second one with {form}")
        nic.guest.send(b"the first one still lets this pass")
        check_equal(nic.client.frame(), b"the first one still lets this pass",
                    "a frame of the guest")
        lab.add("colo-compare", "x1", netdev="n1", **form)
        lab.delete("x1")
    lab.delete("x0")
    lab.add("colo-compare", "x1", netdev="n0", secondary="c1")
    check_equal([n["id"] for n in lab.qmp.cmd("query-colo")["nics"]], ["x1"],
                "nics")
    lab.quit()


@case(linux=False, reference=False)
def net_wrong_command_line(context: Context) -> None:
    """The same refusals end a QEMU that is started with them."""
    words = {
        "colo-compare,id=x": FORMS,
        "filter-redirector,id=x,netdev=n0":
            "filter-redirector needs 'indev', 'outdev' or both",
        "filter-rewriter,id=x,netdev=n0,primary=nobody": nobody("primary")}
    for number, (option, text) in enumerate(words.items()):
        machine = context.machine(f"m{number}", [
            "-machine", "none", "-display", "none", "-netdev",
            "stream,id=n0,server=on,addr.type=unix,addr.path=n0",
            "-object", option])
        machine.launch()
        check_equal(machine.wait_exit(10), 1, "exit code")
        check(text in machine.log_tail(), f"'{text}' is not in\n"
              + machine.log_tail())


def _register() -> None:
    for kind in KINDS:
        def all_rows(context: Context, kind: str = kind) -> None:
            refusals(context, kind)

        def first(context: Context, kind: str = kind) -> None:
            first_instance(context, kind)
        word = kind.replace("-", "_")
        all_rows.__doc__ = f"every wrong property of {kind}"
        first.__doc__ = f"a wrong {kind} as the first one"
        add(f"net_refusals_{word}", all_rows, linux=False, reference=False)
        add(f"net_first_instance_{word}", first, linux=False,
            reference=False)


_register()
