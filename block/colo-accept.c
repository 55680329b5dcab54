/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: a write of the peer that need not come, since this side's guest has
 * written the same.
 *
 * The peer offers place and hash. What lies there of the guest's own is hashed,
 * and if it is the same the peer's write is done with that: it takes its turn
 * among the peer's writes, its place is noted, and the guest's data goes to the
 * parent as a late write. The guest sees what it saw before, so there is
 * nothing to undo.
 *
 * The guests run at the same time, one of them is ahead, and it may be the
 * other one. So an offer that does not fit yet waits, for a short time, until
 * the guest has written there. A guest that writes something else in the end
 * costs that time; the primary learns of it and offers less (colo/offer.h).
 *
 * While offers come, the guest's large writes are hashed as they are made: then
 * the data is in the processor's cache, and nobody waits for it.
 *
 * Offers are looked at with the BQL, as stages change, and with the lock, as
 * everything else does.
 */
#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "qemu/range.h"
#include "colo-buffer-int.h"
#include "colo-offer.h"
#include "colo/offer.h"
#include "trace.h"

/* More than a guest has on its way. */
#define WAITING_MAX 256
/* So many writes may one guest be ahead of the other. */
#define HASHES_MAX 256

typedef struct Waiting {
    ColoOffer offer;
    int64_t end_ms;
    bool is_for_room;          /* not for what the guest writes */
    bool is_to_look;           /* something has changed there */
} Waiting;

/* Of what the guest has written; nothing of it has been written over. */
typedef struct OwnHash {
    uint64_t offset;           /* bytes, on the disk */
    uint64_t bytes;
    uint8_t hash[COLO_HASH_BYTES];
} OwnHash;

struct ColoAccept {
    QEMUTimer *timer;
    QEMUBH *bh;

    /* lock */
    GQueue waiting;            /* Waiting*, the oldest first */
    GQueue hashes;             /* OwnHash*, the oldest first */
    unsigned hashes_wanted;    /* writes that are still worth a hash */
};

static int64_t now_ms(void)
{
    return qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
}

/* ---------------------------------------------------------- the own data */

static ColoOwnWrite *own_write_new(uint64_t offset, uint64_t bytes)
{
    ColoOwnWrite *own = g_new0(ColoOwnWrite, 1);

    own->offset = offset;
    own->bytes = bytes;
    own->pieces = g_array_new(false, false, sizeof(ColoPiece));
    qemu_iovec_init(&own->qiov, bytes / COLO_DISK_CHUNK_BYTES + 2);
    return own;
}

void colo_own_write_free(ColoOwnWrite *own)
{
    qemu_iovec_destroy(&own->qiov);
    g_array_unref(own->pieces);
    g_free(own);
}

/* Pieces of memory that one request to the parent may have. */
static int max_iov(ColoBuffer *b)
{
    return MIN(b->parent->bs->bl.max_iov ?: IOV_MAX, IOV_MAX);
}

/*
 * All that the guest has written there. WAIT: not all yet; DECLINE: it does
 * not lie in memory, or in too many pieces. Lock held.
 */
static ColoOffered gather(ColoBuffer *b, ColoOwnWrite *own)
{
    uint64_t at = own->offset;
    uint64_t end = own->offset + own->bytes;

    while (at < end) {
        ColoPiece piece;
        ColoPlace place;

        if (!colo_disk_own_at(b->disk, at, end - at, &piece)) {
            return COLO_OFFERED_WAIT;
        }
        colo_memory_find(b, &piece, &place);
        if (!place.data || own->qiov.niov == max_iov(b)) {
            return COLO_OFFERED_DECLINE;
        }
        g_array_append_val(own->pieces, piece);
        qemu_iovec_add(&own->qiov, place.data, place.size);
        at += place.size;
    }
    return COLO_OFFERED_ACCEPT;
}

/* ---------------------------------------------------------------- hashes */

static OwnHash *find_hash(ColoAccept *a, uint64_t offset, uint64_t bytes)
{
    for (GList *e = a->hashes.head; e; e = e->next) {
        OwnHash *h = e->data;

        if (h->offset == offset && h->bytes == bytes) {
            return h;
        }
    }
    return NULL;
}

