/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections to other hosts, for who must not wait for them.
 *
 * One for each URI, shared by all domains that have their peer there. It is
 * opened in a thread of its own, since that may take long, and again some
 * seconds after it failed or was lost.
 */
#ifndef COLO_TOOL_PEERS_H
#define COLO_TOOL_PEERS_H

#include "host.h"

typedef struct ColoPeers ColoPeers;

/* A connection was opened, or could not be. */
typedef void ColoPeersOpened(void *opaque, const char *uri, bool is_open);

ColoPeers *colo_peers_new(ColoPeersOpened *opened, void *opaque);
void colo_peers_free(ColoPeers *peers);

/* From now on that one is kept open; NULL as long as it is not. */
ColoHost *colo_peers_host(ColoPeers *peers, const char *uri);

/* The URI of a connection that was handed out; NULL if it is not one. */
const char *colo_peers_uri(ColoPeers *peers, const ColoHost *host);

/* It was lost. */
void colo_peers_close(ColoPeers *peers, const char *uri);

/* To be called again and again; true while something is being opened. */
bool colo_peers_keep(ColoPeers *peers);

#endif
