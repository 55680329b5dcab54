# SPDX-License-Identifier: GPL-2.0-or-later
"""Images of any format, encrypted ones too, from raw content and back."""

from typing import Any, Callable, Dict, List

from colo import procs

KEY = "secret,id=key0,data=of-no-worth"
# As many rounds as one can count are of use to thieves only.
OPTIONS = {"luks": ["--object", KEY, "-o",
                    "key-secret=key0,iter-time=10"]}


def make(qemu_img: str, raw: str, path: str, kind: str) -> None:
    """An image of that content."""
    procs.run([qemu_img, "convert", "-f", "raw", "-O", kind,
               *OPTIONS.get(kind, []), raw, path])


def read(qemu_img: str, path: str, kind: str, raw: str) -> None:
    """The content of an image, which a QEMU may have open."""
    source = ["-f", kind, path]
    if kind == "luks":
        source = ["--object", KEY, "--image-opts",
                  f"driver=luks,key-secret=key0,file.filename={path}"]
    procs.run([qemu_img, "convert", "-U", "-O", "raw", *source, raw])


def node_options(cmd: Callable[..., Any], kind: str) -> Dict[str, Any]:
    """What blockdev-add needs beside the usual; may add the key."""
    if kind != "luks":
        return {}
    cmd("object-add", {"qom-type": "secret", "id": "key0",
                       "data": "of-no-worth"})
    return {"key-secret": "key0"}


def faulty(image: Any, faults: List[Dict[str, Any]],
           states: List[Dict[str, Any]]) -> Dict[str, Any]:
    """A node over that one which breaks its requests; rules of blkdebug."""
    rules = {"inject-error": faults, "set-state": states}
    return {"driver": "blkdebug", "image": image,
            **{name: rule for name, rule in rules.items() if rule}}
