/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Says for every call of the comparer what may leave, and what must.
 *
 * Properties, by the names under which they are reported:
 *   output-commit  what left is covered by what the secondary has said in
 *                  the same epoch, or by a release: bytes, SYN, FIN, RST and
 *                  acknowledgement numbers
 *   quiet-cut      nothing leaves between a cut and its release
 *   once-in-order  datagrams leave once; a release keeps the order of arrival
 *   client-stream  every byte is the guest's, at its place
 *   well-formed    checksums, lengths, offload fields
 *   loss           what a release covers has left
 *   liveness       what both sides have said has left; halves after split_us
 *   no-mismatch    equal guests are never said to differ
 *   mismatch       guests that differ are said to
 *   timeout        asked only where a frame waits for long; asked there
 *   clock          a tick that was due is not due again
 *
 * The cover is kept per symbol: position arithmetic is that of the plan, not
 * of sequence numbers, so that wrap-around is only on the comparer's side.
 */
#include "oracle-int.h"

void oracle_break(StreamOracle *o, const char *property, const char *fmt, ...)
{
    va_list ap;

    if (o->broken) {
        return;
    }
    o->broken = property;
    va_start(ap, fmt);
    g_vsnprintf(o->detail, sizeof(o->detail), fmt, ap);
    va_end(ap);
}

void oracle_fail(StreamOracle *o, const char *property, const char *detail)
{
    oracle_break(o, property, "%s", detail);
}

const char *oracle_broken(const StreamOracle *o)
{
    return o->broken;
}

const char *oracle_detail(const StreamOracle *o)
{
    return o->detail;
}

static void item_clear(gpointer data)
{
    colo_net_frame_free(((Item *)data)->copy);
}

static void call_clear(gpointer data)
{
    colo_net_frame_free(((Call *)data)->frame);
}

StreamOracle *oracle_new(const StreamPlan *plan, bool part)
{
    StreamOracle *o = g_new0(StreamOracle, 1);
    unsigned i;

    o->plan = plan;
    o->fresh[0] = o->fresh[1] = o->fresh[2] = true;
    o->part = part;
    o->inbox = g_array_new(false, false, sizeof(Call));
    g_array_set_clear_func(o->inbox, call_clear);
    for (i = 0; i < plan->flows; i++) {
        OracleFlow *of = &o->flow[i];

        of->f = &plan->flow[i];
        of->script = &of->f->script[P];
        of->marks = g_malloc0(of->script->size + 1);
        of->items = g_array_new(false, false, sizeof(Item));
        g_array_set_clear_func(of->items, item_clear);
        of->settled = g_array_new(false, false, sizeof(Settled));
        of->base = of->end = of->client_has = of->floor = of->f->start;
        memset(of->marks, MARK_P | MARK_LEFT, of->f->start);
    }
    return o;
}

void oracle_free(StreamOracle *o)
{
    unsigned i;

    for (i = 0; i < o->plan->flows; i++) {
        datagram_free(&o->flow[i]);
        g_free(o->flow[i].marks);
        g_array_unref(o->flow[i].items);
        g_array_unref(o->flow[i].settled);
    }
    g_array_unref(o->inbox);
    g_free(o);
}

bool oracle_blocked(const StreamOracle *o)
{
    return o->mode != COLO_COMPARE_PASS && o->released < o->cut;
}

bool oracle_same_frame(const ColoNetFrame *a, const ColoNetFrame *b)
{
    return a->size == b->size && a->vnet_bytes == b->vnet_bytes &&
        memcmp(a->data, b->data, a->vnet_bytes + a->size) == 0;
}

void oracle_note_order(StreamOracle *o, const OracleFlow *of,
                       const Item *item)
{
    if (of->f->passes || (item->has_ack && item->from == item->to)) {
        return;     /* of pure acknowledgements the newest goes first */
    }
    if (o->call != CALL_RELEASE && o->call != CALL_CUT &&
        o->call != CALL_MODE) {
        return;
    }
    if (item->serial < o->release_serial &&
        item->serial < o->cut_serial) {
        oracle_break(o, "once-in-order", "frame %" PRIu64 " left behind %"
                     PRIu64, item->serial, o->release_serial);
    }
    o->release_serial = MAX(o->release_serial, item->serial);
}

