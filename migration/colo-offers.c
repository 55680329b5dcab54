/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: disk writes offered by their hash, as the session carries them.
 *
 * What is offered and answered is the disks' matter (block/colo-offer.c). Here
 * it becomes frames, in the COLO thread: waiting offers and answers are sent
 * before it sleeps again, and a kick wakes it when there are new ones.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/bswap.h"
#include "block/colo.h"
#include "hw/qdev-core.h"
#include "colo-session.h"

/* ---------------------------------------------------- what the disks need */

static void hash(const struct iovec *iov, size_t niov,
                 uint8_t out[COLO_HASH_BYTES])
{
    ColoPieceHash *h = colo_piece_hash_new(&colo_session.hash_key);

    for (size_t i = 0; i < niov; i++) {
        colo_piece_hash_add(h, iov[i].iov_base, iov[i].iov_len);
    }
    colo_piece_hash_free(h, out);
}

static void kick(void)
{
    ColoSession *s = &colo_session;

    QEMU_LOCK_GUARD(&s->lock);
    if (s->active) {
        colo_channel_kick(s->channel);
    }
}

/* The path is what migration knows a device by, so it is the same. */
static uint64_t number(DeviceState *dev)
{
    g_autofree char *path = qdev_get_dev_path(dev);
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    uint8_t digest[32];
    gsize size = sizeof(digest);

    if (!path) {
        return 0;
    }
    g_checksum_update(sum, (const uint8_t *)path, -1);
    g_checksum_get_digest(sum, digest, &size);
    return ldq_be_p(digest) ?: 1;
}

static bool can_offer(void)
{
    return colo_session.features & COLO_FEATURE_OFFER;
}

void colo_offers_start(void)
{
    static const ColoOfferOps ops = {
        .hash = hash,
        .kick = kick,
        .number = number,
    };

    colo_offers_begin(&ops, can_offer());
}

static bool is_agreed(const ColoFrame *f, Error **errp)
{
    if (!can_offer()) {
        error_setg(errp, "%s, which was not agreed upon",
                   colo_msg_name(f->type));
    }
    return can_offer();
}

/* --------------------------------------------------------------- primary */

ColoIo colo_offers_send(Error **errp)
{
    ColoSession *s = &colo_session;
    bool is_any = false;
    ColoOffer offer;

    while (colo_offers_next(&offer)) {
        g_autoptr(GByteArray) payload = g_byte_array_new();

        colo_wire_put_offer(payload, &offer);
        colo_channel_queue(s->channel, COLO_MSG_OFFER, 0, 0,
                           payload->data, payload->len);
        is_any = true;
    }
    return is_any ? colo_channel_flush(s->channel, errp) : COLO_IO_OK;
}

ColoIo colo_offers_take_answer(const ColoFrame *f, const GByteArray *in,
                               Error **errp)
{
    ColoAnswer answer;
    ColoWireError e = colo_wire_get_answer(in->data, in->len, &answer);

    if (!is_agreed(f, errp)) {
        return COLO_IO_GARBAGE;
    }
    if (e == COLO_WIRE_OK) {
        colo_offers_answered(&answer);
    }
    return colo_frame_check(f, e, errp);
}

/* What makes no sense ends the session: the REQUEST is not sent then. */
static bool settle_never(Error *err)
{
    if (err) {
        warn_report_err(err);  /* else it is silent in the middle of it */
    }
    colo_channel_shutdown(colo_session.channel);
    return false;
}

static bool settle_answer(const ColoFrame *f)
{
    g_autoptr(GByteArray) in = g_byte_array_new();
    Error *err = NULL;

    return (colo_read_payload(f, in, &err) == COLO_IO_OK &&
            colo_offers_take_answer(f, in, &err) == COLO_IO_OK) ||
           settle_never(err);
}

/* False: nothing more is to be waited for. */
static bool settle_frame(const ColoFrame *f)
{
    Error *err = NULL;

    switch (f->type) {
    case COLO_MSG_ANSWER:
        return settle_answer(f);
    case COLO_MSG_PING:
    case COLO_MSG_PONG:
        /* The REQUEST that follows is as good as an answer. */
        return true;
    case COLO_MSG_GOODBYE:
        colo_channel_unread(colo_session.channel);
        return false;
    default:
        error_setg(&err, "%s before the REQUEST", colo_msg_name(f->type));
        return settle_never(err);
    }
}

/*
 * Before the REQUEST, for which the BQL is wanted: who has it may be waiting
 * for the guest's writes, and these for their answers, which only this thread
 * can bring. An offer without an answer must not be taken for declined if the
 * session may go on.
 */
static void settle(void)
{
    ColoChannel *ch = colo_session.channel;
    int64_t until_ms = colo_now_ms() + ch->limit_ms;
    bool is_going_on = true;

    while (is_going_on && colo_offers_are_open()) {
        ColoFrame f;
        ColoIo io = colo_channel_next(ch, &f, until_ms, NULL);

        if (io == COLO_IO_SILENT || io == COLO_IO_SLOW) {
            colo_offers_lost(-ETIMEDOUT);
        } else if (io == COLO_IO_KICKED) {
            is_going_on = !colo_session_give_up(NULL);
        } else {
            is_going_on = io == COLO_IO_OK && settle_frame(&f);
        }
    }
    if (!is_going_on) {
        colo_offers_allow(COLO_OFFERS_NEVER);
    }
}

void colo_offers_follow(ColoState state)
{
    if (state == COLO_STATE_PROTECTED && can_offer()) {
        colo_offers_allow(COLO_OFFERS_NOW);
    } else if (state == COLO_STATE_CHECKPOINT) {
        colo_offers_allow(COLO_OFFERS_LATER);
        settle();
    } else {
        colo_offers_allow(COLO_OFFERS_NEVER);
    }
}

/* ------------------------------------------------------------- secondary */

static void queue_answer(const ColoAnswer *answer)
{
    ColoSession *s = &colo_session;
    g_autoptr(GByteArray) payload = g_byte_array_new();

    colo_wire_put_answer(payload, answer);
    colo_channel_queue(s->channel, COLO_MSG_ANSWER, 0, 0,
                       payload->data, payload->len);
}

ColoIo colo_answers_send(Error **errp)
{
    bool is_any = false;
    ColoAnswer answer;

    while (colo_offers_next_answer(&answer)) {
        queue_answer(&answer);
        is_any = true;
    }
    return is_any ? colo_channel_flush(colo_session.channel, errp)
                  : COLO_IO_OK;
}

ColoIo colo_answers_take_offer(const ColoFrame *f, const GByteArray *in,
                               Error **errp)
{
    ColoSession *s = &colo_session;
    ColoAnswer answer;
    ColoOffer offer;
    ColoWireError e = colo_wire_get_offer(in->data, in->len, &offer);
    bool is_now;

    if (!is_agreed(f, errp)) {
        return COLO_IO_GARBAGE;
    }
    if (e != COLO_WIRE_OK || s->secondary.state != COLO_S_RUNNING) {
        return colo_frame_check(f, e, errp);
    }
    colo_need_bql();
    is_now = colo_disks_offered(&offer, &answer);
    colo_drop_bql();
    if (!is_now) {
        return COLO_IO_OK;
    }
    queue_answer(&answer);
    return colo_channel_flush(s->channel, errp);
}

ColoIo colo_answers_end(Error **errp)
{
    colo_need_bql();
    colo_disks_decline();
    colo_drop_bql();
    return colo_answers_send(errp);
}
