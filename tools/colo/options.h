/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line.
 *
 * One table says which options there are, which commands take them, and what
 * they mean; help texts, the manual page and the shell's completion come from
 * it.
 */
#ifndef COLO_TOOL_OPTIONS_H
#define COLO_TOOL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

typedef enum ColoCommandId {
    COLO_CMD_PROTECT,
    COLO_CMD_STATUS,
    COLO_CMD_UNPROTECT,
    COLO_CMD_FAILOVER,
    COLO_CMD_CHECKPOINT,
    COLO_CMD_SET,
    COLO_CMD_TOP,
    COLO_CMD_AGENT,
    COLO_CMD_XML,
    COLO_CMD_LOGS,
    COLO_CMD_DOCTOR,
    COLO_CMD_REPAIR,
    COLO_CMD_HELP,
    COLO_CMD__MAX
} ColoCommandId;

typedef struct ColoOptions {
    char *domain;           /* NULL: none was given */
    char *from;             /* URI; NULL: libvirt's default */
    char *to;
    char *from_address;
    char *to_address;
    char **disks;
    char **networks;
    char *role;
    char *memory_buffer;
    char *disk_buffer;
    char *speed;
    int port;
    int interval_ms;        /* these are -1 if not given */
    int timeout_s;
    int step_limit_ms;
    int checkpoint_limit_ms;
    int heartbeat_ms;
    int min_gap_ms;
    int mismatch_gap_ms;
    gboolean check;
    gboolean planned;
    gboolean force;
    gboolean watch;
    gboolean once;
    gboolean json;
    gboolean verbose;
    gboolean quiet;
} ColoOptions;

void colo_options_clear(ColoOptions *options);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ColoOptions, colo_options_clear)

/* COLO_CMD__MAX if there is none of that name. */
ColoCommandId colo_options_command(const char *name);
const char *colo_options_name(ColoCommandId id);

/* @argv without the program's and the command's name; is changed. */
bool colo_options_parse(ColoOptions *options, ColoCommandId id, char **argv,
                        GError **error);

/* Caller frees. */
char *colo_options_help(ColoCommandId id);
char *colo_options_overview(void);
char *colo_options_manual(void);        /* roff */
char *colo_options_completion(void);    /* bash */

#endif
