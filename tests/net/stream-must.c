/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What must leave, and what must be asked: the oracle's other half.
 *
 * For a flow whose place is certain the oracle knows how far both sides have
 * come, and so what the comparer has no reason to hold. That is not judged
 * where something excuses it: a checkpoint on its way, mode BUFFER, a bound
 * that was reached, frames of the secondary that were lost.
 */
#include "oracle-int.h"

static bool lively(const StreamOracle *o)
{
    return !o->plan->plain && o->mode == COLO_COMPARE_MATCH &&
        !oracle_blocked(o) &&
        !o->excused && !o->mode_changed;
}

bool oracle_lively(const StreamOracle *o)
{
    return lively(o);
}

void oracle_expect_mismatch(StreamOracle *o, OracleFlow *of, const char *what)
{
    of->diverged = true;
    if (!o->mismatch_asked && !o->excused && !of->f->passes) {
        oracle_break(o, "mismatch", "nobody was told: %s", what);
    }
}

bool oracle_may_wait(const OracleFlow *of, const Item *item)
{
    return item->to > item->from && item->from < of->begin &&
        !(of->least && item->to <= of->least);
}

static bool tcp_item_done(const OracleFlow *of, const Item *item)
{
    uint32_t at;

    for (at = item->from; at < item->to; at++) {
        if (!(of->marks[at] & MARK_LEFT)) {
            return false;
        }
    }
    /* nobody cares for acknowledgements behind RST */
    return of->left_rst || of->over || (!item->rst && (!item->has_ack ||
        item->to > item->from ||
        (of->ack_left && of->left_ack >= item->ack)));
}

static void update_items(OracleFlow *of)
{
    guint i;

    for (i = 0; stream_is_tcp(of->f) && i < of->items->len; i++) {
        Item *item = &g_array_index(of->items, Item, i);

        item->left = item->left || tcp_item_done(of, item);
    }
}

static void check_common(StreamOracle *o, OracleFlow *of)
{
    uint32_t before = of->common;
    uint32_t size = of->script->size;

    while (of->common < size && of->marks[of->common] & MARK_P &&
           of->marks[of->common] & MARK_S) {
        of->common++;
    }
    if (of->common != before) {
        of->moved_us = o->now_us;
    }
    if (of->common < size && of->marks[of->common] & MARK_P &&
        of->marks[of->common] & MARK_OTHER) {
        oracle_expect_mismatch(o, of, "streams differ");
    }
    if (of->rst[P] && of->rst[S] && of->rst[P] != of->rst[S]) {
        oracle_expect_mismatch(o, of, "RST at different places");
    }
}

static void check_item(StreamOracle *o, OracleFlow *of, const Item *item)
{
    uint32_t at;

    if (item->left || item->epoch != o->cut || oracle_may_wait(of, item)) {
        return;
    }
    if (item->to > item->from && item->to <= of->common) {
        oracle_break(o, "liveness", "%u..%u is held, both have said %u",
                     item->from, item->to, of->common);
    } else if (item->to == item->from && item->has_ack && !item->rst &&
               of->s_ack_heard && item->ack <= of->s_ack) {
        oracle_break(o, "liveness", "ack %u is held, the secondary's is %u",
                     item->ack, of->s_ack);
    } else if (item->rst && of->rst[S] && of->common + 1 == of->rst[P]) {
        oracle_break(o, "liveness", "RST at %u of both is held", of->common);
    } else if (item->from < of->common && item->to > of->common &&
               of->moved_us + o->plan->limits.split_us <= o->now_us &&
               o->call == CALL_TICK) {
        for (at = item->from; at < of->common; at++) {
            if (!(of->marks[at] & MARK_LEFT)) {
                oracle_break(o, "liveness", "%u of %u..%u is held, both have "
                             "said %u", at, item->from, item->to, of->common);
                return;
            }
        }
    }
}

/* Both agree on min(acks); the client has to hear of it. */
static void check_acks(StreamOracle *o, OracleFlow *of)
{
    uint32_t pure = 0;
    guint i;

    for (i = 0; i < of->items->len; i++) {
        const Item *item = &g_array_index(of->items, Item, i);

        if (item->has_ack && !item->rst && item->epoch == o->cut &&
            (item->to == item->from || (item->left && !of->floor))) {
            pure = MAX(pure, item->ack);
        }
    }
    if (of->s_ack_heard && of->left_ack < MIN(pure, of->s_ack)) {
        oracle_break(o, "liveness", "ack %u has left, both have %u",
                     of->left_ack, MIN(pure, of->s_ack));
    }
}

static void tcp_check(StreamOracle *o, OracleFlow *of)
{
    guint i;

    if (!of->known || of->diverged || of->f->passes || of->over ||
        of->left_rst) {
        return;
    }
    check_common(o, of);
    if (of->diverged) {
        return;
    }
    for (i = 0; i < of->items->len; i++) {
        check_item(o, of, &g_array_index(of->items, Item, i));
    }
    check_acks(o, of);
}

