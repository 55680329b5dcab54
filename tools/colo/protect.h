/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Protecting a domain: what the command knows, and the steps it takes.
 */
#ifndef COLO_TOOL_PROTECT_H
#define COLO_TOOL_PROTECT_H

#include "command.h"
#include "facts.h"
#include "journal-file.h"
#include "progress.h"
#include "undo-run.h"

typedef struct ColoProtect {
    const ColoOptions *options;
    ColoHost *from;
    ColoHost *to;
    ColoScene scene;
    ColoMap *disks;
    ColoMap *networks;
    uint64_t memory_buffer_bytes;
    uint64_t disk_buffer_bytes;
    uint64_t speed_bytes_s;     /* 0: no limit */
    ColoFacts *facts;
    GPtrArray *checks;
    char *from_address;
    char *to_address;
    ColoPair *pair;             /* the primary's */
    ColoDomain *peer;           /* the secondary as it was started */
    ColoJournalFile *journal;   /* NULL: nothing has to be taken back */
    ColoProgress progress;
    int64_t start_ms;
    int64_t end_ms;             /* when --timeout is over */
} ColoProtect;

/* Options, hosts and facts; nothing is changed. */
bool colo_protect_prepare(ColoProtect *p, const ColoOptions *options,
                          GError **error);
void colo_protect_clear(ColoProtect *p);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ColoProtect, colo_protect_clear)

/* The secondary's XML. Caller frees. */
char *colo_protect_peer_xml(ColoProtect *p, GError **error);

/* Writes @undo, which is taken over, before its step is taken. */
bool colo_protect_plan(ColoProtect *p, ColoUndo *undo, GError **error);

/* False with an error when the user wants to end, or the time is over. */
bool colo_protect_may_go_on(ColoProtect *p, GError **error);

/* The steps, in this order. */
bool colo_protect_start_peer(ColoProtect *p, GError **error);
bool colo_protect_connect_disks(ColoProtect *p, GError **error);
bool colo_protect_connect_nics(ColoProtect *p, GError **error);
bool colo_protect_copy_disks(ColoProtect *p, GError **error);
bool colo_protect_copy_memory(ColoProtect *p, GError **error);
bool colo_protect_settle(ColoProtect *p, GError **error);

/* One command each to the primary's and to the secondary's QEMU. */
bool colo_protect_here(ColoProtect *p, JsonNode *command, GError **error);
bool colo_protect_there(ColoProtect *p, JsonNode *command, GError **error);

/* Can a process on the one host connect to a port of the other? */
bool colo_protect_reach(ColoProtect *p, bool from_peer, const char *address,
                        unsigned port, GError **error);

/*
 * Gives @make, which makes a command that listens, ports from the first one
 * on until one is free; that one goes to @port.
 */
typedef JsonNode *ColoListenFn(unsigned nic, const char *address,
                               unsigned port);
bool colo_protect_listen(ColoProtect *p, bool at_peer, ColoListenFn *make,
                         unsigned nic, uint16_t *port, GError **error);
/* The secondary waits for the migration. */
bool colo_protect_incoming(ColoProtect *p, GError **error);

#endif
