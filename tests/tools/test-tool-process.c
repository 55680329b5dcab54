/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A domain's process is found by libvirt's file, never taken for another one,
 * and its end is seen. A shell stands for QEMU, with QEMU's command line.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>
#include "process.h"

#define UUID "8e1d8f2c-0f5e-4b86-9a59-0d6a2f3a1c11"
#define OTHER "8e1d8f2c-0f5e-4b86-9a59-0d6a2f3a1c12"

static char *directory;

/* One that waits until it is killed. */
static pid_t start(const char *name)
{
    const char *argv[] = {
        "/bin/sh", "-c", "kill -STOP $$", "sh", "-name", name, "-uuid", UUID,
        NULL
    };
    g_autoptr(GError) error = NULL;
    siginfo_t info;
    pid_t pid;

    g_spawn_async(NULL, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL,
                  NULL, &pid, &error);
    g_assert_no_error(error);
    /* It has its own command line by then. */
    g_assert_cmpint(waitid(P_PID, pid, &info, WSTOPPED), ==, 0);
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
}

static void write_file(const char *name, const char *text)
{
    g_autofree char *file = g_strconcat(name, ".pid", NULL);
    g_autofree char *path = g_build_filename(directory, file, NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void write_pid(const char *name, pid_t pid)
{
    g_autofree char *text = g_strdup_printf("%d\n", (int)pid);

    write_file(name, text);
}

static void expect_none(const char *name, const char *uuid)
{
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(colo_process_open(directory, name, uuid, &error), ==,
                    -1);
    g_assert_nonnull(error);
}

static bool is_ready(int fd, int timeout_ms)
{
    struct pollfd ended = { .fd = fd, .events = POLLIN };

    return poll(&ended, 1, timeout_ms) == 1;
}

static void test_end(void)
{
    pid_t pid = start("guest=vm,debug-threads=on");
    g_autoptr(GError) error = NULL;
    int fd;

    write_pid("vm", pid);
    fd = colo_process_open(directory, "vm", UUID, &error);
    g_assert_no_error(error);
    g_assert_cmpint(fd, >=, 0);
    g_assert_false(is_ready(fd, 0));
    kill(pid, SIGKILL);
    g_assert_true(is_ready(fd, 10000));
    close(fd);

    /* Not yet waited for by its parent, it has ended all the same. */
    expect_none("vm", UUID);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
    expect_none("vm", UUID);
}

static void test_other(void)
{
    pid_t pid = start("guest=vm,debug-threads=on");

    write_pid("vm", pid);
    write_pid("v", pid);
    write_pid("vm2", pid);
    expect_none("vm", OTHER);
    expect_none("v", UUID);
    expect_none("vm2", UUID);
    expect_none("absent", UUID);
    end(pid);

    /* Its number is somebody else's now. */
    write_pid("vm", getpid());
    expect_none("vm", UUID);
    write_file("vm", "one\n");
    expect_none("vm", UUID);
    write_file("vm", "-1\n");
    expect_none("vm", UUID);
    write_file("vm", "");
    expect_none("vm", UUID);
}

static void test_comma(void)
{
    pid_t pid = start("guest=a,,b,debug-threads=on");
    g_autoptr(GError) error = NULL;
    int fd;

    write_pid("a,b", pid);
    fd = colo_process_open(directory, "a,b", UUID, &error);
    g_assert_no_error(error);
    close(fd);
    end(pid);
}

static void test_directory(void)
{
    static const char *const elsewhere[] = {
        "qemu+ssh://b/system", "qemu+tls://[::1]:16514/system", "test:a",
        "qemu+unix:///system?socket=/tmp/libvirt-sock",
        "qemu:///embed?root=/tmp", "qemu://localhost/system",
    };
    g_autofree char *system = colo_process_directory("qemu:///system");
    g_autofree char *session = colo_process_directory("qemu:///session");
    unsigned i;

    g_assert_cmpstr(system, ==, "/run/libvirt/qemu");
    g_assert_nonnull(session);
    for (i = 0; i < G_N_ELEMENTS(elsewhere); i++) {
        g_assert_null(colo_process_directory(elsewhere[i]));
    }
}

static void clear_directory(void)
{
    g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(directory, name, NULL);

        g_unlink(path);
    }
    g_rmdir(directory);
}

int main(int argc, char **argv)
{
    int result;

    directory = g_dir_make_tmp("colo-test-XXXXXX", NULL);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tool/process/end", test_end);
    g_test_add_func("/tool/process/other", test_other);
    g_test_add_func("/tool/process/comma", test_comma);
    g_test_add_func("/tool/process/directory", test_directory);
    result = g_test_run();
    clear_directory();
    g_free(directory);
    return result;
}