/* ----------------------------------------------------------- what is heard */

/* Symbols of a segment: [from, to). SYN is symbol 0, FIN one behind data. */
static void segment_range(const OracleFlow *of, const NetView *v,
                          uint32_t *from, uint32_t *to)
{
    *from = v->flags & NET_SYN ? 0 : v->seq - of->f->isn[P];
    *to = *from + (v->flags & NET_SYN ? 1 : 0) + v->data_bytes +
        (v->flags & NET_FIN ? 1 : 0);
}

static uint16_t segment_symbol(const NetView *v, uint32_t from, uint32_t to,
                               uint32_t at)
{
    if (v->flags & NET_SYN && at == from) {
        return SYMBOL_SYN;
    }
    if (v->flags & NET_FIN && at + 1 == to) {
        return SYMBOL_FIN;
    }
    return v->data[at - from - (v->flags & NET_SYN ? 1 : 0)];
}

/* The comparer knows no more of this flow than comes from now on. */
static void forget_flow(OracleFlow *of)
{
    of->ack_forgotten = true;
    of->known = of->misplaced = of->seen[P] = of->seen[S] = false;
    of->p_ack_heard = of->s_ack_heard = false;
    of->floor = of->end;
    of->shown = of->least = of->begin = 0;
}

/* The same, or not: leave it open. */
static void maybe_forget_flow(OracleFlow *of)
{
    forget_flow(of);
    of->seen[P] = of->seen[S] = true;
}

/*
 * All that have used these ports one after the other are one to the comparer,
 * which notes in large steps when a flow was used.
 */
static void look_at_use(StreamOracle *o, OracleFlow *of)
{
    int64_t idle_us = MIN(o->plan->limits.flow_idle_us,
                          o->plan->limits.closed_idle_us);
    OracleFlow *root = of;
    int next;

    while (root->f->predecessor >= 0) {
        root = &o->flow[root->f->predecessor];
    }
    if (root->used_us && o->now_us - root->used_us >= idle_us) {
        maybe_forget_flow(root);
        for (next = root->f->successor; next >= 0;
             next = o->flow[next].f->successor) {
            maybe_forget_flow(&o->flow[next]);
        }
    }
    if (!root->used_us || o->now_us - root->used_us >= USE_STEP_US) {
        root->used_us = o->now_us;
    }
}

/*
 * When is a place of the stream certain? With the SYN, or with the first data
 * of the primary, if it goes on where it was when the comparer knew nothing.
 * If it repeats something old, or overtakes, that is open until the next cut.
 */
static void learn_common(StreamOracle *o, OracleFlow *of, unsigned side,
                         const NetView *v, uint32_t from, uint32_t to)
{
    look_at_use(o, of);
    if (v->flags & NET_SYN && of->floor) {
        of->known = false;                  /* in a handshake: leave it open */
        of->seen[P] = of->seen[S] = true;
        /* the other side may be with the ports' next connection already */
        o->odd_syn = o->odd_syn || side == P;
    }
    if (of->known || v->flags & NET_RST) {
        return;
    }
    of->moved_us = o->now_us;
    if (side == P && v->flags & NET_SYN && of->end == 0) {
        of->known = true;
        of->common = 0;
    } else if (side == P && !of->seen[P] && to > MAX(from, of->least)) {
        of->seen[P] = true;
        of->common = MAX(of->least, from);
        of->begin = from > of->least || !of->least ? from : 0;
        of->known = of->floor && of->common == of->floor;
        of->misplaced = of->common < of->floor;
    }
}

