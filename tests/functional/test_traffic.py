# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kind of traffic: unprotected, protected, across the loss of a side.

    plain_*           an ordinary QEMU: the services and the client themselves
    traffic_X         protected, then the secondary dies, a new one takes its
                      place, then the primary dies
    traffic_X_primary, _secondary, _direct
                      one loss alone, and the other form of the comparer
    link_*            bulk over a link that loses, doubles, delays and reorders
"""

import dataclasses
import time
from typing import Any, Dict, Tuple

from colo import status
from colo.case import Context, add, case, check
from colo.ending import end_side, take_over
from colo.linkrelay import PER_CENT, Faults
from colo.pair import Pair
from colo.procs import wait_until
from colo.traffic import Client, longest_gap_ms
from colo.vm import Spec
from colo.workloads_stream import FIXED_BYTES

DELAY_MS = 300
CHECKPOINTS = 4
GAP_LIMIT_MS = 10_000.0
SEED = 20
PROGRESS_LIMIT_S = 60.0


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What the client does, and what it needs."""

    work: str
    network: Dict[str, Any] = dataclasses.field(default_factory=dict)
    full: bool = False          # the guest with TLS
    more: int = 100             # exchanges of each workload per stage
    pause_ms: float = 1.0
    always: bool = False        # not only when slow cases are asked for


V6 = {"ipv6": True}
VLAN = {"ipv6": True, "vlan": True}
REAL = {"ipv6": True, "static_neighbours": False}

KINDS: Dict[str, Traffic] = {
    "udp": Traffic("udp"),
    "fragments": Traffic("bigudp,bigudp6", V6, always=True),
    "dns": Traffic("dns"),
    "ping": Traffic("ping,ping6", V6),
    "neighbour": Traffic("neighbour,neighbour6", REAL, more=10,
                         always=True),
    "http": Traffic("http", more=50, always=True),
    "web": Traffic("web", more=50),
    "tls": Traffic("tls", full=True, more=20, always=True),
    "https": Traffic("https", full=True, more=5),
    "tcp6": Traffic("kv6,echo6", V6),
    "bulk6": Traffic("source6,sink6,kv6", V6, more=10, always=True),
    "datagrams6": Traffic("udp6,dns6", V6),
    "vlan": Traffic("kv.vlan,udp.vlan,ping.vlan", VLAN, more=50, always=True),
    "vlan6": Traffic("kv6.vlan,udp6.vlan,bigudp6.vlan", VLAN, more=50),
    "vlan_bulk": Traffic("source.vlan,sink6.vlan,kv", VLAN, more=10),
    "small_mtu": Traffic("kv,source,sink6,bigudp6",
                         {"ipv6": True, "mtu": 1280}, more=10, always=True),
    "big_mtu": Traffic("kv,source,sink6,bigudp6",
                       {"ipv6": True, "mtu": 9000}, more=10),
    "mixed": Traffic("kv,echo,udp,dns,http,web,ping,kv6,udp6,http6", V6,
                     more=20, always=True),
}


# -- without protection --------------------------------------------------

def boot_plain(context: Context, full: bool = False, **options: Any) -> None:
    """An ordinary QEMU with the guest, in a network with these options."""
    net = context.network(**options)
    context.booted_primary(spec=Spec(full=full,
                                     append=net.options.guest_words()))


def run_plain(context: Context, work: str, more: int = 20) -> None:
    """These workloads side by side, without any error."""
    context.step(work)
    client = context.client(work)
    client.wait_progress(more)
    client.wait_finished()
    client.verify()
    client.close()


@case(timeout_s=90)
def plain_ipv4(context: Context) -> None:
    """All that the basic guest serves, over IPv4."""
    boot_plain(context, static_neighbours=False)
    run_plain(context, "kv,echo,udp,bigudp,dns,ping,http,web,source,sink")
    run_plain(context, "neighbour", 5)
    run_plain(context, "fixed,fixedup")


