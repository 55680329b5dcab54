/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of the command line, for what reads it and what explains it.
 */
#ifndef COLO_TOOL_OPTIONS_TABLE_H
#define COLO_TOOL_OPTIONS_TABLE_H

#include "options.h"

typedef enum ColoDomainNeed {
    COLO_DOMAIN_NONE,
    COLO_DOMAIN_OPTIONAL,
    COLO_DOMAIN_NEEDED,
} ColoDomainNeed;

typedef struct ColoCommandText {
    const char *name;
    ColoDomainNeed domain;
    const char *summary;
} ColoCommandText;

typedef struct ColoOptionText {
    unsigned commands;      /* a bit for each that takes it; 0: the end */
    const char *name;
    char letter;            /* 0: none */
    GOptionArg arg;
    size_t offset;          /* in ColoOptions */
    const char *text;
    const char *value;      /* NULL: takes none */
} ColoOptionText;

extern const ColoCommandText colo_command_table[COLO_CMD__MAX];
extern const ColoOptionText colo_option_table[];

#endif
