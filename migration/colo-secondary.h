/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO secondary: what its three files share. COLO thread only.
 */
#ifndef MIGRATION_COLO_SECONDARY_H
#define MIGRATION_COLO_SECONDARY_H

#include "colo-session.h"

/* DIRTY frames are gathered up to this before they are written. */
#define COLO_DIRTY_FLUSH_BYTES (256 * 1024)

/*
 * Take STATE, PAGES, DEVICE or END. What cannot be staged or verified turns
 * @ev into COLO_EV_STATE_BAD and leaves the reason as the session's detail.
 */
ColoIo colo_receive_state(const ColoFrame *f, ColoEvent *ev, Error **errp);

typedef enum ColoApplied {
    COLO_APPLIED,
    COLO_APPLY_ROLLED_BACK,    /* as before, errp says why */
    COLO_APPLY_BROKEN,         /* neither old nor new */
} ColoApplied;

/* The transaction. BQL, guest stopped. */
ColoApplied colo_apply(Error **errp);

#endif
