# SPDX-License-Identifier: GPL-2.0-or-later
"""The program `colo`: an ordinary domain's way through all of it."""

import json
import signal
from typing import List

from colo import procs
from colo.case import Context, add, case, check, check_equal
from domains import Disk, Domain, Nic, Plain, boot, objections
from hosts import IMAGES, Hosts
from program import DONE, NO_DOMAIN
from scenario import (EXCHANGES, INTERVAL_MS, compare_images,
                      database_domain, end_load, fail_over, look_into,
                      program, went_on)

STORY_CHECKPOINTS = 20


@case(timeout_s=400, reference=False)
def story(context: Context) -> None:
    """Protect, kill, fail over, protect back, move, unprotect, save."""
    hosts = Hosts(context).start()
    colo = program(context, hosts)
    spec = database_domain(context)
    context.step("start the domain")
    boot(hosts, spec, persistent=True)
    client = context.client("kv,echo,database:vda,records:vda")
    client.wait_progress(EXCHANGES)
    client.mark()
    colo.protect("plain", hosts.a, hosts.b, "--interval", INTERVAL_MS)
    went_on(context, client)
    check(colo.status("plain", hosts.a)["protected"], "not protected")
    colo.wait_checkpoints("plain", hosts.a, STORY_CHECKPOINTS)
    colo.call("checkpoint", "plain", "-c", hosts.a.uri)
    client.mark()
    fail_over(context, colo, hosts.a, hosts.b)
    went_on(context, client)
    context.step("protect in the other direction")
    colo.protect("plain", hosts.b, hosts.a, "--interval", INTERVAL_MS)
    went_on(context, client)
    colo.wait_checkpoints("plain", hosts.b, 5)
    context.step("move the guest back")
    colo.call("failover", "plain", "-c", hosts.b.uri, "--planned")
    went_on(context, client)
    check_equal(Domain(hosts.a, "plain").state(), "running", "the guest on A")
    check("running" not in hosts.b.virsh("list", "--all"), "two guests")
    colo.protect("plain", hosts.a, hosts.b, "--interval", INTERVAL_MS)
    context.step("end the load, compare the disks")
    report = end_load(context, client)
    colo.call("checkpoint", "plain", "-c", hosts.a.uri)
    colo.call("unprotect", "plain", "-c", hosts.a.uri)
    compare_images(spec, hosts.a, hosts.b)
    ordinary(context, hosts)
    hosts.a.virsh("destroy", "plain")
    look_into(context, spec, hosts.a, report)


def ordinary(context: Context, hosts: Hosts) -> None:
    """The domain on A is like any other, and starts from its own XML."""
    context.step("save and restore")
    hosts.a.virsh("save", "plain", f"{IMAGES}/saved")
    hosts.a.virsh("restore", f"{IMAGES}/saved")
    client = context.client("kv,echo")
    client.wait_progress(EXCHANGES)
    client.verify()
    for xml in (Domain(hosts.a, "plain").persistent_xml(),
                hosts.a.virsh("dumpxml", "--migratable", "plain")):
        for word in ("-incoming", "colo:", "colo-"):
            check(word not in xml, f"'{word}' is left in the XML: {xml}")


def shape(name: str, words: str, work: str, slow: bool = False,
          lans: int = 1, **settings: object) -> None:
    """A case for a kind of domain: protect, kill, fail over, verify."""
    def body(context: Context) -> None:
        hosts = Hosts(context, lans).start()
        colo = program(context, hosts)
        spec = database_domain(context, **settings)
        boot(hosts, spec)
        client = context.client(work)
        client.wait_progress(EXCHANGES)
        client.mark()
        colo.protect("plain", hosts.a, hosts.b, "--interval", INTERVAL_MS)
        colo.wait_checkpoints("plain", hosts.a, 5)
        went_on(context, client)
        fail_over(context, colo, hosts.a, hosts.b)
        went_on(context, client)
        report = end_load(context, client)
        hosts.b.virsh("destroy", "plain")
        look_into(context, spec, hosts.b, report)
    body.__doc__ = words
    add(f"shape_{name}", body, timeout_s=300, reference=False, slow=slow)


shape("two_of_each", "q35, two disks of both formats, two cards, an iothread",
      "kv,kv.second,database:vda,records:sda", lans=2, machine="q35",
      iothreads=1, nics=[Nic(), Nic()],
      disks=[Disk("raw", driver="iothread='1'"), Disk("qcow2", bus="scsi")])