/* Lock held. */
static void forget_hashes(ColoAccept *a, uint64_t offset, uint64_t bytes)
{
    GList *next;

    for (GList *e = a->hashes.head; e; e = next) {
        OwnHash *h = e->data;

        next = e->next;
        if (ranges_overlap(h->offset, h->bytes, offset, bytes)) {
            g_queue_delete_link(&a->hashes, e);
            g_free(h);
        }
    }
}

static void keep_hash(ColoAccept *a, const OwnHash *h)
{
    if (g_queue_get_length(&a->hashes) == HASHES_MAX) {
        g_free(g_queue_pop_head(&a->hashes));
    }
    g_queue_push_tail(&a->hashes, g_memdup2(h, sizeof(*h)));
}

void colo_accept_wrote(ColoBuffer *b, uint64_t offset, uint64_t bytes)
{
    ColoAccept *a = b->accept;
    OwnHash h = { offset, bytes };
    ColoOwnWrite *own;
    bool is_there;

    forget_hashes(a, offset, bytes);
    if (a->hashes_wanted == 0 || !colo_offer_fits(bytes)) {
        return;
    }
    a->hashes_wanted--;
    own = own_write_new(offset, bytes);
    is_there = gather(b, own) == COLO_OFFERED_ACCEPT;
    if (is_there) {
        /* The writer's turn keeps the data as it is. */
        qemu_mutex_unlock(&b->lock);
        colo_offer_hash(&own->qiov, h.hash);
        qemu_mutex_lock(&b->lock);
        keep_hash(a, &h);
    }
    colo_own_write_free(own);
}

/* Nobody is at work there, nor too much under way. Lock held. */
static bool is_quiet(ColoBuffer *b, const ColoOffer *o)
{
    return !reqlist_find_conflict(&b->peers, o->offset, o->bytes) &&
           !reqlist_find_conflict(&b->writers, o->offset, o->bytes) &&
           colo_late_has_room(b, o->bytes);
}

/* Has the guest written what is offered? Lock held. */
static ColoOffered compare(ColoBuffer *b, const ColoOffer *o,
                           ColoOwnWrite *own)
{
    const OwnHash *known = find_hash(b->accept, own->offset, own->bytes);
    ColoOffered offered = gather(b, own);
    uint8_t hash[COLO_HASH_BYTES];

    if (offered == COLO_OFFERED_ACCEPT) {
        if (!known) {
            colo_offer_hash(&own->qiov, hash);
        }
        if (memcmp(known ? known->hash : hash, o->hash, sizeof(hash)) != 0) {
            offered = COLO_OFFERED_WAIT;
        }
    }
    return offered;
}

/* ---------------------------------------------------------------- offers */

/* Can this disk accept anything? Lock held. */
static bool may_accept(ColoBuffer *b)
{
    return colo_disk_stage(b->disk) == COLO_DISK_RUNNING && !b->gate_closed &&
           !colo_late_error_locked(b) && !b->options.shared && b->ingress &&
           bdrv_get_aio_context(b->bs) == qemu_get_aio_context();
}

/* Who drains does not expect that anything begins. */
static bool is_drained(ColoBuffer *b)
{
    return b->bs->quiesce_counter > 0 || b->ingress->quiesce_counter > 0;
}

static bool is_aligned(ColoBuffer *b, const ColoOffer *o)
{
    uint32_t unit_bytes = b->parent->bs->bl.request_alignment;

    return QEMU_IS_ALIGNED(o->offset | o->bytes, unit_bytes);
}

/* WAIT: *@is_for_room tells for what. */
static ColoOffered look(ColoBuffer *b, const ColoOffer *o, bool *is_for_room)
{
    ColoOffered offered;
    ColoOwnWrite *own;

    QEMU_LOCK_GUARD(&b->lock);
    if (!may_accept(b) || !is_aligned(b, o)) {
        return COLO_OFFERED_DECLINE;
    }
    *is_for_room = is_drained(b) || !is_quiet(b, o);
    if (*is_for_room) {
        return COLO_OFFERED_WAIT;
    }
    own = own_write_new(o->offset, o->bytes);
    offered = compare(b, o, own);
    if (offered == COLO_OFFERED_ACCEPT) {
        b->accept->hashes_wanted = HASHES_MAX;
        forget_hashes(b->accept, o->offset, o->bytes);
        colo_late_own_locked(b, own);
    } else {
        colo_own_write_free(own);
    }
    return offered;
}

