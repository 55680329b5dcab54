# SPDX-License-Identifier: GPL-2.0-or-later
"""Pass-through rules by QMP."""

from typing import Any, Dict, List

import packets
from colo.case import Context, case, check, check_equal
from netlab import Lab
from test_net_compare import Bench, bench

RULES_MAX = 256
NTP: Dict[str, Any] = {"name": "ntp", "protocol": "udp",
                       "direction": "outbound", "port": 123}
NO_OBJECT = "There is no colo-compare object 'nobody'"
BAD_NAME = "'name' must have 1 to 63 characters"

# rule -> what the refusal says
WRONG = (
    ({"name": ""}, BAD_NAME),
    ({"name": "x" * 64}, BAD_NAME),
    ({"name": "p", "prefix": "10.0.0.0/33"}, "'prefix': '10.0.0.0/33' is no "
     "address and no prefix like 10.0.0.0/8 or 2001:db8::/32"),
    ({"name": "p", "prefix": "10.0.0.1/8"}, "'prefix': '10.0.0.1/8' is no "),
    ({"name": "p", "prefix": "example.org"}, "'prefix': 'example.org' is no"),
    ({"name": "p", "prefix": ""}, "'prefix': '' is no "),
    ({"name": "p", "protocol": "icmp", "port": 1}, "rule 'p': "),
    ({"name": "p", "protocol": "arp", "prefix": "10.0.0.0/8"}, ""),
    ({"name": "p", "protocol": "tcp", "ethertype": 2054}, "rule 'p': "),
    ({"name": "p", "protocol": "icmp6", "prefix": "10.0.0.0/8"},
     "rule 'p': "),
    ({"name": "p", "vlan": 4095}, "rule 'p': "),
    ({"name": "p", "protocol": "sctp"},
     "Parameter 'protocol' does not accept value 'sctp'"),
    ({"name": "p", "port": 65536}, "Parameter 'port' expects uint16_t"),
    ({"name": "p", "colour": "red"}, "Parameter 'rule.colour' is unexpected"),
    ({}, "Parameter 'rule.name' is missing"),
)


def add_rule(lab: Lab, **rule: Any) -> None:
    """Add a rule to x0."""
    lab.qmp.cmd("colo-pass-add", {"compare": "x0", "rule": rule})


def rules(lab: Lab) -> List[Dict[str, Any]]:
    """The rules of x0."""
    return list(lab.qmp.cmd("query-colo-pass", {"compare": "x0"}))


def refused(lab: Lab, command: str, **arguments: Any) -> str:
    """The text of a refusal, which there must be."""
    error = lab.qmp.try_cmd(command, arguments)
    check(error is not None, f"{command} {arguments} was accepted")
    assert error is not None
    return error.desc


@case(linux=False, reference=False)
def net_pass_refusals(context: Context) -> None:
    """Rules that make no sense, and objects and names that are not there."""
    made = bench(context)
    lab = made.lab
    for rule, text in WRONG:
        found = refused(lab, "colo-pass-add", compare="x0", rule=rule)
        check(text in found and len(found) > 20, f"{rule}: '{found}'")
    check_equal(rules(lab), [], "rules after refusals")
    for command, arguments in (("colo-pass-add", {"rule": NTP}),
                               ("colo-pass-remove", {"name": "ntp"}),
                               ("query-colo-pass", {})):
        check_equal(refused(lab, command, compare="nobody", **arguments),
                    NO_OBJECT, command)
    add_rule(lab, **NTP)
    check_equal(refused(lab, "colo-pass-add", compare="x0", rule=NTP),
                "'x0' has a rule 'ntp' already", "a name twice")
    check_equal(refused(lab, "colo-pass-remove", compare="x0", name="dns"),
                "'x0' has no rule 'dns'", "no such rule")
    lab.delete("x0")
    check_equal(refused(lab, "query-colo-pass", compare="x0"),
                NO_OBJECT.replace("nobody", "x0"), "after object-del")


@case(linux=False, reference=False)
def net_pass_list(context: Context) -> None:
    """Rules are told as they were given, in their order, up to the most."""
    lab = bench(context).lab
    given: List[Dict[str, Any]] = [
        NTP, {"name": "six", "protocol": "any", "direction": "both",
              "prefix": "2001:db8::/32"},
        {"name": "lldp", "protocol": "other", "direction": "both",
         "ethertype": 0x88CC, "vlan": 7},
        {"name": "four", "protocol": "tcp", "direction": "inbound",
         "port": 22, "prefix": "10.0.0.0/8"}]
    for rule in given:
        add_rule(lab, **rule)
    check_equal([r["rule"] for r in rules(lab)], given, "rules")
    check_equal({r["frames"] for r in rules(lab)}, {0}, "frames")
    add_rule(lab, name="bare", prefix="10.0.7.1")
    check_equal(rules(lab)[-1]["rule"],
                {"name": "bare", "protocol": "any", "direction": "both",
                 "prefix": "10.0.7.1/32"}, "a rule with defaults")
    for number in range(len(rules(lab)), RULES_MAX):
        add_rule(lab, name=f"r{number}", protocol="arp")
    check_equal(refused(lab, "colo-pass-add", compare="x0",
                        rule={"name": "more"}),
                f"'x0' has {RULES_MAX} rules, which is the most", "refusal")
    for number in range(RULES_MAX - 1, -1, -7):
        lab.qmp.cmd("colo-pass-remove", {
            "compare": "x0", "name": rules(lab)[number]["rule"]["name"]})
    names = [r["rule"]["name"] for r in rules(lab)]
    check_equal(len(names), RULES_MAX - 37, "rules that are left")
    check_equal(names, sorted(set(names), key=names.index), "no name twice")


@case(linux=False, reference=False)
def net_pass_frames(context: Context) -> None:
    """Frames of a rule leave alone and are counted; others do not."""
    made = bench(context)
    add_rule(made.lab, name="web", protocol="tcp", direction="inbound",
             port=80, prefix="10.0.7.0/24")
    passing = [packets.tcp(1 + n, b"x", guest_port=80) for n in range(5)]
    made.pri.send(packets.tcp(1, b"x", guest_port=81), *passing)
    check_equal(made.out.frames(5), passing, "frames of the rule")
    made.sec.send(*passing)
    made.out.quiet()
    check_equal(rules(made.lab)[0]["frames"], 5, "frames counted")
    info = made.info()
    check_equal((info["passed-frames"], info["held-frames"],
                 info["mismatches"]), (5, 1, []), "counters")


@case(linux=False, reference=False)
def net_pass_at_once(context: Context) -> None:
    """A rule frees what is held of known flows.

    Once it is gone its flows are compared from the next cut on: until then
    nobody knows which frames of both sides belong together.
    """
    made = bench(context)
    held = [packets.udp(b"%d" % n, guest_port=123 + n % 2)
            for n in range(10)]
    made.pri.send(*held)
    made.lab.wait_compare("x0", "held-frames", 10)
    made.out.quiet()
    add_rule(made.lab, name="one", protocol="udp", port=123)
    check_equal(made.out.frames(5), held[::2], "what was held of the rule")
    made.out.quiet()
    made.lab.qmp.cmd("colo-pass-remove", {"compare": "x0", "name": "one"})
    again = packets.udp(b"again", guest_port=123)
    made.pri.send(again)
    made.out.quiet()
    made.sec.send(again)
    made.out.quiet()
    still_compared(made, held[1::2])


def still_compared(made: Bench, held: List[bytes]) -> None:
    """Flows that no rule was for never noticed."""
    made.sec.send(*held)
    check_equal(made.out.frames(len(held)), held, "the other flow")
