/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO primary: what its two files share. COLO thread only.
 */
#ifndef MIGRATION_COLO_PRIMARY_H
#define MIGRATION_COLO_PRIMARY_H

#include "colo-session.h"

/* REPLY is here, the guest still runs: hash what the secondary dirtied. */
void colo_prepare(void);
/*
 * The guest stands still, @recent was dirtied since colo_prepare(): decide
 * what of both sides' dirty pages travels.
 */
void colo_add_dirty(const ColoPageSet *recent);
/* STATE, PAGES, DEVICE and END of the captured checkpoint. */
ColoIo colo_send_state(uint64_t epoch, Error **errp);

#endif
