# SPDX-License-Identifier: GPL-2.0-or-later
"""Domain XML: what the documentation shows, and what the tests use."""

import glob
import os
import re
from typing import Dict

import byhand
from colo import vm
from colo.case import Context, case, check, check_equal
from domains import Disk, Nic, Plain, objections

DOCS = os.path.join(vm.TOP, "docs")
BLOCK = re.compile(r"```xml\n(.*?)```", re.DOTALL)


def documented() -> Dict[str, str]:
    """Every whole domain in the documentation, by where it is."""
    found = {}
    for path in glob.glob(os.path.join(DOCS, "**", "*"), recursive=True):
        if not path.endswith((".xml", ".md")):
            continue
        with open(path, encoding="utf-8") as file:
            text = file.read()
        name = os.path.relpath(path, vm.TOP)
        blocks = [text] if path.endswith(".xml") else BLOCK.findall(text)
        for number, block in enumerate(blocks, 1):
            if "<domain" in block and "</domain>" in block:
                found[f"{name}, number {number}"] = block
    return found


@case(timeout_s=240, linux=False, reference=False)
def xml_examples(_context: Context) -> None:
    """The domains in the documentation are valid."""
    examples = documented()
    check(len(examples) >= 3, f"only {sorted(examples)} found")
    for place, text in examples.items():
        check_equal(objections(text), "", place)
    text = next(iter(examples.values()))
    broken = text.replace("<devices>", "<devices><nonsense/>")
    check("nonsense" in broken and objections(broken),
          "the validator takes everything")


@case(timeout_s=240, reference=False)
def xml_of_tests(_context: Context) -> None:
    """So are those of the tests, and the secondaries made from them."""
    for spec in (
            Plain(), Plain(machine="q35", iothreads=1, nics=[Nic(), Nic()]),
            Plain(disks=[Disk("qcow2", bus="scsi"),
                         Disk("raw", bus="sata")])):
        check_equal(objections(spec.xml()), "", spec.xml())
        check_equal(objections(byhand.with_incoming(spec.xml())), "",
                    "its secondary")
