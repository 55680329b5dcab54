# SPDX-License-Identifier: GPL-2.0-or-later
"""What the documentation names is there: files, sections, fault points."""

import fnmatch
import posixpath
import re
import subprocess
import sys

import repo

LINK = re.compile(r"\[[^\]\[]*\]\(([^)\s]+)\)")
ELSEWHERE = re.compile(r"^[a-z]+:")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def pages():
    return [name for name in repo.all_files() if name.endswith(".md")]


def prose(name):
    """The page without its blocks of code; line numbers do not matter."""
    return FENCE.sub("", repo.text(name))


def anchors(name):
    """The names under which the sections of a page can be linked to."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", prose(name), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-"))
    return found


def check_links_lead_somewhere():
    there = set(repo.all_files()) | {"COPYING"}
    for name in pages():
        for link in LINK.findall(prose(name)):
            if ELSEWHERE.match(link):
                continue
            path, _, section = link.partition("#")
            target = posixpath.normpath(posixpath.join(
                posixpath.dirname(name), path)) if path else name
            if target not in there:
                yield f"{name}: links to {link}, which does not exist"
            elif section and section not in anchors(target):
                yield f"{name}: {target} has no section #{section}"


def check_every_page_is_in_the_index():
    index = repo.text("docs/index.md")
    for name in pages():
        if name.startswith("docs/") and name != "docs/index.md" and \
                f"({name[len('docs/'):]})" not in index:
            yield f"docs/index.md: says nothing of {name}"


def check_fault_points_are_explained():
    source = repo.text("migration/colo-fault.c")
    points = set(re.findall(r'"([ps]-[a-z-]+)"', source))
    rows = set(re.findall(r"^\| `([ps]-[a-z-]+)` \|",
                          repo.text("docs/testing.md"), re.MULTILINE))
    for point in sorted(points ^ rows):
        where = "docs/testing.md" if point in points else "colo-fault.c"
        yield f"{where}: has no fault point {point}"


def check_parameters_are_explained():
    schema = repo.text("qapi/colo.json")
    body = schema.split("{ 'struct': 'ColoParameters'")[1].split("##")[0]
    guide = repo.text("docs/user-guide.md")
    for name in re.findall(r"'\*([a-z-]+)'", body):
        if f"| `{name}` |" not in guide:
            yield f"docs/user-guide.md: does not explain {name}"


def check_commands_are_explained():
    guide = repo.text("docs/user-guide.md")
    for name in re.findall(r"^{ '(?:command|event)': '([\w-]+)'",
                           repo.text("qapi/colo.json") +
                           repo.text("qapi/colo-net.json"), re.MULTILINE):
        if f"`{name}`" not in guide:
            yield f"docs/user-guide.md: does not explain {name}"


def check_causes_and_states_are_explained():
    guide = repo.text("docs/user-guide.md")
    causes = set(re.findall(r'\[COLO_CAUSE_\w+\] = "([a-z-]+)"',
                            repo.text("migration/colo/machine-names.c")))
    states = re.search(r"{ 'enum': 'ColoState',\s*'data': \[([^\]]*)\]",
                       repo.text("qapi/colo.json"))
    for name in sorted(causes - {"none"}) + re.findall(
            r"'([a-z]+)'", states.group(1)):
        if f"| `{name}` |" not in guide:
            yield f"docs/user-guide.md: does not explain {name}"


def check_statuses_are_explained():
    page = repo.text("docs/colo-status.md")
    for word in re.findall(r'\[COLO_WORD_\w+\] = { "([^"]+)"',
                           repo.text("tools/colo/verdict.c")):
        if f"\n## {word}\n" not in page or f"{word}" not in \
                page.split("\n## ")[0]:
            yield f"docs/colo-status.md: does not explain {word}"


def check_options_of_colo_are_explained():
    page = repo.text("docs/libvirt.md")
    for name in re.findall(r'^\s*\[COLO_CMD_\w+\] = { "(\w+)"',
                           repo.text("tools/colo/options.c"), re.MULTILINE):
        if name != "help" and f"`colo {name}" not in page:
            yield f"docs/libvirt.md: does not explain colo {name}"


def check_somebody_maintains_every_file():
    patterns = re.findall(r"^F: (\S+)$", repo.text("MAINTAINERS"),
                          re.MULTILINE)
    names = repo.all_files() + ("COPYING",)

    def covers(pattern, name):
        if pattern.endswith("/"):
            return name.startswith(pattern)
        return name.count("/") == pattern.count("/") and \
            fnmatch.fnmatch(name, pattern)
    for pattern in patterns:
        if not any(covers(pattern, name) for name in names):
            yield f"MAINTAINERS: nothing matches {pattern}"
    for name in names:
        if not any(covers(pattern, name) for pattern in patterns):
            yield f"MAINTAINERS: nobody looks after {name}"


def check_phases_are_explained():
    guide = repo.text("docs/user-guide.md")
    for name in re.findall(r'\[COLO_PHASE_\w+\] = "([a-z-]+)"',
                           repo.text("migration/colo-stats.c")):
        if f"`{name}`" not in guide:
            yield f"docs/user-guide.md: does not explain the phase {name}"


def check_hooks_page_names_what_each_patch_touches():
    page = repo.text("docs/hooks.md")
    for name in repo.all_files():
        if not repo.PATCHES.match(name):
            continue
        title = posixpath.basename(name)[:-len(".patch")]
        section = page.partition(f"## {title}\n")[2].partition("\n## ")[0]
        row = re.search(r"^\| touches \|(.*)\|$", section, re.MULTILINE)
        said = set(re.findall(r"`([^`]+)`", row.group(1))) if row else set()
        done = set(re.findall(r"^diff --git a/(\S+)", repo.text(name),
                              re.MULTILINE))
        for target in sorted(said ^ done):
            yield f"docs/hooks.md: {title} and {target}"


def cases_of(suite):
    """The names that the suite's --list shows."""
    lines = subprocess.run(
        [sys.executable, f"tests/{suite}/run.py", "--list"], cwd=repo.TOP,
        check=True, capture_output=True, text=True).stdout.splitlines()
    return {line.split()[1] for line in lines}


def check_proofs_of_hooks_exist():
    cases = cases_of("functional") | cases_of("qtest")
    for row in re.findall(r"^\| proof \|(.*)\|$", repo.text("docs/hooks.md"),
                          re.MULTILINE):
        for proof in re.findall(r"`([a-z]\w+_\w+)`", row):
            if proof not in cases:
                yield f"docs/hooks.md: there is no test {proof}"
