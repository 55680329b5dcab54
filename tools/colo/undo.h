/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a command has to take back when it cannot be finished.
 *
 * Each record says of one thing how it has to be afterwards, not what to do:
 * "no replication node above vda", "the domain is not there". So it is right
 * whether the step it belongs to was done, half done or never begun, and may
 * be carried out twice. Records are kept in a journal before their step is
 * taken; the last one is carried out first.
 */
#ifndef COLO_TOOL_UNDO_H
#define COLO_TOOL_UNDO_H

#include "json.h"

/* Those from COLO_UNDO_NODE on are about what is in a QEMU. */
typedef enum ColoUndoKind {
    COLO_UNDO_PAIR,         /* the metadata is @text, or gone if NULL */
    COLO_UNDO_AUTOSTART,    /* autostart is on */
    COLO_UNDO_VOLUME,       /* no image at @text */
    COLO_UNDO_DOMAIN,       /* the domain does not run */
    COLO_UNDO_NODE,         /* no replication node above disk @text */
    COLO_UNDO_PARTS,        /* nothing of COLO but what a survivor keeps */
    COLO_UNDO_COLO,         /* nothing of COLO */
    COLO_UNDO_PARAMETERS,   /* migration parameters are as in @data */
    COLO_UNDO_PROTECTION,   /* no migration, no lockstep; the guest goes on */
    COLO_UNDO__MAX
} ColoUndoKind;

typedef struct ColoUndo {
    ColoUndoKind kind;
    bool at_peer;           /* on the secondary's host */
    char *text;
    JsonNode *data;
} ColoUndo;

ColoUndo *colo_undo_new(ColoUndoKind kind, bool at_peer, const char *text);
void colo_undo_free(ColoUndo *undo);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ColoUndo, colo_undo_free)

JsonNode *colo_undo_to_json(const ColoUndo *undo);
/* NULL and an error if it is no such record. */
ColoUndo *colo_undo_from_json(JsonNode *node, GError **error);

/* What is done, for people: "Taking disk vda out". Caller frees. */
char *colo_undo_text(const ColoUndo *undo);

/* ------------------------------------------------------------- journal */

/* One interrupted, or not yet finished, command. */
typedef struct ColoJournal {
    char *command;          /* protect, ... */
    char *domain;
    char *uuid;
    char *session;          /* of the pair; NULL: not known */
    char *from;             /* URIs; NULL: libvirt's default */
    char *to;
    char *started;          /* ISO 8601, UTC */
    int64_t pid;
    GPtrArray *undos;       /* ColoUndo, in the order of the steps */
} ColoJournal;

ColoJournal *colo_journal_new(const char *command, const char *domain,
                              const char *uuid, const char *from,
                              const char *to);
void colo_journal_free(ColoJournal *journal);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ColoJournal, colo_journal_free)

/* The first line of its file, with a line end. Caller frees. */
char *colo_journal_head(const ColoJournal *journal);
/* The line for one record. Caller frees. */
char *colo_journal_line(const ColoUndo *undo);

/*
 * Reads a file back. A last line without its end was being written when the
 * machine stopped, and its step not yet taken: it does not count.
 */
ColoJournal *colo_journal_parse(const char *text, GError **error);

#endif