shape("sata", "pc, a SATA disk, a card on a tap that somebody else made",
      "kv,database:sda", disks=[Disk("qcow2", bus="sata")],
      nics=[Nic("ethernet")])
shape("q35_sata", "q35 with its own SATA controller", "kv,records:sda",
      slow=True, machine="q35", disks=[Disk("raw", bus="sata")])
shape("pc_scsi", "pc, both disks on one virtio-scsi controller",
      "kv,database:sda,records:sdb", slow=True,
      disks=[Disk("qcow2", bus="scsi"), Disk("raw", bus="scsi")])
shape("e1000e", "q35 with a card of another kind", "kv,database:vda",
      slow=True, machine="q35", nics=[Nic(model="e1000e")])


@case(timeout_s=300, reference=False)
def program_on_host(context: Context) -> None:
    """Run on the hosts themselves, over TCP, with no address given."""
    hosts = Hosts(context).start()
    colo = program(context, hosts)
    boot(hosts, Plain(), persistent=True)
    client = context.client("kv,durable")
    colo.call("protect", "plain", "--to", hosts.b.tcp_uri, "--interval",
              INTERVAL_MS, on=hosts.a)
    for host in hosts.both:
        said = colo.call("status", "plain", on=host).said
        check("plain: Protected" in said, said)
    colo.call("failover", "plain", "--planned", on=hosts.b)
    colo.call("protect", "plain", "--to", hosts.a.tcp_uri, on=hosts.b)
    went_on(context, client)
    client.verify()
    colo.call("unprotect", "plain", on=hosts.b)
    check_equal(colo.call("repair", on=hosts.b).code, 0, "nothing to repair")


def wait_merged(domain: Domain) -> None:
    """Until a survivor's disks have all that was in its buffers."""
    procs.wait_until(
        lambda: not any(disk.get("buffer") for disk in
                        domain.colo().get("disks", [])),
        30.0, "the end of the merge")


# What each command says about a protected domain, in one object.
ANSWERS = (
    (["status"], "word"),
    (["set", "--interval", "500"], "set"),
    (["checkpoint"], "pause-us"),
    (["logs"], "peer-log"),
    (["doctor"], "hosts"),
    (["xml", "--role", "primary"], "steps"),
    (["xml", "--role", "secondary"], "steps"),
    (["failover", "--planned"], "milliseconds"),
    (["unprotect"], "state"),
    (["repair"], "repaired"),
)


@case(timeout_s=240, reference=False)
def program_answers(context: Context) -> None:
    """`colo xml` writes domains that libvirt takes; all can speak JSON."""
    hosts = Hosts(context).start()
    colo = program(context, hosts)
    boot(hosts, Plain())
    found: List[str] = []
    for role in ("primary", "secondary"):
        text = colo.call("xml", "plain", "--role", role, "-c",
                         hosts.a.uri).said
        check_equal(objections(text), "", f"the {role}'s XML")
        found.append(text)
    word = "colo-prepare-secondary"
    check(word in found[1] and word not in found[0],
          "the roles are mixed up")
    context.step("answers as JSON")
    said = colo.protect("plain", hosts.a, hosts.b, "--json").json()
    check_equal(said["state"], "protected", str(said))
    host = hosts.a
    for words, member in ANSWERS:
        answer = colo.call(words[0], "plain", *words[1:], "-c", host.uri,
                           "--json")
        check(member in answer.json(), f"{words[0]}: {answer.said}")
        check(not answer.complaint, f"{words[0]}: {answer.complaint}")
        if words[0] == "failover":
            host = hosts.b
            wait_merged(Domain(host, "plain"))
    top = colo.start("top", "plain", "-c", host.uri, "--json")
    assert top.stdout is not None
    looks = [json.loads(top.stdout.readline()) for _ in range(2)]
    colo.finish(top, DONE, signal.SIGINT)
    check_equal([look["domains"][0]["domain"] for look in looks],
                ["plain", "plain"], "what top looks at")
    error = colo.call("status", "nobody", "-c", host.uri, "--json",
                      code=NO_DOMAIN).json()["error"]
    check_equal(error["exit"], NO_DOMAIN, str(error))
