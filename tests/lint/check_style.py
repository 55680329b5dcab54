# SPDX-License-Identifier: GPL-2.0-or-later
"""Licence tags, line and file lengths, and nothing left for later."""

import re

import repo

LINE_LIMIT = 80
FILE_LIMIT = 800
FUNCTION_LIMIT = 70

CODE = (".c", ".h", ".py", ".sh", ".build", ".json")
CODE_NAMES = ("Makefile", "configure", "meson_options.txt", "meson.options")
# Written so that this file does not find itself.
LATER = re.compile(r"\b(?:T[O]DO|F[I]XME|X[X]X|H[A]CK)\b")
DEAD = re.compile(r"^\s*#\s*if\s+0\b")


def code_files():
    for name in repo.all_files():
        if repo.PATCHES.match(name):
            continue
        if name.endswith(CODE) or name.split("/")[-1] in CODE_NAMES or \
                repo.first_line(name).startswith("#!"):
            yield name


def check_licence_tag():
    for name in code_files():
        head = "\n".join(repo.text(name).splitlines()[:5])
        if "SPDX-License-Identifier: GPL-2.0-or-later" not in head:
            yield f"{name}: no SPDX-License-Identifier in its first lines"


def check_tabs_and_columns():
    for name in repo.c_files():
        for number, line in repo.lines(name):
            if "\t" in line:
                yield f"{name}:{number}: a tab"
            if len(line) > LINE_LIMIT:
                yield f"{name}:{number}: {len(line)} columns"


def check_trailing_space():
    for name in code_files():
        for number, line in repo.lines(name):
            if line != line.rstrip():
                yield f"{name}:{number}: space at the end of the line"
        if not repo.text(name).endswith("\n"):
            yield f"{name}: no newline at the end"


def check_file_length():
    for name in code_files():
        count = len(repo.text(name).splitlines())
        if count > FILE_LIMIT:
            yield f"{name}: {count} lines, at most {FILE_LIMIT}"


def check_function_length():
    for name in repo.c_files():
        start = None
        for number, line in repo.lines(name):
            if line == "{":
                start = number
            elif line == "}" and start:
                if number - start - 1 > FUNCTION_LIMIT:
                    yield (f"{name}:{start}: a function of "
                           f"{number - start - 1} lines, at most "
                           f"{FUNCTION_LIMIT}")
                start = None


def check_nothing_left_for_later():
    for name in repo.all_files():
        for number, line in repo.lines(name):
            if repo.PATCHES.match(name) and not line.startswith("+"):
                continue
            if LATER.search(line):
                yield f"{name}:{number}: left for later: {line.strip()}"
            if DEAD.match(line.lstrip("+")):
                yield f"{name}:{number}: dead code: {line.strip()}"
