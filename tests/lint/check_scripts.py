# SPDX-License-Identifier: GPL-2.0-or-later
"""Scripts parse, are executable where people start them, and stay thin."""

import os
import re
import subprocess

import repo


def check_shell_parses():
    for name in repo.shell_files():
        result = subprocess.run(["sh", "-n", name], cwd=repo.TOP, check=False,
                                capture_output=True, text=True)
        if result.returncode:
            yield f"{name}: {result.stderr.strip()}"


def check_shell_is_posix():
    bashism = re.compile(r"(?:^|\s)\[\[\s|^\s*function\s|\bdeclare\s|<<<|\$\{\w+[\^,]"
                         r"|(?<![&>])&>|\blocal\s+\w+=\(|;;&")
    for name in repo.shell_files():
        if "bash" in repo.first_line(name):
            yield f"{name}: asks for bash; scripts here are POSIX sh"
        for number, line in repo.lines(name):
            if bashism.search(line) and not line.lstrip().startswith("#"):
                yield f"{name}:{number}: not POSIX sh: {line.strip()}"


def check_python_compiles():
    for name in repo.python_files():
        try:
            compile(repo.text(name), name, "exec")
        except SyntaxError as error:
            yield f"{name}:{error.lineno}: {error.msg}"


def check_test_modules_have_names_of_their_own():
    """They share sys.path: of two with one name the first is loaded."""
    seen = {}
    for name in repo.python_files():
        module = os.path.basename(name)
        if module.startswith("test_"):
            if module in seen:
                yield f"{name}: {seen[module]} has that name as well"
            seen[module] = name


def check_started_files_are_executable():
    for name in repo.all_files():
        if repo.first_line(name).startswith("#!") and \
                not os.access(repo.TOP / name, os.X_OK):
            yield f"{name}: starts with #! and is not executable"


def check_every_target_has_its_line_of_help():
    makefile = repo.text("Makefile")
    shown = subprocess.run(["make", "-s", "help"], cwd=repo.TOP, check=True,
                           capture_output=True, text=True).stdout
    phony = re.search(r"^\.PHONY:((?:.*\\\n)*.*)$", makefile, re.MULTILINE)
    for target in phony.group(1).replace("\\", " ").split():
        if not re.search(rf"^  make {target} ", shown, re.MULTILINE):
            yield f"make {target}: not listed by make help"
