# SPDX-License-Identifier: GPL-2.0-or-later
"""Exports our work as a patch series against the base source, and proves it.

    series.py TOP PROOF

PROOF is a fresh unpack of the base.  It becomes a git repository; the areas
of scripts/series.list are committed to it one after the other and written to
build/series/.  Then it goes back to the base, `git am` applies what was
written, and the result must be build/src, file by file, plus those of our
files that lie beside QEMU's tree (tests, docs).
"""

import filecmp
import fnmatch
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

BESIDE = ("tests", "docs", "tools")
IGNORED_DIRS = {".git", "__pycache__", ".mypy_cache"}


@dataclass
class Area:
    """One patch of the exported series."""
    subject: str
    text: list = field(default_factory=list)
    patterns: list = field(default_factory=list)


@dataclass
class Plan:
    """scripts/series.list, parsed."""
    areas: list = field(default_factory=list)
    moves: dict = field(default_factory=dict)

    def place(self, path):
        """Where one of our files lies in QEMU's tree."""
        for prefix, to in self.moves.items():
            if path == prefix:
                return to
            if prefix.endswith("/") and path.startswith(prefix):
                return to + path[len(prefix):]
        return path

    def area_of(self, path):
        for area in self.areas:
            if any(fnmatch.fnmatch(path, one) for one in area.patterns):
                return area
        sys.exit(f"series: error: no area takes {path}\n"
                 f"series:        add a pattern to scripts/series.list")


def read_plan(path):
    plan = Plan()
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        word, rest = line.split(" ", 1)
        if word == "area":
            plan.areas.append(Area(rest))
        elif word == "text":
            plan.areas[-1].text.append(rest)
        elif word == "take":
            plan.areas[-1].patterns.append(rest)
        elif word == "from":
            prefix, to = rest.split()
            plan.moves[prefix] = to
        else:
            sys.exit(f"series: error: {path}: unknown word {word}")
    return plan