@case(timeout_s=90)
def plain_ipv6_and_vlan(context: Context) -> None:
    """The same over IPv6, and both within a VLAN."""
    boot_plain(context, static_neighbours=False, ipv6=True, vlan=True)
    run_plain(context, "kv6,udp6,bigudp6,dns6,ping6,http6,web6,source6,sink6")
    run_plain(context, "kv.vlan,udp.vlan,ping.vlan,bigudp.vlan,"
                       "kv6.vlan,udp6.vlan,ping6.vlan,http6.vlan")
    run_plain(context, "neighbour6,neighbour.vlan,neighbour6.vlan", 5)
    run_plain(context, "fixed6,fixedup6.vlan")


@case(timeout_s=90)
def plain_tls(context: Context) -> None:
    """The TLS server of the full guest."""
    boot_plain(context, True, ipv6=True)
    run_plain(context, "tls,https,tls6,https6")


@case(timeout_s=90, slow=True)
def plain_big_mtu(context: Context) -> None:
    """Frames of 9000 bytes pass."""
    boot_plain(context, ipv6=True, mtu=9000)
    run_plain(context, "kv,source,sink6,bigudp6")


@case(timeout_s=90)
def plain_link_faults(context: Context) -> None:
    """The faulty link does what it says, and TCP copes with it."""
    boot_plain(context, relay_seed=SEED)
    relay = context.net.relay()
    # While its taps come up, a host has something to say and nobody listens.
    before = relay.stats()
    run_plain(context, "kv,udp", 200)
    for name, figures in relay.stats().items():
        arrived, delivered = (figures[what] - before[name][what]
                              for what in ("arrived", "delivered"))
        check(delivered == arrived > 400,
              f"{name}: {delivered} of {arrived} before there were faults")
    set_faults(context, BAD_LINK)
    run_plain(context, "kv,udp,web", 100)
    for name, figures in relay.stats().items():
        for fault in ("lost", "doubled", "reordered"):
            check(figures[fault], f"{name}: no frame {fault}: {figures}")
    set_faults(context, Faults(delay_us=50_000))
    slow = context.client("ping")
    slow.wait_progress(5)
    check(slow.check()["ping"]["p50-us"] > 100_000, "no delay")


# -- under protection ----------------------------------------------------

def protect(context: Context, kind: Traffic, **settings: Any) -> Pair:
    """A protected pair in the network that the traffic needs."""
    net = context.network(**kind.network)
    settings.setdefault("delay_ms", DELAY_MS)
    return context.protected_pair(
        spec=Spec(full=kind.full, append=net.options.guest_words()),
        **settings)


def go_on(context: Context, client: Client, more: int) -> None:
    """The client gets on, and nothing took too long."""
    client.wait_progress(more, PROGRESS_LIMIT_S)
    gap_ms = longest_gap_ms(client.check())
    context.step(f"{more} more answers, longest gap {gap_ms:.0f} ms")
    check(gap_ms < GAP_LIMIT_MS, f"the client waited {gap_ms:.0f} ms")
    client.mark()


def begin(context: Context, kind: Traffic,
          **settings: Any) -> Tuple[Pair, Client]:
    """Protected, and traffic across some checkpoints."""
    pair = protect(context, kind, **settings)
    client = context.client(kind.work, kind.pause_ms)
    go_on(context, client, kind.more)
    pair.wait_checkpoints(CHECKPOINTS)
    go_on(context, client, kind.more)
    return pair, client


def lose(context: Context, pair: Pair, client: Client, side: str,
         more: int) -> None:
    """One side dies in the middle of the traffic."""
    context.step(f"kill the {side}")
    end_side(pair, side)
    go_on(context, client, more)


def one_loss(context: Context, kind: Traffic, side: str,
             **settings: Any) -> None:
    """Traffic across the loss of one side."""
    pair, client = begin(context, kind, **settings)
    lose(context, pair, client, side, kind.more)
    client.verify()


def tour(context: Context, kind: Traffic) -> None:
    """Traffic across all that happens in the life of a pair."""
    pair, client = begin(context, kind)
    lose(context, pair, client, "secondary", kind.more)
    context.step("a new secondary")
    pair.reprotect("n")
    pair.wait_checkpoints(CHECKPOINTS)
    go_on(context, client, kind.more)
    lose(context, pair, client, "primary", kind.more)
    client.verify()


