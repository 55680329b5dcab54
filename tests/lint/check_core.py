# SPDX-License-Identifier: GPL-2.0-or-later
"""The core decides and does nothing else: no I/O, clock, lock or global."""

import re

import repo

HEADERS = {
    "assert.h", "errno.h", "inttypes.h", "limits.h", "stdarg.h",
    "stdbool.h", "stddef.h", "stdint.h", "stdlib.h", "string.h",
    "glib.h", "xxhash.h",
    "arpa/inet.h",  # inet_pton() reads an address, which is all it does
    "sys/mman.h",   # madvise() gives staging memory back
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
CALLS = re.compile(r"""\b(
    time | clock | clock_gettime | gettimeofday | g_get_monotonic_time
    | g_get_real_time | g_date_time_\w+ | g_timer_\w+
    | sleep | usleep | nanosleep | g_usleep
    | pthread_\w+ | g_mutex_\w+ | g_rec_mutex_\w+ | g_rw_lock_\w+
    | g_cond_\w+ | g_thread_\w+ | g_async_queue_\w+ | mtx_\w+ | thrd_\w+
    | open | close | read | write | pread | pwrite | readv | writev
    | send | sendto | sendmsg | recv | recvfrom | recvmsg | socket
    | poll | ppoll | select | ioctl | mmap | munmap
    | fopen | fclose | fread | fwrite | fflush | fputs | puts | putchar
    | printf | fprintf | vprintf | vfprintf | perror
    | g_print | g_printerr | g_message | g_warning | g_critical | g_log
    | rand | random | srand | g_random_\w+ | getenv | g_getenv
    | g_timeout_\w+ | g_idle_\w+ | g_io_\w+ | system | fork | exec[lv]\w*
    )\s*\(""", re.VERBOSE)
GLOBAL = re.compile(r"^(?:static\s+)?(?!static\b|const\b|typedef\b|extern\b"
                    r"|struct\s+\w+\s*[;{]|union\b|enum\b|return\b|inline\b"
                    r"|G_\w+|QEMU_\w+|_Static_assert)"
                    r"[A-Za-z_][\w\s\*]*\b\w+\s*(?:\[[^\]]*\]\s*)*(?:=|;)",
                    re.MULTILINE)

CONSTANT = re.compile(r"(?:\*\s*const|\bconst)\s+\w+\s*[\[=;]")


def line_of(source, match):
    return source.count("\n", 0, match.start()) + 1


def check_includes():
    for name in repo.core_files():
        source = repo.text(name)
        for match in INCLUDE.finditer(source):
            bracket, header = match.groups()
            beside = (repo.TOP / name).parent / header
            allowed = (header in HEADERS if bracket == "<" else
                       header.startswith("colo/") or beside.is_file())
            if not allowed:
                yield (f"{name}:{line_of(source, match)}: the core must not "
                       f"include {header}")


def check_calls():
    for name in repo.core_files():
        source = repo.without_comments(repo.text(name))
        for match in CALLS.finditer(source):
            yield (f"{name}:{line_of(source, match)}: the core must not call "
                   f"{match.group(1)}()")


def check_globals():
    for name in repo.core_files():
        source = repo.without_comments(repo.text(name))
        for match in GLOBAL.finditer(source):
            if CONSTANT.search(match.group()):
                continue
            yield (f"{name}:{line_of(source, match)}: the core keeps no "
                   f"variable of its own: {match.group().strip()}")


def check_there_is_a_core():
    if not repo.core_files():
        yield "no file of the core was found"
