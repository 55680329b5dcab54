/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ctrl-C and SIGTERM.
 *
 * The handler sets a flag, which long work looks at, and writes into a pipe,
 * which wakes what waits for events.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#include <glib.h>
#include "cancel.h"

static volatile sig_atomic_t asked;
static int pipe_fds[2] = { -1, -1 };

static void on_signal(int number)
{
    int saved = errno;
    ssize_t ignored = write(pipe_fds[1], "", 1);

    (void)ignored;      /* full: it can be read, which is all that counts */
    asked = 1;
    errno = saved;
}

int colo_cancel_setup(void)
{
    struct sigaction action = { .sa_handler = on_signal };

    if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        g_error("pipe: %s", g_strerror(errno));
    }
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    return pipe_fds[0];
}

bool colo_cancel_asked(void)
{
    return asked;
}