def _register_kinds() -> None:
    for name, kind in KINDS.items():
        def whole(context: Context, kind: Traffic = kind) -> None:
            tour(context, kind)
        whole.__doc__ = f"{kind.work}: both losses, a new secondary between"
        add(f"traffic_{name}", whole, timeout_s=120, reference=False,
            slow=not kind.always)
        for side in ("primary", "secondary"):
            def alone(context: Context, kind: Traffic = kind,
                      side: str = side) -> None:
                one_loss(context, kind, side)
            alone.__doc__ = f"{kind.work}: the {side} dies"
            add(f"traffic_{name}_{side}", alone, timeout_s=120,
                reference=False, slow=True)

        def direct(context: Context, kind: Traffic = kind) -> None:
            one_loss(context, kind, "primary", form="direct")
        direct.__doc__ = f"{kind.work}: comparer in its direct form"
        add(f"traffic_{name}_direct", direct, timeout_s=120,
            reference=False, slow=True)


_register_kinds()


# -- connections younger than the last checkpoint ------------------------

FRESH: Dict[str, Traffic] = {
    "tcp4": Traffic("kv,echo", always=True),
    "tcp6": Traffic("kv6,echo6", V6, always=True),
    "vlan": Traffic("kv.vlan,kv6.vlan", VLAN),
    "download": Traffic("source,source6", V6, more=200),
    "upload": Traffic("sink,sink6", V6, more=25, always=True),
    "http": Traffic("http,web6", V6, more=20),
    "datagrams": Traffic("udp,dns6,bigudp,ping6", V6, always=True),
}
FRESH_ATTEMPTS = 5
FRESH_GAP_LIMIT_MS = 5000.0


def fresh(context: Context, kind: Traffic, **settings: Any) -> None:
    """The primary dies before a checkpoint has copied the connections.

    Thus the secondary goes on with connections which it set up by itself,
    with numbers of its own. A checkpoint that something forced in between
    would spoil that, so another client has another try then.
    """
    pair = protect(context, kind, delay_ms=600_000, **settings)
    pair.p.qmp.cmd("colo-checkpoint")
    for attempt in range(FRESH_ATTEMPTS):
        before = pair.checkpoints()
        client = context.client(kind.work, kind.pause_ms)
        client.wait_progress(kind.more, PROGRESS_LIMIT_S)
        gap_ms = longest_gap_ms(client.check())
        check(gap_ms < FRESH_GAP_LIMIT_MS, f"the client waited {gap_ms:.0f} "
              "ms, and nothing had happened")
        if pair.checkpoints() == before:
            break
        counts = status.query(pair.p)["checkpoints"]
        context.step(f"checkpoints in try {attempt}: {counts}")
        check(not counts["timeout"], "an answer was held for too long")
        client.verify()
        client.close()
    else:
        raise AssertionError("no try without a checkpoint")
    client.mark()
    lose(context, pair, client, "primary", kind.more)
    client.verify()


def _register_fresh() -> None:
    for name, kind in FRESH.items():
        for form in ("chardev", "direct"):
            def body(context: Context, kind: Traffic = kind,
                     form: str = form) -> None:
                fresh(context, kind, form=form)
            body.__doc__ = f"{kind.work}: begun after the last checkpoint"
            add(f"fresh_{name}_{form}", body, timeout_s=120, reference=False,
                slow=not kind.always or form == "direct")


_register_fresh()


# -- one side lags behind ------------------------------------------------

LAG_ROUNDS = 15
LAG_S = 0.25


def lag(context: Context, side: str, work: str) -> None:
    """One side stands still again and again; the client gets on.

    The receive window of the side that stood still is smaller, and its
    acknowledgements come later: the client must go by those.
    """
    pair = protect(context, Traffic(work, V6), delay_ms=600_000)
    pair.p.qmp.cmd("colo-checkpoint")
    client = context.client(work)
    client.wait_progress(1, PROGRESS_LIMIT_S)
    client.mark()
    slow = pair.p if side == "primary" else pair.secondary()
    for _ in range(LAG_ROUNDS):
        slow.freeze()
        time.sleep(LAG_S)
        slow.thaw()
        time.sleep(LAG_S)
    report = client.check()
    for name, figures in report.items():
        context.step(f"{name}: {figures}")
    gap_ms = longest_gap_ms(report)
    counts = status.query(pair.p)["checkpoints"]
    context.step(str(counts))
    check(gap_ms < FRESH_GAP_LIMIT_MS, f"the client waited {gap_ms:.0f} ms")
    check(not counts["timeout"], "an answer was held for too long")
    check(all(r["done"] >= LAG_ROUNDS for r in report.values()),
          "hardly an answer")
    client.verify()


