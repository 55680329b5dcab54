# SPDX-License-Identifier: GPL-2.0-or-later
"""House rules as tests.

    python3 tests/lint/run.py [WORD...]     only checks whose name has a WORD

Every function `check_*` of every module `check_*.py` beside this file is one
test.  It returns the list of what it found wrong; an empty list is a pass.
Prints TAP lines and last `N passed, N failed, N skipped`.
"""

import importlib
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent


def find_checks():
    """Pairs of name and function, in a stable order."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(HERE))
    for path in sorted(HERE.glob("check_*.py")):
        module = importlib.import_module(path.stem)
        for name, function in vars(module).items():
            if name.startswith("check_") and callable(function):
                yield f"{path.stem[6:]}: {name[6:].replace('_', ' ')}", function


def problems_of(function):
    try:
        return list(function())
    except Exception:  # a check that breaks has failed, the others go on
        return traceback.format_exc().splitlines()


def main():
    words = sys.argv[1:]
    passed = failed = 0
    for name, function in find_checks():
        if words and not any(word in name for word in words):
            continue
        problems = problems_of(function)
        number = passed + failed + 1
        if problems:
            failed += 1
            print(f"not ok {number} - {name}")
            for problem in problems:
                print(f"# {problem}")
        else:
            passed += 1
            print(f"ok {number} - {name}", flush=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
