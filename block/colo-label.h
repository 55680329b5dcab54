/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: what a disk is in relation to its last peer's.
 *
 * A session names one protection on both sides. The label says in which one
 * this disk took part last, and what happened to it since. It is kept in a
 * small file beside the image, so that a host that comes back knows; each
 * change is on stable storage before what it speaks of happens. A disk that
 * has no file is labelled in memory only.
 *
 *   state       the disk holds                          left by
 *   NONE        nobody knows                            a session begins
 *   PROTECTED   what the session's cuts say, and what   first write that the
 *               the peer knows of                       peer lacks; takeover
 *   ALONE       writes that the peer does not know of   a session begins
 *   MERGING     a mixture of both sides: no guest may   the merge has ended;
 *               run from it                             a session begins
 */
#ifndef BLOCK_COLO_LABEL_H
#define BLOCK_COLO_LABEL_H

#include "qemu/coroutine.h"

typedef struct ColoLabel ColoLabel;

typedef enum ColoLabelState {
    COLO_LABEL_NONE,
    COLO_LABEL_PROTECTED,
    COLO_LABEL_ALONE,
    COLO_LABEL_MERGING,
    COLO_LABEL__MAX
} ColoLabelState;

/* @path: the file, read if it is there; NULL: memory only. Main thread. */
ColoLabel *colo_label_open(const char *path, Error **errp);
void colo_label_free(ColoLabel *l);
/* There is a file. */
bool colo_label_is_stored(const ColoLabel *l);

/* Any thread. */
ColoLabelState colo_label_state(ColoLabel *l);
/* "SESSION:state", to be freed; NULL for NONE. */
char *colo_label_text(ColoLabel *l);
/* To be freed; NULL for NONE. */
char *colo_label_session(ColoLabel *l);

/*
 * A new label, on stable storage when this returns. If it cannot be written,
 * the old file is taken away, which is true too: nothing is known then. Only
 * a file that can be neither written nor taken away is an error, and the
 * label in memory is the new one all the same. MERGING that cannot be written
 * is an error, and what file there is is spoilt. Main thread.
 */
bool colo_label_set(ColoLabel *l, const char *session, bool is_primary,
                    ColoLabelState state, Error **errp);
/* The next state of the same session. */
bool colo_label_move(ColoLabel *l, ColoLabelState state, Error **errp);

/* Nobody knows: back to NONE, without a file. */
bool colo_label_forget(ColoLabel *l, Error **errp);

/*
 * Before a write that the peer will not have: PROTECTED becomes ALONE. Costs
 * nothing in any other state. 0 or -errno: the write must not be done.
 */
int coroutine_fn colo_label_move_alone_co(ColoLabel *l);

/* Split "SESSION:state"; *@session is to be freed. */
bool colo_label_parse(const char *text, char **session,
                      ColoLabelState *state, Error **errp);

#endif