static void set_timer_locked(ColoAccept *a)
{
    const Waiting *oldest = g_queue_peek_head(&a->waiting);

    if (oldest) {
        timer_mod(a->timer, oldest->end_ms);
    } else {
        timer_del(a->timer);
    }
}

static bool put_waiting(ColoBuffer *b, const ColoOffer *offer,
                        bool is_for_room)
{
    ColoAccept *a = b->accept;
    Waiting *w;

    QEMU_LOCK_GUARD(&b->lock);
    if (g_queue_get_length(&a->waiting) == WAITING_MAX) {
        return false;
    }
    w = g_new0(Waiting, 1);
    w->offer = *offer;
    w->end_ms = now_ms() + COLO_OFFER_WAIT_MS;
    w->is_for_room = is_for_room;
    g_queue_push_tail(&a->waiting, w);
    set_timer_locked(a);
    return true;
}

ColoOffered colo_accept_offer(ColoBuffer *b, const ColoOffer *offer)
{
    bool is_for_room;
    ColoOffered offered = look(b, offer, &is_for_room);

    GLOBAL_STATE_CODE();
    if (offered == COLO_OFFERED_WAIT &&
        !put_waiting(b, offer, is_for_room)) {
        offered = COLO_OFFERED_DECLINE;
    }
    trace_colo_disk_offer(b->bs->node_name, offer->id, offer->offset,
                          offer->bytes, offered);
    return offered;
}

static void end_waiting(ColoBuffer *b, Waiting *w, bool is_accepted)
{
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        g_queue_remove(&b->accept->waiting, w);
        set_timer_locked(b->accept);
    }
    trace_colo_disk_offer(b->bs->node_name, w->offer.id, w->offer.offset,
                          w->offer.bytes, is_accepted ? COLO_OFFERED_ACCEPT
                                                      : COLO_OFFERED_DECLINE);
    colo_offer_answer(w->offer.id, is_accepted);
    g_free(w);
}

/* One whose time is over, or where something has changed since; or NULL. */
static Waiting *next_due(ColoBuffer *b)
{
    QEMU_LOCK_GUARD(&b->lock);
    for (GList *e = b->accept->waiting.head; e; e = e->next) {
        Waiting *w = e->data;

        if (w->is_to_look || w->end_ms <= now_ms()) {
            w->is_to_look = false;
            return w;
        }
    }
    return NULL;
}

static void look_again(void *opaque)
{
    ColoBuffer *b = opaque;
    Waiting *w;

    while ((w = next_due(b))) {
        ColoOffered offered = look(b, &w->offer, &w->is_for_room);

        if (offered != COLO_OFFERED_WAIT || w->end_ms <= now_ms()) {
            end_waiting(b, w, offered == COLO_OFFERED_ACCEPT);
        }
    }
}

void colo_accept_notice(ColoBuffer *b, uint64_t offset, uint64_t bytes)
{
    bool is_any = false;

    for (GList *e = b->accept->waiting.head; e; e = e->next) {
        Waiting *w = e->data;

        if (w->is_for_room ||
            ranges_overlap(w->offer.offset, w->offer.bytes, offset, bytes)) {
            w->is_to_look = is_any = true;
        }
    }
    if (is_any) {
        qemu_bh_schedule(b->accept->bh);
    }
}

static Waiting *first_waiting(ColoBuffer *b)
{
    QEMU_LOCK_GUARD(&b->lock);
    return g_queue_peek_head(&b->accept->waiting);
}

void colo_accept_decline(ColoBuffer *b)
{
    Waiting *w;

    GLOBAL_STATE_CODE();
    while ((w = first_waiting(b))) {
        end_waiting(b, w, false);
    }
}

/* ------------------------------------------------------------------ life */

void colo_accept_init(ColoBuffer *b)
{
    b->accept = g_new0(ColoAccept, 1);
    g_queue_init(&b->accept->waiting);
    g_queue_init(&b->accept->hashes);
    b->accept->bh = aio_bh_new(qemu_get_aio_context(), look_again, b);
    b->accept->timer = aio_timer_new(qemu_get_aio_context(),
                                     QEMU_CLOCK_REALTIME, SCALE_MS,
                                     look_again, b);
}

void colo_accept_destroy(ColoBuffer *b)
{
    colo_accept_decline(b);
    g_queue_clear_full(&b->accept->hashes, g_free);
    qemu_bh_delete(b->accept->bh);
    timer_free(b->accept->timer);
    g_free(b->accept);
}
