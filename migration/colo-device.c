/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the state of all devices as one blob.
 *
 * Saving uses the sections that any migration sends. Loading happens over a
 * machine that has run, which many post_load functions are not made for:
 * they map what a fresh device has not mapped yet, or start what is running
 * already (ICH9's root complex is one that ends in an assertion). loadvm has
 * the same problem, and the same cure serves here: every device is reset
 * first, so that each of them is loaded into the state it expects. RAM is
 * not touched by that reset; see colo_is_applying() in hw/core/loader.c.
 */
#include "qemu/osdep.h"
#include <xxhash.h>
#include "qapi/error.h"
#include "io/channel-buffer.h"
#include "system/cpus.h"
#include "system/hw_accel.h"
#include "system/reset.h"
#include "system/runstate.h"
#include "system/tcg.h"
#include "migration/colo.h"
#include "net/colo.h"
#include "qemu-file.h"
#include "savevm.h"
#include "colo-session.h"

enum { DEVICE_BUFFER_BYTES = 256 * 1024 };

static bool applying;

bool colo_is_applying(void)
{
    return applying;
}

bool colo_keeps_code_coherent(void)
{
    return applying;
}

void colo_apply_begin(void)
{
    applying = true;
}

void colo_apply_end(void)
{
    applying = false;
}

bool colo_device_save(GByteArray *out, Error **errp)
{
    QIOChannelBuffer *buffer = qio_channel_buffer_new(DEVICE_BUFFER_BYTES);
    QEMUFile *f = qemu_file_new_output(QIO_CHANNEL(buffer));
    int ret = qemu_save_device_state(f);

    if (ret >= 0) {
        ret = qemu_fflush(f);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "device state cannot be saved");
    } else if (buffer->usage > COLO_DEVICE_MAX_BYTES) {
        error_setg(errp, "device state of %zu bytes is larger than the "
                   "%d bytes a checkpoint can carry", buffer->usage,
                   COLO_DEVICE_MAX_BYTES);
        ret = -EFBIG;
    } else {
        g_byte_array_set_size(out, 0);
        g_byte_array_append(out, buffer->data, buffer->usage);
    }
    /* qemu_fclose() drops the data; the reference keeps the object. */
    qemu_fclose(f);
    object_unref(OBJECT(buffer));
    return ret >= 0;
}

bool colo_device_load(const GByteArray *blob, Error **errp)
{
    QIOChannelBuffer *buffer = qio_channel_buffer_new(blob->len);
    QEMUFile *f;
    int ret;

    memcpy(buffer->data, blob->data, blob->len);
    buffer->usage = blob->len;
    f = qemu_file_new_input(QIO_CHANNEL(buffer));
    colo_net_before_load();
    cpu_synchronize_all_pre_loadvm();
    ret = qemu_load_device_state(f);
    qemu_fclose(f);
    object_unref(OBJECT(buffer));
    if (ret < 0) {
        error_setg_errno(errp, -ret, "device state cannot be loaded");
    }
    return ret >= 0;
}

char *colo_device_digest(Error **errp)
{
    g_autoptr(GByteArray) blob = g_byte_array_new();
    XXH128_hash_t h;

    if (!colo_device_save(blob, errp)) {
        return NULL;
    }
    h = XXH3_128bits(blob->data, blob->len);
    return g_strdup_printf("%016" PRIx64 "%016" PRIx64,
                           (uint64_t)h.high64, (uint64_t)h.low64);
}
