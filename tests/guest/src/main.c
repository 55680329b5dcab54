/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo-guest: the load inside the test guest.
 *
 * Five threads with an event loop each, so that a slow disk, a bulk stream or a
 * long command does not delay the others: echo and the datagram services,
 * control, the key-value store, bulk, web. More threads come and go with the
 * loads that the control port starts.
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
    Loop *web = loop_new("web");

    setlinebuf(stdout);
    signal(SIGPIPE, SIG_IGN);
    kv_open(disk_path);
    disk_load_open(disk_path);

    loop_listen(echo, &echo_service);
    loop_listen(control, &control_service);
    loop_datagrams(echo, PORT_UDP_ECHO, echo_datagram);
    loop_datagrams(echo, PORT_LEDGER, ledger_datagram);
    loop_datagrams(echo, PORT_DNS, dns_datagram);
    power_watch(control);
    loop_listen(store, &kv_service);
    loop_listen(bulk, &source_service);
    loop_listen(bulk, &sink_service);
    loop_listen(web, &http_service);

    loop_start(echo);
    loop_start(control);
    loop_start(store);
    loop_start(bulk);
    loop_start(web);
    printf("colo-guest: ready\n");
    for (;;) {
        pause();
    }
}
