/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal of a command on disk, and the lock that goes with it.
 *
 * One file for each domain, locked by the command that works on it, so that
 * two commands do not work on one domain from this machine at once. It is
 * deleted when the command has ended properly; one that is found unlocked
 * belongs to a command that was interrupted.
 */
#ifndef COLO_TOOL_JOURNAL_FILE_H
#define COLO_TOOL_JOURNAL_FILE_H

#include "undo.h"

typedef struct ColoJournalFile ColoJournalFile;

/*
 * Begins @journal, which is taken over. Fails with COLO_EXIT_FAILED if a
 * command is at work on the domain, with COLO_EXIT_HALF_DONE if one was
 * interrupted.
 */
ColoJournalFile *colo_journal_file_begin(ColoJournal *journal,
                                         GError **error);

/* The one that was left for the domain, locked; NULL: there is none. */
ColoJournalFile *colo_journal_file_open(const char *uuid, GError **error);

/* UUIDs of domains for which there is a file: char *. */
GPtrArray *colo_journal_file_list(void);

ColoJournal *colo_journal_file_get(ColoJournalFile *file);

/* Takes @undo over. True: it is on stable storage. */
bool colo_journal_file_add(ColoJournalFile *file, ColoUndo *undo,
                           GError **error);

/* The command has ended properly: deletes it. */
void colo_journal_file_finish(ColoJournalFile *file);

/* Leaves the file for `colo repair`. */
void colo_journal_file_free(ColoJournalFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ColoJournalFile, colo_journal_file_free)

#endif
