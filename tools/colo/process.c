/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process of a domain on this machine, and seeing it end.
 *
 * The number of a process is used again when it has ended, so the one in
 * libvirt's file may be somebody else's by now. A descriptor of the process
 * is never: so that is taken first, and the command line is looked at then.
 * If the process behind the descriptor still lives after that, it is the one
 * whose command line was seen.
 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "address.h"
#include "error.h"
#include "process.h"

char *colo_process_directory(const char *uri)
{
    g_autofree char *host = colo_address_of_uri(uri);
    bool is_system = !strcmp(uri, "qemu:///system") ||
                     !strcmp(uri, "qemu+unix:///system");
    bool is_session = !strcmp(uri, "qemu:///session") ||
                      !strcmp(uri, "qemu+unix:///session");

    /* Whoever is asked over another socket may see other files than we. */
    if (host || (!is_system && !is_session)) {
        return NULL;
    }
    if (is_system || !geteuid()) {
        return g_strdup("/run/libvirt/qemu");
    }
    return g_build_filename(g_get_user_runtime_dir(), "libvirt", "qemu",
                            "run", NULL);
}

static pid_t read_pid(const char *directory, const char *name,
                      GError **error)
{
    g_autofree char *file = g_strconcat(name, ".pid", NULL);
    g_autofree char *path = g_build_filename(directory, file, NULL);
    g_autofree char *text = NULL;
    guint64 pid;

    if (!g_file_get_contents(path, &text, NULL, error)) {
        return -1;
    }
    if (!g_ascii_string_to_unsigned(g_strstrip(text), 10, 1, G_MAXINT, &pid,
                                    error)) {
        return -1;
    }
    return pid;
}

/* The word behind "option" on a command line of words that end with NUL. */
static const char *word_behind(const char *line, size_t length,
                               const char *option)
{
    const char *end = line + length;
    const char *word, *next;

    for (word = line; word < end; word = next) {
        next = word + strlen(word) + 1;
        if (!strcmp(word, option) && next < end) {
            return next;
        }
    }
    return NULL;
}

/* "guest=NAME,debug-threads=on"; a comma within the name stands twice. */
static bool is_name(const char *word, const char *name)
{
    g_auto(GStrv) parts = g_strsplit(name, ",", -1);
    g_autofree char *escaped = g_strjoinv(",,", parts);
    g_autofree char *start = g_strconcat("guest=", escaped, NULL);

    return g_str_has_prefix(word, start) &&
           (word[strlen(start)] == '\0' || word[strlen(start)] == ',');
}

static bool is_domain(pid_t pid, const char *name, const char *uuid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", (int)pid);
    g_autofree char *line = NULL;
    const char *word;
    size_t length;

    if (!g_file_get_contents(path, &line, &length, NULL)) {
        return false;
    }
    word = word_behind(line, length, "-name");
    if (!word || !is_name(word, name)) {
        return false;
    }
    word = word_behind(line, length, "-uuid");
    return word && !g_ascii_strcasecmp(word, uuid);
}

static bool has_ended(int fd)
{
    struct pollfd ended = { .fd = fd, .events = POLLIN };

    return poll(&ended, 1, 0) != 0;
}

int colo_process_open(const char *directory, const char *name,
                      const char *uuid, GError **error)
{
    pid_t pid = read_pid(directory, name, error);
    int fd;

    if (pid < 0) {
        return -1;
    }
    fd = syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) {
        colo_error_set(error, COLO_EXIT_FAILED,
                       "Process %d cannot be watched: %s", (int)pid,
                       g_strerror(errno));
        return -1;
    }
    if (!is_domain(pid, name, uuid) || has_ended(fd)) {
        close(fd);
        colo_error_set(error, COLO_EXIT_FAILED,
                       "Process %d is not that of '%s'", (int)pid, name);
        return -1;
    }
    return fd;
}
