/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The services of the guest daemon; the protocol is in ../README.md. */
#ifndef COLO_GUEST_SERVICES_H
#define COLO_GUEST_SERVICES_H

#include "loop.h"

enum {
    PORT_ECHO = 7000,
    PORT_KV = 7001,
    PORT_CONTROL = 7002,
    PORT_SOURCE = 7003,
    PORT_SINK = 7004,
    PORT_UDP_ECHO = 7005,
    PORT_LEDGER = 7006,
    PORT_DNS = 53,
    PORT_HTTP = 80,
};

extern const Service echo_service;
extern const Service kv_service;
extern const Service control_service;
extern const Service source_service;
extern const Service sink_service;
extern const Service http_service;

DatagramAnswer echo_datagram;
DatagramAnswer ledger_datagram;
DatagramAnswer dns_datagram;

/*
 * Recovers the store from @disk_path, or starts it empty without a disk (NULL).
 * Prints what it found.
 */
void kv_open(const char *disk_path);

/* Powers off when an input device reports the power key. */
void power_watch(Loop *loop);

/*
 * Runs POWEROFF, REBOOT or PANIC: replies, lets the reply leave, then ends the
 * guest. Returns false if @verb is none of them.
 */
bool power_command(Conn *conn, const char *verb);

#endif
