/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Datagrams: each leaves once, whole, unchanged and in its flow's order, and
 * only if the secondary has said the same bytes in the same epoch or a
 * checkpoint has released it.
 *
 * Safety is judged byte by byte, so that parts of a datagram are covered
 * however either side has cut it. That something must leave is judged by
 * counting: the n-th datagram of the one side against the n-th of the other.
 */
#include "oracle-int.h"

/* Index of the datagram that these bytes at @offset are of; or the count. */
static uint32_t index_of(const OracleFlow *of, uint32_t offset,
                         const uint8_t *bytes, uint32_t size)
{
    uint32_t header = offset ? 0 : of->f->proto == NET_PROTO_SCTP ? 16
        : of->f->ethertype && of->f->ethertype != NET_ETHERTYPE_ARP ? 0 : 8;
    uint32_t index;

    if (size < header + 2) {
        return of->script->count;
    }
    index = net_get16(bytes + header);
    return MIN(index, of->script->count);
}

/* The bytes as they are compared. The caller frees. */
static uint8_t *blanked(const OracleFlow *of, const NetView *v, uint32_t *size)
{
    uint8_t *bytes;

    *size = v->body_bytes;
    if (of->f->ethertype == NET_ETHERTYPE_ARP) {
        *size = MIN(*size, 28);         /* the rest is padding */
    }
    bytes = g_memdup2(v->body, *size);
    if (v->part.offset == 0) {
        stream_blank_csum(of->f, bytes, *size);
    }
    return bytes;
}

/* Where these bytes stand among the symbols; false: nowhere. */
static bool place_of(const OracleFlow *of, const NetView *v,
                     const uint8_t *bytes, uint32_t size, uint32_t *from)
{
    const StreamScript *s = of->script;
    uint32_t index = index_of(of, v->part.offset, bytes, size);
    uint32_t i;

    if (index >= s->count ||
        s->first[index] + v->part.offset + size > s->first[index + 1] ||
        (!v->part.more &&
         s->first[index] + v->part.offset + size != s->first[index + 1])) {
        return false;
    }
    *from = s->first[index] + v->part.offset;
    for (i = 0; i < size; i++) {
        if (bytes[i] != s->symbols[*from + i]) {
            return false;
        }
    }
    return true;
}

static void said_clear(gpointer data)
{
    g_byte_array_unref(((Said *)data)->bytes);
}

static void add_said(OracleFlow *of, unsigned side, GByteArray *bytes,
                     uint64_t serial)
{
    Said said = { bytes, serial };

    if (!of->said[side]) {
        of->said[side] = g_array_new(false, false, sizeof(Said));
        g_array_set_clear_func(of->said[side], said_clear);
    }
    g_array_append_val(of->said[side], said);
}

static void add_part(OracleFlow *of, unsigned side, const NetView *v,
                     const uint8_t *bytes, uint32_t size, uint64_t serial)
{
    if (!of->part[side]) {
        of->part[side] = g_byte_array_new();
    }
    if (v->part.offset != of->part[side]->len) {
        of->out_of_order = true;
    }
    g_byte_array_append(of->part[side], bytes, size);
    if (!v->part.more) {
        add_said(of, side, of->part[side], serial);
        of->part[side] = NULL;
    }
}

void datagram_heard(StreamOracle *o, OracleFlow *of, unsigned side,
                    const NetView *v, const Item *item)
{
    uint32_t size, from = 0, i;
    g_autofree uint8_t *bytes = blanked(of, v, &size);

    if (place_of(of, v, bytes, size, &from)) {
        for (i = 0; i < size; i++) {
            of->marks[from + i] |= side == P ? MARK_P : MARK_S;
        }
    } else if (side == P) {
        oracle_break(o, "test", "a datagram that the primary never says");
    }
    add_part(of, side, v, bytes, size, item ? item->serial : 0);
    if (item) {
        Item own = *item;

        own.from = from;
        own.to = from + size;
        own.part = v->fragment;
        g_array_append_val(of->items, own);
    }
}