static void tcp_heard_primary(StreamOracle *o, OracleFlow *of,
                              const NetView *v, Item *item)
{
    uint32_t at;

    segment_range(of, v, &item->from, &item->to);
    if (v->flags & NET_SYN && of->f->predecessor >= 0) {
        o->flow[of->f->predecessor].over = true;
    }
    learn_common(o, of, P, v, item->from, item->to);
    for (at = item->from; at < item->to; at++) {
        of->marks[at] |= MARK_P;
    }
    of->end = MAX(of->end, item->to);
    of->shown = MAX(of->shown, item->to);
    item->has_ack = v->flags & NET_ACK;
    item->ack = v->ack - of->f->client_isn;
    item->rst = v->flags & NET_RST;
    if (item->has_ack) {
        of->p_ack = MAX(of->p_ack, item->ack);
        of->p_ack_heard = true;
    }
    if (item->rst) {
        of->rst[P] = item->from + 1;
    }
    g_array_append_val(of->items, *item);
}

static void tcp_heard_secondary(StreamOracle *o, OracleFlow *of,
                                const NetView *v)
{
    const uint8_t *mss = net_tcp_option(v, 2, 4);
    uint32_t from, to, at;

    segment_range(of, v, &from, &to);
    learn_common(o, of, S, v, from, to);
    for (at = from; at < to && at < of->script->size; at++) {
        bool same = segment_symbol(v, from, to, at) == of->script->symbols[at];

        if (mss && net_get16(mss) != of->script->syn_mss) {
            same = false;
        }
        of->marks[at] |= same ? MARK_S : MARK_OTHER;
    }
    if (v->flags & NET_ACK) {
        of->s_ack = MAX(of->s_ack, v->ack - of->f->client_isn);
        of->s_ack_heard = true;
    }
    if (v->flags & NET_RST) {
        of->rst[S] = from + 1;
    }
}

static OracleFlow *find(StreamOracle *o, ColoNetFrame *f, NetView *v)
{
    const char *bad = net_read(f, v);
    const StreamFlow *flow;

    if (bad) {
        oracle_break(o, "well-formed", "%s", bad);
        return NULL;
    }
    flow = stream_find(o->plan, v);
    if (!flow) {
        oracle_break(o, "well-formed", "a frame of no flow, seq %u", v->seq);
        return NULL;
    }
    return &o->flow[flow - o->plan->flow];
}

static void heard_primary(StreamOracle *o, const Call *call)
{
    NetView v;
    OracleFlow *of = find(o, call->frame, &v);
    Item item = { .at_us = call->now_us, .serial = o->serial++,
                  .epoch = o->cut };

    if (!of) {
        return;
    }
    item.copy = colo_net_frame_copy(call->frame->data, call->frame->size +
                                    call->frame->vnet_bytes,
                                    call->frame->vnet_bytes);
    if (stream_is_tcp(of->f)) {
        tcp_heard_primary(o, of, &v, &item);
    } else {
        datagram_heard(o, of, P, &v, &item);
    }
}

static void hear_secondary(StreamOracle *o, ColoNetFrame *f)
{
    NetView v;
    OracleFlow *of = find(o, f, &v);

    if (of && stream_is_tcp(of->f)) {
        tcp_heard_secondary(o, of, &v);
    } else if (of) {
        datagram_heard(o, of, S, &v, NULL);
    }
}

static void heard_secondary(StreamOracle *o, const Call *call)
{
    Call later = *call;

    if (o->mode == COLO_COMPARE_PASS || o->s_epoch < o->cut) {
        return;
    }
    if (o->s_epoch == o->cut && !oracle_blocked(o)) {
        hear_secondary(o, call->frame);
        return;
    }
    later.value = o->s_epoch;
    later.frame = colo_net_frame_copy(call->frame->data, call->frame->size +
                                      call->frame->vnet_bytes,
                                      call->frame->vnet_bytes);
    g_array_append_val(o->inbox, later);
}

/* --------------------------------------------------- cut, release and mode */