/* --------------------------------------------------------- after each call */

/* An acknowledgement that is half on its way begins anew to wait. */
static int64_t surely_since_us(const StreamOracle *o, const OracleFlow *of,
                               const Item *item)
{
    bool pure = item->has_ack && item->to == item->from && !item->rst;

    return MAX(MAX(item->at_us, o->release_us), pure ? of->ack_moved_us : 0);
}

/* May the comparer know that the client has it, for all it has seen? */
static bool is_known_to_have_left(const StreamOracle *o, const OracleFlow *of,
                                  const Item *item)
{
    return item->left && lively(o) && of->known && !of->diverged &&
        !oracle_may_wait(of, item) && !of->ack_forgotten &&
        (!item->has_ack || item->rst || item->ack <= of->left_ack);
}

/* @surely: not only perhaps, in a flow that the comparer cannot place. */
static bool waits_for_long(const StreamOracle *o, bool surely)
{
    unsigned i;
    guint k;

    for (i = 0; i < o->plan->flows; i++) {
        for (k = 0; k < o->flow[i].items->len; k++) {
            const OracleFlow *of = &o->flow[i];
            const Item *item = &g_array_index(of->items, Item, k);
            bool left = surely ? item->left
                : is_known_to_have_left(o, of, item);

            if (!left && item->epoch == o->cut &&
                (surely ? surely_since_us(o, of, item) : item->at_us) +
                o->plan->limits.hold_us <= o->now_us) {
                return true;
            }
        }
    }
    return false;
}

void oracle_ask(StreamOracle *o, ColoReason reason, ColoVerdict verdict)
{
    if (o->plan->plain) {
        return;                 /* who drives it does not care */
    }

    if (reason == COLO_REASON_MISMATCH) {
        o->mismatch_asked = o->mismatch_new = true;
        o->verdict = verdict;
    } else if (reason == COLO_REASON_QUEUE_FULL) {
        o->excused = true;
        if (!o->plan->tight) {
            oracle_break(o, "no-mismatch", "no bound was reached");
        }
    } else if (reason == COLO_REASON_TIMEOUT) {
        o->timeout_asked = true;
        o->timeout_odd = !waits_for_long(o, false);
    }
}

/* Items that a release or PASS covers: gone, or lost. */
static void settle_items(StreamOracle *o, OracleFlow *of)
{
    uint64_t until = o->mode == COLO_COMPARE_PASS ? UINT64_MAX
        : o->base_epoch;
    guint count = 0;

    while (count < of->items->len) {
        const Item *item = &g_array_index(of->items, Item, count);

        if (item->epoch >= until) {
            break;
        }
        if (!item->left) {
            oracle_break(o, "loss", "%u..%u ack %u never left", item->from,
                         item->to, item->ack);
            return;
        }
        count++;
    }
    if (count) {
        g_array_remove_range(of->items, 0, count);
    }
}

/* A part of a log may have datagrams of one side only. */
static void check_mismatch(StreamOracle *o)
{
    bool differ = o->plan->twist != TWIST_NONE || o->plan->shuffled_parts;
    unsigned i;

    for (i = 0; o->part && i < o->plan->flows; i++) {
        const OracleFlow *of = &o->flow[i];

        differ = differ || (!stream_is_tcp(of->f) && datagram_differs(of));
    }
    differ = differ || (o->odd_syn && o->verdict == COLO_VERDICT_SYN);
    if (o->mismatch_new && !differ) {
        oracle_break(o, "no-mismatch", "%s: equal guests were said to differ",
                     colo_verdict_name(o->verdict));
    }
    o->mismatch_new = false;
}

void oracle_after(StreamOracle *o)
{
    unsigned i;

    for (i = 0; i < o->plan->flows; i++) {
        OracleFlow *of = &o->flow[i];

        update_items(of);
        if (o->call == CALL_RELEASE || o->call == CALL_CUT ||
            o->call == CALL_MODE || o->mode == COLO_COMPARE_PASS) {
            settle_items(o, of);
        }
        if (lively(o)) {
            if (stream_is_tcp(of->f)) {
                tcp_check(o, of);
            } else if (!of->f->passes) {
                datagram_check(o, of);
            }
        }
    }
    check_mismatch(o);
    if (o->timeout_odd && !o->excused) {
        oracle_break(o, "timeout", "asked, and nothing waits for long");
    }
    o->timeout_odd = false;
    if (o->call == CALL_TICK && lively(o) && !o->timeout_asked &&
        !o->mismatch_asked && waits_for_long(o, true)) {
        oracle_break(o, "timeout", "a frame waits for long, nobody was told");
    }
}