static bool covered(const StreamOracle *o, const OracleFlow *of,
                    const Item *item)
{
    uint32_t i;

    if (item->epoch < o->base_epoch || of->f->passes) {
        return true;
    }
    for (i = item->from; i < item->to; i++) {
        if (!(of->marks[i] & MARK_S)) {
            return false;
        }
    }
    return item->epoch == o->cut && !oracle_blocked(o) &&
        o->mode == COLO_COMPARE_MATCH;
}

static Item *next_to_leave(const StreamPlan *plan, OracleFlow *of,
                           const ColoNetFrame *f)
{
    guint i;

    for (i = 0; i < of->items->len; i++) {
        Item *item = &g_array_index(of->items, Item, i);

        if (item->left) {
            continue;
        }
        if (oracle_same_frame(item->copy, f)) {
            return item;
        }
        if (!of->out_of_order && !plan->shuffled_parts) {
            break;
        }
    }
    return NULL;
}

void datagram_left(StreamOracle *o, OracleFlow *of, ColoNetFrame *f)
{
    Item *item = next_to_leave(o->plan, of, f);
    uint32_t i;

    if (!item) {
        oracle_break(o, "once-in-order",
                     "a datagram left again, changed or too early");
        return;
    }
    if (o->mode != COLO_COMPARE_PASS && !covered(o, of, item)) {
        oracle_break(o, "output-commit",
                     "datagram bytes %u..%u were not said by the secondary",
                     item->from, item->to);
    }
    item->left = true;
    for (i = item->from; i < item->to; i++) {
        of->marks[i] |= MARK_LEFT;
    }
    if (!item->part) {
        /* trains leave as one, when the first of them came */
        oracle_note_order(o, of, item);
    }
}

void datagram_cut(OracleFlow *of)
{
    unsigned side;

    for (side = 0; side < SIDES; side++) {
        if (of->said[side]) {
            g_array_set_size(of->said[side], 0);
        }
        g_clear_pointer(&of->part[side], g_byte_array_unref);
    }
    of->out_of_order = false;
    of->same = 0;
}

void datagram_free(OracleFlow *of)
{
    unsigned side;

    datagram_cut(of);
    for (side = 0; side < SIDES; side++) {
        g_clear_pointer(&of->said[side], g_array_unref);
    }
}

static bool all_left(const OracleFlow *of, uint64_t serial)
{
    guint i;

    for (i = 0; i < of->items->len; i++) {
        const Item *item = &g_array_index(of->items, Item, i);

        if (item->serial <= serial && !item->left) {
            return false;
        }
    }
    return true;
}

bool datagram_differs(const OracleFlow *of)
{
    guint i;

    for (i = 0; of->said[P] && of->said[S] && i < of->said[P]->len &&
         i < of->said[S]->len; i++) {
        const Said *a = &g_array_index(of->said[P], Said, i);
        const Said *b = &g_array_index(of->said[S], Said, i);

        if (a->bytes->len != b->bytes->len ||
            memcmp(a->bytes->data, b->bytes->data, a->bytes->len) != 0) {
            return true;
        }
    }
    return of->out_of_order;
}

void datagram_check(StreamOracle *o, OracleFlow *of)
{
    GArray *p = of->said[P], *s = of->said[S];

    if (of->diverged || of->out_of_order || !p || !s) {
        return;
    }
    while (of->same < p->len && of->same < s->len) {
        const Said *a = &g_array_index(p, Said, of->same);
        const Said *b = &g_array_index(s, Said, of->same);

        if (a->bytes->len != b->bytes->len ||
            memcmp(a->bytes->data, b->bytes->data, a->bytes->len) != 0) {
            oracle_expect_mismatch(o, of, "datagrams differ");
            return;
        }
        of->same++;
        if (!all_left(of, a->serial)) {
            oracle_break(o, "liveness", "a datagram that both have said "
                         "is held");
            return;
        }
    }
}