static void cut_flow(StreamOracle *o, OracleFlow *of, uint64_t epoch)
{
    Settled settled = { epoch, of->end, of->p_ack, of->rst[P] };
    uint32_t i;

    g_array_append_val(of->settled, settled);
    for (i = 0; i < of->script->size; i++) {
        of->marks[i] &= ~(MARK_S | MARK_OTHER);
    }
    of->common = of->end;
    of->least = of->shown;
    of->begin = 0;
    of->moved_us = o->now_us;
    /* a place that was too low is kept until the primary has shown more */
    of->known = of->known || (of->misplaced && of->shown == of->end);
    of->misplaced = of->misplaced && !of->known;
    of->seen[P] = of->seen[S] = of->misplaced;
    of->s_ack = of->p_ack;
    of->s_ack_heard = of->p_ack_heard;
    of->rst[S] = 0;
    of->diverged = false;
    datagram_cut(of);
}

static void new_epoch(StreamOracle *o)
{
    o->excused = o->gap && o->gap_epoch == o->cut;
    o->mode_changed = o->odd_syn = false;
    o->mismatch_asked = o->timeout_asked = false;
    o->cut_serial = o->serial;
}

static void drop_inbox_before(StreamOracle *o, uint64_t epoch)
{
    while (o->inbox->len &&
           g_array_index(o->inbox, Call, 0).value < epoch) {
        g_array_remove_index(o->inbox, 0);
    }
}

static void open_inbox(StreamOracle *o)
{
    while (o->inbox->len && !oracle_blocked(o) &&
           g_array_index(o->inbox, Call, 0).value <= o->cut) {
        hear_secondary(o, g_array_index(o->inbox, Call, 0).frame);
        g_array_remove_index(o->inbox, 0);
    }
}

static void release_flow(StreamOracle *o, OracleFlow *of, uint64_t epoch)
{
    while (of->settled->len &&
           g_array_index(of->settled, Settled, 0).epoch <= epoch) {
        const Settled *s = &g_array_index(of->settled, Settled, 0);

        of->base = MAX(of->base, s->end);
        of->base_ack = MAX(of->base_ack, s->ack);
        of->base_rst |= s->rst;
        o->base_epoch = s->epoch;
        g_array_remove_index(of->settled, 0);
    }
    of->moved_us = o->now_us;
}

/* A release may be known before its cut is: the cut is in a socket. */
static void settle(StreamOracle *o)
{
    unsigned i;

    o->release_serial = 0;
    o->release_us = o->now_us;
    for (i = 0; i < o->plan->flows; i++) {
        release_flow(o, &o->flow[i], o->released);
    }
    open_inbox(o);
}

/* Numbers rise, but the first that a pair tells may be any. */
static bool is_news(StreamOracle *o, bool *fresh, uint64_t now, uint64_t told)
{
    bool first = *fresh;

    *fresh = first && o->mode == COLO_COMPARE_PASS;
    return first ? told != now : told > now;
}

static void call_cut(StreamOracle *o, uint64_t epoch)
{
    unsigned i;

    if (!is_news(o, &o->fresh[0], o->cut, epoch)) {
        return;
    }
    if (o->mode == COLO_COMPARE_PASS) {
        o->cut = epoch;         /* of nothing */
        return;
    }
    for (i = 0; i < o->plan->flows; i++) {
        cut_flow(o, &o->flow[i], epoch);
        if (o->table_full) {
            forget_flow(&o->flow[i]);
        }
    }
    o->table_full = false;
    o->cut = epoch;
    drop_inbox_before(o, epoch);
    new_epoch(o);
    settle(o);
}

static void call_release(StreamOracle *o, uint64_t epoch)
{
    if (epoch == UINT64_MAX) {
        epoch = o->cut;         /* whatever was cut */
    }
    if (is_news(o, &o->fresh[1], o->released, epoch)) {
        o->released = epoch;
        settle(o);
    }
}

