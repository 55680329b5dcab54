/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo-guest: the load inside the test guest.
 *
 * Four threads with an event loop each, so that a slow disk, a bulk stream or a
 * long command does not delay the others: echo, control, the key-value store,
 * bulk. More threads come and go with the loads that the control port starts.
 * "colo-guest: ready" on the console says that every port is open.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "load.h"
#include "services.h"

static const char *disk_option(int argc, char **argv)
{
    if (argc == 1) {
        return NULL;
    }
    if (argc == 3 && !strcmp(argv[1], "--disk")) {
        return argv[2];
    }
    die("usage: %s [--disk DEVICE]", argv[0]);
}

int main(int argc, char **argv)
{
    const char *disk_path = disk_option(argc, argv);
    Loop *echo = loop_new("echo");
    Loop *control = loop_new("control");
    Loop *store = loop_new("store");
    Loop *bulk = loop_new("bulk");

    setlinebuf(stdout);
    signal(SIGPIPE, SIG_IGN);
    kv_open(disk_path);
    disk_load_open(disk_path);

    loop_listen(echo, &echo_service);
    loop_listen(control, &control_service);
    udp_echo_start(echo);
    power_watch(control);
    loop_listen(store, &kv_service);
    loop_listen(bulk, &source_service);
    loop_listen(bulk, &sink_service);

    loop_start(echo);
    loop_start(control);
    loop_start(store);
    loop_start(bulk);
    printf("colo-guest: ready\n");
    for (;;) {
        pause();
    }
}
