/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: what the executors of both sides share: small frames, notices, the
 * lazily held BQL, and the COLO_EXIT event.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-events-colo.h"
#include "qemu/main-loop.h"
#include "colo-session.h"

void colo_need_bql(void)
{
    if (!bql_locked()) {
        bql_lock();
    }
}

void colo_drop_bql(void)
{
    if (bql_locked()) {
        bql_unlock();
    }
}

ColoIo colo_send(ColoMsgType type, uint64_t epoch, uint32_t flags,
                 const GByteArray *payload, Error **errp)
{
    ColoChannel *ch = colo_session.channel;

    colo_drop_bql();
    colo_channel_queue(ch, type, epoch, flags,
                       payload ? payload->data : NULL,
                       payload ? payload->len : 0);
    return colo_channel_flush(ch, errp);
}

ColoIo colo_send_notice(ColoMsgType type, uint64_t epoch, uint32_t cause,
                        Error **errp)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();

    colo_wire_put_notice(payload, cause,
                         colo_session.error_text ?: "");
    return colo_send(type, epoch, 0, payload, errp);
}

ColoIo colo_read_payload(const ColoFrame *frame, GByteArray *to,
                         Error **errp)
{
    g_byte_array_set_size(to, frame->length);
    return colo_channel_read(colo_session.channel, to->data, frame->length,
                             errp);
}

ColoIo colo_frame_check(const ColoFrame *frame, ColoWireError e,
                        Error **errp)
{
    if (e == COLO_WIRE_OK) {
        return COLO_IO_OK;
    }
    error_setg(errp, "malformed %s: %s", colo_msg_name(frame->type),
               colo_wire_strerror(e));
    return COLO_IO_GARBAGE;
}

ColoIo colo_read_notice(const ColoFrame *frame, uint32_t *cause,
                        Error **errp)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    ColoNotice notice;
    ColoIo io = colo_read_payload(frame, payload, errp);

    if (io == COLO_IO_OK) {
        io = colo_frame_check(frame, colo_wire_get_notice(payload->data,
                                                          payload->len,
                                                          &notice), errp);
    }
    if (io != COLO_IO_OK) {
        return io;
    }
    *cause = notice.cause;
    if (notice.text[0]) {
        colo_session_set_detail("%s", notice.text);
    }
    return COLO_IO_OK;
}

void colo_emit_exit(ColoCause cause)
{
    ColoSession *s = &colo_session;
    COLOExitReason reason = cause == COLO_CAUSE_REQUESTED
                            ? COLO_EXIT_REASON_REQUEST
                            : COLO_EXIT_REASON_ERROR;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        s->view.exit_reason = reason;
    }
    colo_waiters_wake(true);
    qapi_event_send_colo_exit(s->role, reason);
}
