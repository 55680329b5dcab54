/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: do these two QEMUs fit together?
 *
 * Device state is exchanged in the form of one build of one machine type, at
 * every checkpoint. So the two sides must be the same build with the same
 * machine; anything else is refused before protection begins, naming both.
 * Builds of the same version are told apart by a digest of COLO's sources,
 * which migration/meson.build computes.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/guest-random.h"
#include "qemu-version.h"
#include "hw/boards.h"
#include "migration/colo-build-id.h"
#include "colo-session.h"

#define THIS_BUILD "QEMU " QEMU_FULL_VERSION " colo " COLO_BUILD_ID

static const char *machine_name(void)
{
    return MACHINE_GET_CLASS(current_machine)->name;
}

/* The key stays secret; what names this protection is derived from it. */
static void take_key(const uint8_t *key)
{
    ColoSession *s = &colo_session;
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, key,
                                                       COLO_KEY_BYTES);

    colo_hash_key_init(&s->hash_key, key);
    g_strlcpy(s->id, sum, sizeof(s->id));
}

void colo_hello_fill(ColoHello *hello, bool primary)
{
    ColoSession *s = &colo_session;

    *hello = (ColoHello) {
        .min_version = COLO_WIRE_VERSION,
        .max_version = COLO_WIRE_VERSION,
        .features = primary ? COLO_FEATURES_ALL : s->features,
    };
    g_strlcpy(hello->build, THIS_BUILD, sizeof(hello->build));
    g_strlcpy(hello->machine, machine_name(), sizeof(hello->machine));
    if (primary) {
        qemu_guest_getrandom_nofail(hello->key, sizeof(hello->key));
        take_key(hello->key);
        hello->block_count = colo_ram_block_count(s->ram);
        hello->blocks = colo_ram_table(s->ram);
    }
}

bool colo_hello_check(const ColoHello *hello, Error **errp)
{
    ColoSession *s = &colo_session;
    ColoHello ours;
    uint16_t version;              /* there is but one so far */

    colo_hello_fill(&ours, false);
    ours.features = COLO_FEATURES_ALL;
    if (!colo_wire_negotiate(&ours, hello, &version, &s->features)) {
        error_setg(errp, "the primary speaks versions %u to %u of the COLO "
                   "protocol, the secondary version %u; run the same build "
                   "on both sides", hello->min_version, hello->max_version,
                   COLO_WIRE_VERSION);
        return false;
    }
    if (strcmp(hello->build, ours.build)) {
        error_setg(errp, "the primary is '%s', the secondary '%s'; run the "
                   "same build on both sides", hello->build, ours.build);
        return false;
    }
    if (strcmp(hello->machine, ours.machine)) {
        error_setg(errp, "the primary's machine is '%s', the secondary's "
                   "'%s'; give both the same -machine", hello->machine,
                   ours.machine);
        return false;
    }
    take_key(hello->key);
    if (!colo_ram_adopt(s->ram, hello->blocks, hello->block_count, errp)) {
        return false;
    }
    /* The blocks may stand in another order now. */
    colo_session_size_sets();
    return true;
}