def _register_lags() -> None:
    for side in ("primary", "secondary"):
        for name, work in (("upload", "sink"), ("download", "source"),
                           ("requests", "kv,udp6,http")):
            def body(context: Context, side: str = side,
                     work: str = work) -> None:
                lag(context, side, work)
            body.__doc__ = f"{work}: the {side} stands still now and then"
            add(f"lag_{side}_{name}", body, timeout_s=90, reference=False,
                slow=name != "upload")


_register_lags()


# -- transfers of a known size -------------------------------------------

def transfer(context: Context, work: str, side: str,
             network: Dict[str, Any]) -> None:
    """96 MB on the way when a side dies; every byte arrives once."""
    pair = protect(context, Traffic(work, network), delay_ms=100)
    client = context.client(work)
    wait_until(lambda: client.check()[work]["bytes"] > FIXED_BYTES / 4,
               PROGRESS_LIMIT_S, "a quarter of the transfer")
    victim = pair.p if side == "primary" else pair.secondary()
    context.step(f"kill the {side}")
    victim.kill()
    check(client.check()[work]["bytes"] < FIXED_BYTES,
          "the transfer was over before the loss")
    take_over(pair, side)
    client.wait_finished()
    client.verify()


def _register_transfers() -> None:
    for work, network in (("fixed", {}), ("fixedup", {}),
                          ("fixed6", V6), ("fixedup6", V6),
                          ("fixed.vlan", VLAN), ("fixedup6.vlan", VLAN)):
        for side in ("primary", "secondary"):
            def body(context: Context, work: str = work, side: str = side,
                     network: Dict[str, Any] = network) -> None:
                transfer(context, work, side, network)
            body.__doc__ = f"{work}: 96 MB while the {side} dies"
            add(f"transfer_{work.replace('.', '_')}_{side}", body,
                timeout_s=120, reference=False,
                slow=work not in ("fixed", "fixedup6") or side == "secondary")


_register_transfers()


# -- a link with faults --------------------------------------------------

LINKS: Dict[str, Faults] = {
    "loss": Faults(loss=PER_CENT // 2),
    "duplicate": Faults(duplicate=2 * PER_CENT),
    "reorder": Faults(reorder=2 * PER_CENT, reorder_us=2000),
    "delay": Faults(delay_us=10_000),
    "narrow": Faults(rate_kbit=50_000, delay_us=2000),
    "bad": Faults(loss=PER_CENT // 2, duplicate=PER_CENT, reorder=PER_CENT,
                  reorder_us=3000, delay_us=1000),
}
BAD_LINK = LINKS["bad"]


def set_faults(context: Context, faults: Faults) -> None:
    """From now on the link has these."""
    context.step(f"link: {faults}")
    context.net.relay().set(faults)


def faulty_link(context: Context, faults: Faults, work: str) -> None:
    """Traffic over such a link, across the loss of the primary."""
    kind = Traffic(work, {"ipv6": True, "relay_seed": SEED}, more=10)
    pair = protect(context, kind)
    set_faults(context, faults)
    client = context.client(work)
    go_on(context, client, kind.more)
    pair.wait_checkpoints(CHECKPOINTS)
    lose(context, pair, client, "primary", kind.more)
    context.step(str(context.net.relay().stats()))
    client.verify()


def _register_links() -> None:
    for name, faults in LINKS.items():
        def body(context: Context, faults: Faults = faults) -> None:
            faulty_link(context, faults, "source,sink,kv6,udp")
        body.__doc__ = f"bulk and requests over a link: {name}"
        add(f"link_{name}", body, timeout_s=120, reference=False,
            slow=name != "bad")


_register_links()