class Repository:
    """The fresh unpack, under git."""

    def __init__(self, root, author):
        self.root = root
        self.author = author

    def git(self, *args, text=None):
        name, mail = self.author
        result = subprocess.run(
            ["git", "-c", f"user.name={name}", "-c", f"user.email={mail}",
             "-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false",
             "-c", "gc.auto=0", "-c", "core.fsync=none", *args],
            cwd=self.root, input=text, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if result.returncode:
            sys.exit(f"series: error: git {args[0]} failed:\n{result.stdout}")
        return result.stdout

    def commit(self, message):
        self.git("commit", "-q", "-F", "-", text=message)


def author_of(top):
    """Whoever made the last commit here is the author of the export."""
    line = subprocess.run(["git", "log", "-1", "--format=%an%n%ae"], cwd=top,
                          capture_output=True, text=True, check=False).stdout
    name, _, mail = line.strip().partition("\n")
    return name or "COLO for QEMU", mail or "colo@example.org"


def our_files(top):
    """Our files beside QEMU's tree, tracked by git; all if there is no git."""
    out = subprocess.run(
        ["git", "ls-files", "-z", "--", *BESIDE, "README.md", "MAINTAINERS"],
        cwd=top, capture_output=True, text=True, check=False).stdout
    if out:
        return [name for name in out.split("\0")
                if name and (top / name).is_file()]
    return [str(path.relative_to(top)) for place in BESIDE
            for path in (top / place).rglob("*") if path.is_file()]


def listed(state, name):
    return (state / name).read_text().split()


def collect(top, plan):
    """Maps each path of QEMU's tree that we change to the file to put there.

    None stands for a file that goes.
    """
    state = top / "build" / ".state"
    source = top / "build" / "src"
    wanted = {}
    for path in listed(state, "touched") + listed(state, "overlay.laid"):
        wanted[path] = source / path if (source / path).exists() else None
    for path in our_files(top):
        wanted[plan.place(path)] = top / path
    return wanted


def removed_files(top):
    text = (top / "scripts" / "overlay.list").read_text()
    return re.findall(r"^remove\s+(\S+)", text, re.MULTILINE)


def put(root, path, source):
    target = root / path
    if source is None:
        target.unlink(missing_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink():
        target.unlink()
    shutil.copyfile(source, target)
    target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def commit_areas(repository, plan, wanted, removed):
    """One commit for each area that has something."""
    by_area = {id(area): [] for area in plan.areas}
    for path in sorted(wanted):
        by_area[id(plan.area_of(path))].append(path)
    count = 0
    for area in plan.areas:
        paths = by_area[id(area)]
        if "=removed" in area.patterns:
            paths = [path for path in removed
                     if (repository.root / path).exists()]
            changes = {path: None for path in paths}
        else:
            changes = {path: wanted[path] for path in paths}
        if not changes:
            continue
        for path, source in changes.items():
            put(repository.root, path, source)
        repository.git("add", "-A", "-f", "--", *changes)
        message = area.subject + "\n\n" + "\n".join(area.text)
        repository.commit(message.strip() + "\n")
        count += 1
        print(f"  {len(changes):4} files  {area.subject}")
    return count


def tree_files(root):
    found = set()
    for place, dirs, names in os.walk(root):
        dirs[:] = [name for name in dirs if name not in IGNORED_DIRS]
        links = [name for name in dirs
                 if os.path.islink(os.path.join(place, name))]
        for name in names + links:
            found.add(os.path.relpath(os.path.join(place, name), root))
    return found


def same_file(proof, source):
    if proof.is_symlink():      # a link of the base itself
        return source.is_symlink() and os.readlink(proof) == os.readlink(source)
    return filecmp.cmp(proof, source, shallow=False)


def differences(top, proof, wanted):
    """What `git am` made, against what is compiled."""
    source = top / "build" / "src"
    beside = {path for path, file in wanted.items()
              if file and source not in file.parents}
    there, here = tree_files(proof), tree_files(source)
    for path in sorted(there - here - beside):
        yield f"only in the series: {path}"
    for path in sorted(here - there):
        yield f"not in the series: {path}"
    for path in sorted(there & (here | beside)):
        expected = wanted.get(path) or source / path
        if not same_file(proof / path, expected):
            yield f"differs: {path}"


def export(top, repository, plan, wanted):
    """Writes build/series/ and leaves the repository at its last commit."""
    out = top / "build" / "series"
    shutil.rmtree(out, ignore_errors=True)
    repository.git("init", "-q", "-b", "work")
    repository.git("add", "-A", "-f")
    repository.commit("base source\n")
    repository.git("tag", "base")
    count = commit_areas(repository, plan, wanted, removed_files(top))
    repository.git("format-patch", "-q", "--no-signature", "--zero-commit",
                   "-o", str(out), "base..HEAD")
    return count, sorted(out.glob("*.patch"))


def main():
    top, proof = Path(sys.argv[1]), Path(sys.argv[2])
    plan = read_plan(top / "scripts" / "series.list")
    wanted = collect(top, plan)
    for path in wanted:     # say no before the long work, not after it
        plan.area_of(path)
    repository = Repository(proof, author_of(top))
    print("Committing the areas on the base source (some 30 s):", flush=True)
    count, patches = export(top, repository, plan, wanted)
    print("Applying the series to the base source with git am ...", flush=True)
    repository.git("checkout", "-q", "-f", "-B", "proof", "base")
    repository.git("clean", "-q", "-f", "-d", "-x")
    repository.git("am", "-q", "--keep-cr", *map(str, patches))
    wrong = list(differences(top, proof, wanted))
    if wrong:
        print("\n".join(wrong[:40]))
        sys.exit(f"series: error: {len(wrong)} files of the applied series "
                 f"are not what is compiled (build/src)\n"
                 f"series:        an edit in build/src belongs into a patch: "
                 f"scripts/refresh PATCH FILE")
    print(f"{count} patches in build/series/ apply with git am and give "
          f"exactly the tree that is compiled.")


if __name__ == "__main__":
    main()
