# SPDX-License-Identifier: GPL-2.0-or-later
"""./configure says no where it must, and nothing where nothing changed.

Each test runs the real configure with the real scripts on a toy: a source
tree of a few files that calls itself QEMU 10.0.x, whose own configure only
writes build.ninja; a series of two patches; an overlay of two files.
"""

import contextlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

import repo

HOOKED = "".join(f"line {n} of the base\n" for n in range(1, 21))

FIRST = """Subject: toy: hook the start
Description: toy: hook the start
 To have a hook.

--- a/system/hooked.c
+++ b/system/hooked.c
@@ -1,4 +1,5 @@
 line 1 of the base
 line 2 of the base
+first hook
 line 3 of the base
 line 4 of the base
"""

SECOND = """Subject: toy: hook the same file again
Description: toy: hook the same file again
 To have two patches in one file.

--- a/system/hooked.c
+++ b/system/hooked.c
@@ -2,6 +2,7 @@
 line 2 of the base
 first hook
 line 3 of the base
+second hook
 line 4 of the base
 line 5 of the base
 line 6 of the base
"""

OVERLAY = """lay include
lay migration
remove migration/colo.c
"""


def write(path, content, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(mode)


class Toy:
    """A repository and a base source, both small, in a directory of theirs."""

    def __init__(self, root):
        self.root = Path(root)
        self.top = self.root / "top"
        self.base = self.root / "qemu"
        self.src = self.top / "build" / "src"
        self.programs = self.root / "bin"       # first in PATH
        write(self.base / "VERSION", "10.0.99\n")
        write(self.base / "configure", "#!/bin/sh\n: > build.ninja\n", 0o755)
        write(self.base / "system" / "hooked.c", HOOKED)
        write(self.base / "migration" / "colo.c", "theirs\n")
        shutil.copytree(repo.TOP / "scripts", self.top / "scripts")
        shutil.copy2(repo.TOP / "configure", self.top / "configure")
        write(self.top / "scripts" / "overlay.list", OVERLAY)
        self.patch("0001-toy-first.patch", FIRST)
        self.patch("0002-toy-second.patch", SECOND)
        self.series("0001-toy-first.patch", "0002-toy-second.patch")
        write(self.top / "include" / "colo" / "ours.h", "/* ours */\n")
        write(self.top / "migration" / "colo" / "ours.c", "/* ours */\n")

    def patch(self, name, content):
        write(self.top / "patches" / name, content)

    def series(self, *names):
        write(self.top / "patches" / "series", "\n".join(names) + "\n")

    def configure(self, *args, source=None):
        """Returns the exit status and all that was printed."""
        env = dict(os.environ, COLO_CACHE_DIR=str(self.root / "cache"),
                   PATH=f"{self.programs}:{os.environ['PATH']}")
        result = subprocess.run(
            ["./configure", f"--qemu-source={source or self.base}", *args],
            cwd=self.top, env=env, stdin=subprocess.DEVNULL, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=60)
        return result.returncode, result.stdout

    def tarball(self, version):
        path = self.root / f"qemu-{version}.tar.xz"
        write(self.base / "VERSION", f"{version}\n")
        with tarfile.open(path, "w:xz") as tar:
            tar.add(self.base, arcname=f"qemu-{version}")
        return path

    def hooked(self):
        return (self.src / "system" / "hooked.c").read_text()


@contextlib.contextmanager
def toy():
    with tempfile.TemporaryDirectory(prefix="colo-lint-") as root:
        yield Toy(root)


def refused(result, *words):
    """Problems unless the run failed and its message has all the words."""
    status, output = result
    if status == 0:
        yield f"was accepted:\n{output}"
    for word in words:
        if word not in output:
            yield f"the message lacks '{word}':\n{output}"


def accepted(result):
    status, output = result
    if status != 0:
        yield f"exit status {status}:\n{output}"


def check_a_good_tree_is_made():
    with toy() as t:
        yield from accepted(t.configure())
        if "first hook\nline 3 of the base\nsecond hook\n" not in t.hooked():
            yield f"not both hooks are in:\n{t.hooked()}"
        if (t.src / "migration" / "colo.c").exists():
            yield "the replaced file is still there"
        link = t.src / "migration" / "colo" / "ours.c"
        if not link.is_symlink() or link.read_text() != "/* ours */\n":
            yield "our file is not linked into the tree"


def check_nothing_changed_is_quick():
    with toy() as t:
        yield from accepted(t.configure())
        before = (t.src / "system" / "hooked.c").stat().st_mtime_ns
        start_s = time.monotonic()
        result = t.configure()
        took_s = time.monotonic() - start_s
        yield from accepted(result)
        if "Nothing has changed" not in result[1]:
            yield f"did something: {result[1]}"
        if took_s >= 1:
            yield f"took {took_s:.2f} s, must be under 1 s"
        if (t.src / "system" / "hooked.c").stat().st_mtime_ns != before:
            yield "touched a file"


def check_copy_makes_files_of_its_own():
    with toy() as t:
        yield from accepted(t.configure("--copy"))
        if (t.src / "include" / "colo" / "ours.h").is_symlink():
            yield "--copy made a link"
        write(t.top / "include" / "colo" / "ours.h", "/* newer */\n")
        yield from accepted(t.configure("--copy"))
        if "newer" not in (t.src / "include/colo/ours.h").read_text():
            yield "the changed file was not copied again"


def check_new_and_removed_files_are_followed():
    with toy() as t:
        yield from accepted(t.configure())
        write(t.top / "include" / "colo" / "new.h", "/* new */\n")
        (t.top / "migration" / "colo" / "ours.c").unlink()
        yield from accepted(t.configure())
        if not (t.src / "include" / "colo" / "new.h").exists():
            yield "a new file was not laid"
        if os.path.lexists(t.src / "migration" / "colo" / "ours.c"):
            yield "a removed file is still there"


def check_a_dropped_patch_is_taken_out():
    with toy() as t:
        yield from accepted(t.configure())
        t.series("0001-toy-first.patch")
        yield from accepted(t.configure())
        if "first hook" not in t.hooked() or "second hook" in t.hooked():
            yield f"the tree does not follow the series:\n{t.hooked()}"
        t.series()
        yield from accepted(t.configure())
        if t.hooked() != HOOKED:
            yield f"the base is not restored:\n{t.hooked()}"


def check_a_tampered_patch_is_refused():
    with toy() as t:
        yield from accepted(t.configure())
        t.patch("0002-toy-second.patch", SECOND.replace("line 3", "line x"))
        yield from refused(t.configure(), "patches/0002-toy-second.patch",
                           "system/hooked.c", "Hunk #1 FAILED", "10.0.99",
                           "refresh the patch")
        if "second hook" not in t.hooked():
            yield "the tree was changed by a run that failed"


def check_a_patch_that_needs_fuzz_is_refused():
    with toy() as t:
        t.patch("0001-toy-first.patch",
                FIRST.replace(" line 1 of the base", " line one of the base"))
        yield from refused(t.configure(), "patches/0001-toy-first.patch",
                           "system/hooked.c")


def check_a_changed_base_is_refused():
    with toy() as t:
        write(t.base / "system" / "hooked.c", HOOKED.replace("line 2", "l 2"))
        yield from refused(t.configure(), "patches/0001-toy-first.patch",
                           "system/hooked.c", "10.0.99")


def check_a_patch_of_a_missing_file_is_refused():
    with toy() as t:
        (t.base / "system" / "hooked.c").unlink()
        yield from refused(t.configure(), "patches/0001-toy-first.patch",
                           "system/hooked.c")


def check_a_listed_patch_that_is_missing_is_refused():
    with toy() as t:
        t.series("0001-toy-first.patch", "0003-toy-absent.patch")
        yield from refused(t.configure(), "0003-toy-absent.patch")


def check_a_patch_of_our_own_file_is_refused():
    with toy() as t:
        t.patch("0002-toy-second.patch",
                SECOND.replace("system/hooked.c", "migration/colo.c"))
        yield from refused(t.configure(), "migration/colo.c",
                           "change the file itself")


def check_a_clash_with_the_base_is_refused():
    with toy() as t:
        write(t.top / "migration" / "ram.c", "/* ours */\n")
        write(t.base / "migration" / "ram.c", "/* theirs */\n")
        yield from refused(t.configure(), "migration/ram.c", "overlay.list")


def check_a_hand_edited_file_is_kept():
    with toy() as t:
        yield from accepted(t.configure())
        edited = t.hooked() + "by hand\n"
        write(t.src / "system" / "hooked.c", edited)
        t.patch("0002-toy-second.patch", SECOND.replace("+second", "+2nd"))
        yield from refused(t.configure(), "edited by hand",
                           "build/src/system/hooked.c", "scripts/refresh")
        if t.hooked() != edited:
            yield "the edit was overwritten"


def check_the_right_tarball_is_accepted():
    with toy() as t:
        yield from accepted(t.configure(source=t.tarball("10.0.42")))
        if "first hook" not in t.hooked():
            yield "the hooks are not in"


def check_a_tarball_of_another_version_is_refused():
    for version in ("9.2.4", "10.1.0", "10.2.2"):
        with toy() as t:
            yield from refused(t.configure(source=t.tarball(version)),
                               version, "10.0.x")


def check_what_is_no_source_is_refused():
    with toy() as t:
        junk = t.root / "junk.tar.xz"
        write(junk, "no tarball\n")
        yield from refused(t.configure(source=junk), "cannot unpack")
        yield from refused(t.configure(source=t.root / "absent"),
                           "absent does not exist")
        (t.base / "VERSION").unlink()
        yield from refused(t.configure(), "no QEMU source")


def check_half_a_source_package_is_refused():
    with toy() as t:
        write(t.base / "pythondeps.toml", 'pycotap = { installed = "1" }\n')
        yield from refused(t.configure(), "pycotap", ".dsc")


def check_unknown_options_are_refused():
    with toy() as t:
        yield from refused(t.configure("--enable-warp"), "--enable-warp",
                           "--help")


def check_missing_dependencies_are_named():
    with toy() as t:
        write(t.top / "scripts" / "deps.list",
              "build unobtainium cmd:unobtainium-cc because of a test\n")
        yield from refused(t.configure(), "unobtainium",
                           "because of a test", "--install-deps")


def check_packages_are_installed_by_the_name_they_have():
    with toy() as t:
        write(t.top / "scripts" / "deps.list",
              "build new-name|old-name|oldest-name cmd:colo-toy-cc a test\n"
              "build only-name cmd:colo-toy-ld because of a test\n")
        for name, script in (
                ("sudo", '[ "$1" = -v ] || exec "$@"'),
                ("apt-cache", 'case $2 in new-*) echo "  Candidate: (none)";;'
                              ' *old*) echo "  Candidate: 1.0-1";; esac'),
                ("apt-get", f'cd {t.programs}; echo "$*" >> apt.log; '
                            '[ "$1" = update ] || '
                            '{ cp sudo colo-toy-cc; cp sudo colo-toy-ld; }')):
            write(t.programs / name, f"#!/bin/sh\n{script}\n", 0o755)
        yield from accepted(t.configure("--install-deps"))
        asked = (t.programs / "apt.log").read_text().splitlines()
        if not asked[-1].endswith(" old-name only-name"):
            yield f"apt-get was asked for: {asked}"


def check_options_for_qemu_pass_through():
    with toy() as t:
        write(t.base / "configure",
              '#!/bin/sh\nprintf "%s\\n" "$@" > build.ninja\n', 0o755)
        yield from accepted(t.configure(
            "--target-list=x86_64-softmmu,i386-softmmu",
            "--", "--enable-vnc", "--extra-ldflags=-Wl,-z,now -lm"))
        given = (t.top / "build/qemu/build.ninja").read_text().splitlines()
        for option in ("--target-list=x86_64-softmmu,i386-softmmu",
                       "--extra-cflags=-DCONFIG_COLO_FAULTS=1",
                       "--enable-vnc", "--extra-ldflags=-Wl,-z,now -lm"):
            if option not in given:
                yield f"QEMU's configure did not get {option}: {given}"
