# SPDX-License-Identifier: GPL-2.0-or-later
"""The series of hooks is complete, explained, and holds hooks only."""

import re
import sys

import repo

sys.path.insert(0, str(repo.TOP / "scripts"))
import series  # noqa: E402  pylint: disable=wrong-import-position

SERIES = "patches/series"
TARGET = re.compile(r"^(?:---|\+\+\+) [ab]/(\S+)", re.MULTILINE)


def listed():
    return [line.split("#")[0].strip()
            for _, line in repo.lines(SERIES) if line.split("#")[0].strip()]


def overlay_lists():
    words = [line.split() for _, line in repo.lines("scripts/overlay.list")
             if line and not line.startswith("#")]
    return ({word[1] for word in words if word[0] == "lay"},
            {word[1] for word in words if word[0] == "remove"})


def check_every_patch_is_listed_once():
    there = {name.split("/", 1)[1] for name in repo.all_files()
             if repo.PATCHES.match(name)}
    for name in sorted(there - set(listed())):
        yield f"patches/{name}: not in the series"
    for name in sorted(set(listed()) - there):
        yield f"patches/series: {name} does not exist"
    for name in sorted({n for n in listed() if listed().count(n) > 1}):
        yield f"patches/series: {name} is listed twice"


def check_names():
    for name in listed():
        if not re.match(r"^\d{4}-[a-z0-9-]+\.patch$", name):
            yield f"patches/{name}: not named NNNN-area-what.patch"
    if listed() != sorted(listed()):
        yield "patches/series: not in the order of the numbers"


def check_every_patch_says_why():
    for name in listed():
        head = re.split(r"^(?:diff|---) ", repo.text(f"patches/{name}"),
                        maxsplit=1, flags=re.MULTILINE)[0]
        if not re.search(r"^Subject: [a-z0-9/-]+: \S", head, re.MULTILINE):
            yield f"patches/{name}: its header has no Subject: area: what"
        if not re.search(r"^Description: .+\n( \S.*\n)+", head, re.MULTILINE):
            yield (f"patches/{name}: its header has no Description: "
                   f"with the reason below it (DEP-3)")


def check_every_patch_is_in_the_hooks_page():
    page = repo.text("docs/hooks.md")
    for name in listed():
        if name not in page and name[:-len(".patch")] not in page:
            yield f"docs/hooks.md: says nothing of {name}"


def check_hooks_only():
    dirs, removed = overlay_lists()
    ours = {name for name in repo.all_files() if name.split("/")[0] in dirs}
    for name in listed():
        for target in sorted(set(TARGET.findall(
                repo.text(f"patches/{name}")))):
            if target in removed or target in ours:
                yield f"patches/{name}: touches {target}, a file of ours"


def check_every_hooked_file_has_its_area_in_the_export():
    plan = series.read_plan(repo.TOP / "scripts" / "series.list")
    hooked = {target for name in listed() for target in
              TARGET.findall(repo.text(f"patches/{name}"))}
    dirs, _ = overlay_lists()
    laid = {name for name in repo.all_files() if name.split("/")[0] in dirs}
    for path in sorted(hooked | laid):
        try:
            plan.area_of(path)
        except SystemExit:
            yield f"scripts/series.list: no area takes {path}"


def check_files_are_removed_once():
    lines = [line.split()[1] for line in
             repo.text("scripts/overlay.list").splitlines()
             if line.startswith("remove ")]
    for name in sorted({name for name in lines if lines.count(name) > 1}):
        yield f"scripts/overlay.list: {name} is removed twice"
