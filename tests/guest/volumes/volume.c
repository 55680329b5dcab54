/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * File systems of the guest's disks: mounted at /volumes/DEVICE, as a
 * careful administrator would: journal, barriers, discard, and every error
 * makes the file system read-only, so that no test can miss it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server.h"

#define ROOT "/volumes"

enum {
    BUSY_TRIES = 100,           /* a session that ends may hold files yet */
    BUSY_PAUSE_US = 50000,
};

void volume_path(char path[PATH_MAX_BYTES], const char *device,
                 const char *name)
{
    snprintf(path, PATH_MAX_BYTES, ROOT "/%s%s%s", device, *name ? "/" : "",
             name);
}

/* A directory on another device than the one around it. */
bool volume_is_mounted(const char *device)
{
    char where[PATH_MAX_BYTES];
    struct stat inner, outer;

    volume_path(where, device, "");
    return !stat(ROOT, &outer) && !stat(where, &inner) &&
           inner.st_dev != outer.st_dev;
}

void command_mount(Session *session, char **words)
{
    char where[PATH_MAX_BYTES], what[PATH_MAX_BYTES];

    volume_path(where, words[0], "");
    snprintf(what, sizeof(what), "/dev/%s", words[0]);
    mkdir(ROOT, 0755);
    mkdir(where, 0755);
    if (!volume_is_mounted(words[0]) && mount(what, where, "ext4", MS_NOATIME,
              "errors=remount-ro,discard,data=ordered")) {
        answer(session, "ERR %s", failure(what));
    } else {
        answer(session, "OK");
    }
}

void command_umount(Session *session, char **words)
{
    char where[PATH_MAX_BYTES];
    int rc = -1;

    volume_path(where, words[0], "");
    for (int i = 0; i < BUSY_TRIES && rc; i++) {
        rc = umount(where);
        if (rc && errno != EBUSY) {
            break;
        }
        if (rc) {
            usleep(BUSY_PAUSE_US);
        }
    }
    if (rc) {
        answer(session, "ERR %s", failure(where));
    } else {
        answer(session, "OK");
    }
}

/* Exit code of a check that changes nothing; what it said is on the console. */
static int run_fsck(const char *device)
{
    char path[PATH_MAX_BYTES];
    pid_t child;
    int status;

    snprintf(path, sizeof(path), "/dev/%s", device);
    child = fork();
    if (child < 0) {
        return -1;
    }
    if (!child) {
        execl("/bin/e2fsck.static", "e2fsck", "-f", "-n", path, NULL);
        _exit(127);
    }
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
        return -1;
    }
    return WEXITSTATUS(status);
}

void command_fsck(Session *session, char **words)
{
    int code;

    drop_caches();
    code = run_fsck(words[0]);
    if (code) {
        answer(session, "ERR e2fsck ended with %d, see the console", code);
    } else {
        answer(session, "OK");
    }
}
