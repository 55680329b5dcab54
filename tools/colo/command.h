/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commands of `colo`.
 *
 * Each returns false with an error, or true. What it has to say goes to the
 * standard output as text, or with --json into @result as one object.
 */
#ifndef COLO_TOOL_COMMAND_H
#define COLO_TOOL_COMMAND_H

#include "host.h"
#include "options.h"

typedef bool ColoCommandFn(const ColoOptions *options, JsonNode **result,
                           GError **error);

ColoCommandFn colo_protect;
ColoCommandFn colo_status;
ColoCommandFn colo_unprotect;
ColoCommandFn colo_failover;
ColoCommandFn colo_checkpoint;
ColoCommandFn colo_set;
ColoCommandFn colo_top;
ColoCommandFn colo_agent;
ColoCommandFn colo_xml;
ColoCommandFn colo_logs;
ColoCommandFn colo_doctor;
ColoCommandFn colo_repair;

/* How a host is opened: colo_host_open(), or a model in tests. */
extern ColoHost *(*colo_open)(const char *uri, GError **error);

/* A line of the standard output; not with --json or --quiet. */
void colo_say(const ColoOptions *options, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

/*
 * The domain's name or UUID as given, resolved on @host: its UUID. NULL and
 * COLO_EXIT_NO_DOMAIN if there is none. Caller frees.
 */
char *colo_resolve(ColoHost *host, const char *domain, GError **error);

/*
 * Both hosts of a domain that is or was protected: where it was asked, and
 * where its metadata or --to says that its peer is. @peer may stay NULL, with
 * @why_not saying why it cannot be reached.
 */
typedef struct ColoBoth {
    char *uuid;
    ColoHost *here;
    ColoHost *peer;
    ColoPair *pair;         /* as remembered here; NULL: nothing */
    char *peer_uri;         /* NULL: unknown */
    char *why_not;
} ColoBoth;

bool colo_both_open(ColoBoth *both, const ColoOptions *options,
                    GError **error);
void colo_both_clear(ColoBoth *both);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ColoBoth, colo_both_clear)

#endif
