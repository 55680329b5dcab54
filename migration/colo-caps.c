/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: which migration capabilities and channels it can live with.
 *
 * The first copy is an ordinary migration, so most capabilities only change
 * how it gets there. Refused is what leaves one of the sides without a
 * complete guest of its own, or the two without a way to talk.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-types-migration.h"
#include "io/channel-file.h"
#include "migration/colo.h"
#include "colo-session.h"

static const struct {
    MigrationCapability cap;
    const char *why;
} conflicts[] = {
    { MIGRATION_CAPABILITY_POSTCOPY_RAM,
      "the secondary needs a complete copy of RAM before it starts" },
    { MIGRATION_CAPABILITY_BACKGROUND_SNAPSHOT,
      "it saves one moment of a running guest and tracks RAM in a way that "
      "excludes dirty logging" },
    { MIGRATION_CAPABILITY_RELEASE_RAM,
      "it frees memory that the primary's guest goes on using" },
    { MIGRATION_CAPABILITY_X_IGNORE_SHARED,
      "two guests would write to the same memory" },
    { MIGRATION_CAPABILITY_MAPPED_RAM,
      "its stream is a file, and COLO is a conversation" },
    { MIGRATION_CAPABILITY_DIRTY_BITMAPS,
      "bitmaps are copied once and would be stale after a failover" },
    { MIGRATION_CAPABILITY_RDMA_PIN_ALL,
      "RDMA channels cannot carry checkpoints" },
};

/* A new capability needs a decision whether it belongs into the list. */
QEMU_BUILD_BUG_ON(MIGRATION_CAPABILITY__MAX != 22);

bool colo_caps_check(const bool *caps, Error **errp)
{
    if (colo_session_is(COLO_MODE_SECONDARY)) {
        error_setg(errp, "capabilities cannot be changed on a COLO "
                   "secondary; end its protection first");
        return false;
    }
    if (!caps[MIGRATION_CAPABILITY_X_COLO]) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(conflicts); i++) {
        if (caps[conflicts[i].cap]) {
            error_setg(errp, "x-colo is not possible together with %s: %s; "
                       "switch one of them off",
                       MigrationCapability_str(conflicts[i].cap),
                       conflicts[i].why);
            return false;
        }
    }
    return true;
}

bool colo_channel_fits(QIOChannel *ioc, Error **errp)
{
    if (object_dynamic_cast(OBJECT(ioc), TYPE_QIO_CHANNEL_FILE) ||
        object_dynamic_cast(OBJECT(ioc), "qio-channel-rdma")) {
        error_setg(errp, "COLO needs a channel that carries bytes both "
                   "ways; use tcp:, unix:, or fd: with a socket");
        return false;
    }
    return true;
}