static void call_mode(StreamOracle *o, ColoCompareMode mode)
{
    unsigned i;

    if (mode == o->mode) {
        return;
    }
    o->release_serial = 0;
    if (o->mode == COLO_COMPARE_PASS) {
        new_epoch(o);
        for (i = 0; i < o->plan->flows; i++) {
            OracleFlow *of = &o->flow[i];

            cut_flow(o, of, o->cut);
            g_array_set_size(of->settled, 0);
            of->base = of->end;
            of->base_ack = of->p_ack;
            of->base_rst |= of->rst[P] != 0;
            of->used_us = 0;
            forget_flow(of);
        }
    } else if (mode == COLO_COMPARE_PASS) {
        /* the next pair counts from the start */
        o->cut_serial = o->serial;
        o->cut = o->released = o->s_epoch = o->base_epoch = 0;
        o->fresh[0] = o->fresh[1] = o->fresh[2] = true;
        o->gap = false;
        g_array_set_size(o->inbox, 0);
        for (i = 0; i < o->plan->flows; i++) {
            g_array_set_size(o->flow[i].settled, 0);
        }
    } else {
        o->mode_changed = true;
    }
    o->mode = mode;
}

void oracle_table_full(StreamOracle *o)
{
    unsigned i;

    o->table_full = true;
    for (i = 0; o->call == CALL_CUT && i < o->plan->flows; i++) {
        maybe_forget_flow(&o->flow[i]);     /* before it, or behind it */
    }
}

void oracle_before(StreamOracle *o, const Call *call)
{
    o->now_us = call->now_us;
    o->call = call->type;
    switch (call->type) {
    case CALL_PRIMARY:
        heard_primary(o, call);
        break;
    case CALL_SECONDARY:
        heard_secondary(o, call);
        break;
    case CALL_CUT:
        call_cut(o, call->value);
        break;
    case CALL_RELEASE:
        call_release(o, call->value);
        break;
    case CALL_EPOCH:
        if (is_news(o, &o->fresh[2], o->s_epoch, call->value)) {
            o->s_epoch = call->value;
        }
        break;
    case CALL_GAP:
        o->gap = true;
        o->gap_epoch = o->s_epoch;
        o->excused = o->excused || o->s_epoch == o->cut;
        break;
    case CALL_MODE:
        call_mode(o, call->value);
        break;
    case CALL_TICK:
        break;
    }
}

/* ----------------------------------------------------------- what has left */

static bool may_leave(const StreamOracle *o, const OracleFlow *of, uint32_t at)
{
    return at < of->base ||
        (o->mode == COLO_COMPARE_MATCH && of->marks[at] & MARK_S);
}

static void check_symbol(StreamOracle *o, OracleFlow *of, const NetView *v,
                         uint32_t from, uint32_t to, uint32_t at)
{
    uint16_t symbol = segment_symbol(v, from, to, at);
    bool free_way = o->mode == COLO_COMPARE_PASS || of->f->passes;

    if (at >= of->script->size || symbol != of->script->symbols[at] ||
        !(of->marks[at] & MARK_P)) {
        oracle_break(o, "client-stream", "symbol %u at %u is not the guest's",
                     symbol, at);
        return;
    }
    if (!free_way && !may_leave(o, of, at)) {
        oracle_break(o, "output-commit", "symbol %u at %u left, of %u..%u: "
                     "released are %u, both have said %u", symbol, at, from,
                     to, of->base, of->common);
    }
    of->marks[at] |= MARK_LEFT;
}

static void check_ack(StreamOracle *o, OracleFlow *of, const NetView *v)
{
    uint32_t ack = v->ack - of->f->client_isn;

    if (!(v->flags & NET_ACK)) {
        return;
    }
    if (ack > of->p_ack) {
        oracle_break(o, "client-stream", "ack %u, the guest's is %u", ack,
                     of->p_ack);
        return;
    }
    if (ack > of->base_ack && ack > of->s_ack && !of->f->passes &&
        o->mode != COLO_COMPARE_PASS) {
        oracle_break(o, "output-commit", "ack %u left, the secondary's is %u",
                     ack, of->s_ack);
    }
    if (!of->ack_left || of->ack_forgotten || ack > of->left_ack) {
        of->ack_forgotten = of->ack_forgotten && ack < of->left_ack;
        of->left_ack = MAX(of->left_ack, ack);
        of->ack_left = true;
        of->ack_moved_us = o->now_us;
    }
}

