# SPDX-License-Identifier: GPL-2.0-or-later
"""Which files there are to check, and how to read them."""

import functools
import re
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]

# Kept inputs of fuzzers and captures are bytes, the licence is not ours.
NOT_OURS = re.compile(r"^(COPYING$|tests/.*/corpus/|tests/net/data/)")
# Patches quote the base source with its own style.
PATCHES = re.compile(r"^patches/.*\.patch$")
CORE = re.compile(r"^(migration|net|block|include)/colo/")


@functools.lru_cache(maxsize=None)
def all_files():
    """Every file of ours, tracked or about to be, as paths below TOP."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others",
         "--exclude-standard"], cwd=TOP, check=False,
        capture_output=True).stdout.decode().split("\0")
    if names == [""]:   # an exported tree has no git
        names = [str(path.relative_to(TOP)) for path in TOP.rglob("*")
                 if path.is_file() and path.relative_to(TOP).parts[0]
                 not in (".git", "build") and path.suffix != ".pyc"]
    return tuple(sorted({name for name in names if name
                         and (TOP / name).is_file()
                         and not NOT_OURS.match(name)}))


@functools.lru_cache(maxsize=None)
def text(name):
    return (TOP / name).read_text(encoding="utf-8")


def lines(name):
    """Pairs of line number and line."""
    return enumerate(text(name).splitlines(), 1)


def first_line(name):
    return text(name).split("\n", 1)[0]


def is_shell(name):
    return name.endswith(".sh") or re.match(r"#!.*\bsh\b", first_line(name))


def is_python(name):
    return name.endswith(".py") or "python" in first_line(name)[:40]


def c_files():
    return [name for name in all_files() if name.endswith((".c", ".h"))]


def core_files():
    return [name for name in c_files() if CORE.match(name)]


def shell_files():
    return [name for name in all_files()
            if not PATCHES.match(name) and is_shell(name)]


def python_files():
    return [name for name in all_files()
            if not PATCHES.match(name) and is_python(name)]


def without_comments(source):
    """C source with comments and literals blanked; line numbers stay."""
    token = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"'
                       r"|'(?:\\.|[^'\\\n])*'", re.DOTALL)

    def blank(match):
        kept = "\n" * match.group().count("\n")
        return '""' + kept if match.group()[0] == '"' else " " + kept
    return token.sub(blank, source)
