/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control port: one command per line, one line of reply per command.
 *
 * Replies to everything but INFO, TIME and the STAT commands depend on the
 * commands only, so two machines in lockstep answer alike.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "dirty.h"
#include "load.h"
#include "services.h"

typedef struct Command {
    const char *name;
    void (*run)(Conn *conn, const char *arguments);
} Command;

static void answer(Conn *conn, const char *problem)
{
    conn_printf(conn, problem ? "ERR %s\n" : "OK\n", problem);
}

static void command_ping(Conn *conn, const char *arguments)
{
    (void)arguments;
    conn_printf(conn, "PONG\n");
}

static uint64_t monotonic_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000ull + now.tv_nsec / 1000;
}

static void command_time(Conn *conn, const char *arguments)
{
    (void)arguments;
    conn_printf(conn, "TIME %" PRIu64 "\n", monotonic_us());
}

static void command_info(Conn *conn, const char *arguments)
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    char boot_id[64] = "unknown";
    struct sysinfo memory;
    struct utsname name;

    (void)arguments;
    if (file) {
        if (fscanf(file, "%63s", boot_id) != 1) {
            strcpy(boot_id, "unknown");
        }
        fclose(file);
    }
    sysinfo(&memory);
    uname(&name);
    conn_printf(conn, "INFO uptime_ms=%" PRIu64 " mem_total_kib=%" PRIu64
                " mem_free_kib=%" PRIu64 " cpus=%ld boot_id=%s kernel=%s\n",
                monotonic_us() / 1000,
                (uint64_t)memory.totalram * memory.mem_unit / 1024,
                (uint64_t)memory.freeram * memory.mem_unit / 1024,
                sysconf(_SC_NPROCESSORS_ONLN), boot_id, name.release);
}

static void run_dirty(Conn *conn, const char *arguments, bool full)
{
    unsigned rate, span = 0;
    int count = sscanf(arguments, "%u %u", &rate, &span);

    if (count < 1 || (count < 2 && rate)) {
        conn_printf(conn, "ERR usage: DIRTY MiB_per_s MiB_span, DIRTY 0\n");
        return;
    }
    answer(conn, dirty_start(rate, span, full));
}

static void command_dirty(Conn *conn, const char *arguments)
{
    run_dirty(conn, arguments, false);
}

static void command_dirtyfull(Conn *conn, const char *arguments)
{
    run_dirty(conn, arguments, true);
}

static void command_dirtystat(Conn *conn, const char *arguments)
{
    DirtyStat stat = dirty_stat();

    (void)arguments;
    conn_printf(conn, "DIRTYSTAT rate_mib_per_s=%u span_mib=%u full=%d"
                " pages_written=%" PRIu64 " pass=%" PRIu64 "\n",
                stat.rate_mib_per_s, stat.span_mib, stat.full,
                stat.pages_written, stat.pass);
}

static void command_dirtycheck(Conn *conn, const char *arguments)
{
    size_t bad_offset;

    (void)arguments;
    if (dirty_check(&bad_offset)) {
        conn_printf(conn, "OK %u\n", dirty_stat().span_mib);
    } else {
        conn_printf(conn, "ERR wrong memory content at byte %zu\n",
                    bad_offset);
    }
}

static void command_cpu(Conn *conn, const char *arguments)
{
    unsigned threads_count;

    if (sscanf(arguments, "%u", &threads_count) != 1) {
        conn_printf(conn, "ERR usage: CPU threads\n");
        return;
    }
    answer(conn, cpu_load(threads_count));
}

static void disk_stat(Conn *conn)
{
    DiskStat stat = disk_load_stat();

    conn_printf(conn, "DISK running=%d writing=%d chunks=%" PRIu64
                " pass=%" PRIu64 " errors=%" PRIu64 "\n", stat.running,
                stat.writing, stat.chunks_done, stat.pass, stat.errors);
}

static void disk_check(Conn *conn)
{
    uint64_t chunks_checked;
    const char *problem = disk_load_check(&chunks_checked);

    if (problem) {
        conn_printf(conn, "ERR %s, chunk %" PRIu64 "\n", problem,
                    chunks_checked);
    } else {
        conn_printf(conn, "OK\n");
    }
}

static void command_disk(Conn *conn, const char *arguments)
{
    char verb[8];
    unsigned rate = 0, span = 0;
    int count = sscanf(arguments, "%7s %u %u", verb, &rate, &span);

    if (count == 3 && rate && !strcmp(verb, "WRITE")) {
        answer(conn, disk_load_start(true, rate, span));
    } else if (count == 3 && rate && !strcmp(verb, "READ")) {
        answer(conn, disk_load_start(false, rate, span));
    } else if (count == 1 && !strcmp(verb, "STOP")) {
        answer(conn, disk_load_start(false, 0, 0));
    } else if (count == 1 && !strcmp(verb, "STAT")) {
        disk_stat(conn);
    } else if (count == 1 && !strcmp(verb, "CHECK")) {
        disk_check(conn);
    } else {
        conn_printf(conn, "ERR usage: DISK WRITE|READ MiB_per_s MiB_span, "
                    "DISK STOP|STAT|CHECK\n");
    }
}

static const Command commands[] = {
    { "PING", command_ping },
    { "INFO", command_info },
    { "TIME", command_time },
    { "DIRTY", command_dirty },
    { "DIRTYFULL", command_dirtyfull },
    { "DIRTYSTAT", command_dirtystat },
    { "DIRTYCHECK", command_dirtycheck },
    { "CPU", command_cpu },
    { "DISK", command_disk },
};

static void command_help(Conn *conn)
{
    conn_printf(conn, "ERR unknown command; known: POWEROFF REBOOT PANIC");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        conn_printf(conn, " %s", commands[i].name);
    }
    conn_printf(conn, "\n");
}

static void control_line(Conn *conn, char *line)
{
    char *arguments = strchr(line, ' ');

    if (arguments) {
        *arguments++ = '\0';
    } else {
        arguments = line + strlen(line);
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (!strcmp(line, commands[i].name)) {
            commands[i].run(conn, arguments);
            return;
        }
    }
    if (!power_command(conn, line)) {
        command_help(conn);
    }
}

const Service control_service = {
    .name = "control",
    .port = PORT_CONTROL,
    .line = control_line,
};