static void check_rst(StreamOracle *o, OracleFlow *of, uint32_t from)
{
    if (of->rst[P] != from + 1) {
        oracle_break(o, "client-stream", "RST at %u is not the guest's", from);
    }
    if (o->mode != COLO_COMPARE_PASS && !of->f->passes && !of->base_rst &&
        of->rst[S] != from + 1) {
        oracle_break(o, "output-commit", "RST left, the secondary has %s",
                     of->rst[S] ? "another" : "none");
    }
    of->left_rst = true;
}

static Item *same_item(OracleFlow *of, const ColoNetFrame *f)
{
    guint i;

    for (i = 0; i < of->items->len; i++) {
        Item *item = &g_array_index(of->items, Item, i);

        if (!item->left && oracle_same_frame(item->copy, f)) {
            return item;
        }
    }
    return NULL;
}

static void tcp_left(StreamOracle *o, OracleFlow *of, ColoNetFrame *f,
                     const NetView *v)
{
    const Item *item = same_item(of, f);
    uint32_t from, to, at;

    segment_range(of, v, &from, &to);
    if (v->flags & NET_SYN && v->seq != of->f->isn[P]) {
        oracle_break(o, "client-stream", "a SYN of the secondary");
    }
    for (at = from; at < to; at++) {
        check_symbol(o, of, v, from, to, at);
    }
    check_ack(o, of, v);
    if (v->flags & NET_RST) {
        check_rst(o, of, from);
    }
    while (of->client_has < of->script->size &&
           of->marks[of->client_has] & MARK_LEFT) {
        of->client_has++;
    }
    if (item) {
        oracle_note_order(o, of, item);
    }
}

void oracle_output(StreamOracle *o, ColoNetFrame *f)
{
    NetView v;
    OracleFlow *of = find(o, f, &v);

    if (!of) {
        return;
    }
    if (oracle_blocked(o) && !of->f->passes && o->call != CALL_RELEASE) {
        oracle_break(o, "quiet-cut", "a frame left while the checkpoint is "
                     "on its way");
    }
    if (stream_is_tcp(of->f)) {
        tcp_left(o, of, f, &v);
    } else {
        datagram_left(o, of, f);
    }
}

/* -------------------------------------------------------------- the client */

uint32_t oracle_client_has(const StreamOracle *o, unsigned flow)
{
    return o->flow[flow].client_has;
}

uint32_t oracle_client_acked(const StreamOracle *o, unsigned flow)
{
    return o->flow[flow].left_ack;
}

bool oracle_client_reset(const StreamOracle *o, unsigned flow)
{
    return o->flow[flow].left_rst;
}

bool oracle_nothing_held(const StreamOracle *o, unsigned flow)
{
    const OracleFlow *of = &o->flow[flow];
    guint i;

    for (i = 0; i < of->items->len; i++) {
        const Item *item = &g_array_index(of->items, Item, i);

        /* where the comparer has no place repetitions may wait, too */
        if (!item->left ||
            (item->epoch == o->cut &&
             (!of->known || oracle_may_wait(of, item)))) {
            return false;
        }
    }
    return true;
}

uint64_t oracle_epoch(const StreamOracle *o, unsigned side)
{
    return side == P ? o->cut : o->s_epoch;
}

uint64_t oracle_released(const StreamOracle *o)
{
    return MIN(o->released, o->cut);
}

bool oracle_known(const StreamOracle *o, unsigned flow)
{
    return o->flow[flow].known;
}
