/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ends of the guest: power off, reboot, panic, and the power key that QEMU's
 * system_powerdown presses (ACPI button, seen through evdev).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <linux/reboot.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "services.h"

enum {
    REPLY_GRACE_US = 200 * 1000,    /* lets the reply reach the client */
    INPUT_DEVICES_MAX = 16,
};

typedef struct PowerEnd {
    const char *verb;
    int reboot_command;     /* 0: panic through sysrq */
} PowerEnd;

enum { END_POWEROFF };

static const PowerEnd ends[] = {
    [END_POWEROFF] = { "POWEROFF", LINUX_REBOOT_CMD_POWER_OFF },
    { "REBOOT", LINUX_REBOOT_CMD_RESTART },
    { "PANIC", 0 },
};

static void *end_run(void *opaque)
{
    const PowerEnd *end = opaque;

    usleep(REPLY_GRACE_US);
    sync();
    if (end->reboot_command) {
        reboot(end->reboot_command);
    } else {
        int fd = open("/proc/sysrq-trigger", O_WRONLY);

        if (fd >= 0 && write(fd, "c", 1) == 1) {
            pause();
        }
    }
    die("%s: %s", end->verb, strerror(errno));
}

/* In a thread of its own: the loop must go on to send the reply. */
static void power_end(const PowerEnd *end)
{
    pthread_t thread;

    printf("colo-guest: %s\n", end->verb);
    if (pthread_create(&thread, NULL, end_run, (void *)end)) {
        die("no thread for %s", end->verb);
    }
    pthread_detach(thread);
}

bool power_command(Conn *conn, const char *verb)
{
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        if (!strcmp(verb, ends[i].verb)) {
            conn_printf(conn, "OK\n");
            power_end(&ends[i]);
            return true;
        }
    }
    return false;
}

static void key_ready(int fd, void *opaque)
{
    struct input_event event;

    (void)opaque;
    while (read(fd, &event, sizeof(event)) == sizeof(event)) {
        if (event.type == EV_KEY && event.code == KEY_POWER && event.value) {
            power_end(&ends[END_POWEROFF]);
        }
    }
}

static bool has_power_key(int fd)
{
    unsigned long keys[KEY_CNT / (8 * sizeof(long)) + 1] = { 0 };
    unsigned word = KEY_POWER / (8 * sizeof(long));
    unsigned bit = KEY_POWER % (8 * sizeof(long));

    return ioctl(fd, EVIOCGBIT(EV_KEY, sizeof(keys)), keys) >= 0 &&
           (keys[word] >> bit & 1);
}

void power_watch(Loop *loop)
{
    for (int i = 0; i < INPUT_DEVICES_MAX; i++) {
        char path[32];
        int fd;

        snprintf(path, sizeof(path), "/dev/input/event%d", i);
        fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0) {
            continue;
        }
        if (has_power_key(fd)) {
            loop_watch(loop, fd, key_ready, NULL);
        } else {
            close(fd);
        }
    }
}
