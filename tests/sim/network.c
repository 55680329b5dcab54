/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO simulator: the client, held output, comparison, mirrored requests.
 *
 * The client pipelines numbered requests, repeats what is not answered, and
 * notes every answer. It talks to the one service address: the primary while
 * it lives, the secondary after it took over.
 *
 * Output of the primary is held with the epoch (last cut) in which it was
 * produced. The secondary's answer of the same epoch and content lets it go,
 * in order; a different one asks for a checkpoint, and so do an answer that
 * does not come and a full queue. At the bound the guest is not served more.
 *
 * In hybrid mode answers are compared all the same, but leave at checkpoints
 * only.
 *
 * A request that the primary's guest takes is mirrored; a cut puts a marker
 * behind the mirrored requests.
 */
#include "sim.h"

enum {
    WINDOW = 3,
    LAST_ID = SIM_REQUESTS - 1,
    SETTLE_RESERVE = 6,         /* ids kept for the time after the faults */
    RETRY_MS = 25,
    TWIN_LIMIT_MS = 15,         /* wait for the secondary's answer */
};

/* ------------------------------------------------------------- the client */

static bool may_send_new(const SimWorld *w)
{
    unsigned last = w->settling ? LAST_ID : LAST_ID - SETTLE_RESERVE;

    if (w->quiet && !w->settling) {
        return false;
    }
    return w->sent_id < last && w->sent_id - w->acked_id < WINDOW;
}

bool sim_client_ready(const SimWorld *w)
{
    return w->request_id == 0 &&
           (may_send_new(w) ||
            (w->acked_id < w->sent_id && w->now_ms >= w->retry_ms));
}

void sim_client_move(SimWorld *w)
{
    if (may_send_new(w)) {
        w->request_id = ++w->sent_id;
    } else {
        w->request_id = w->acked_id + 1;
    }
    w->retry_ms = w->now_ms + RETRY_MS;
}

static void client_sees(SimWorld *w, unsigned id, uint64_t content)
{
    sim_check_reply(w, id, content);
    w->seen_flag[id] = true;
    w->seen[id] = content;
    while (w->acked_id < w->sent_id && w->seen_flag[w->acked_id + 1]) {
        w->acked_id++;
    }
    w->coverage->served++;
}

/* -------------------------------------------------------------- held output */

static void want(SimWorld *w, ColoReason reason)
{
    if (w->p.want == COLO_REASON_NONE) {
        w->p.want = reason;
    }
}

static void release_head(SimWorld *w)
{
    SimPrimarySide *p = &w->p;
    SimHeld h = p->held[0];

    p->held_count--;
    for (unsigned i = 0; i < p->held_count; i++) {
        p->held[i] = p->held[i + 1];
    }
    sim_trace(w, "client gets answer %u (serial %" PRIu64 ")", h.id,
              h.serial);
    sim_check_release(w, &h);
    p->released_serial = h.serial;
    client_sees(w, h.id, h.content);
}

static void release_matched(SimWorld *w)
{
    while (w->p.held_count && w->p.held[0].matched && !w->p.buffering &&
           !w->broken) {
        w->coverage->released_compared++;
        release_head(w);
    }
}

void sim_release_before(SimWorld *w, uint64_t epoch)
{
    while (w->p.held_count && w->p.held[0].epoch < epoch && !w->broken) {
        w->coverage->released_committed++;
        release_head(w);
    }
    release_matched(w);
}

void sim_release_all(SimWorld *w)
{
    w->p.released_all = true;
    while (w->p.held_count && !w->broken) {
        release_head(w);
    }
}

/* ---------------------------------------------------------------- compare */

static void judge(SimWorld *w, SimHeld *h, uint64_t twin_content)
{
    if (h->content == twin_content) {
        h->matched = true;
    } else {
        sim_trace(w, "answer %u differs", h->id);
        want(w, COLO_REASON_MISMATCH);
    }
}

/* The secondary's answer has come; keep it if ours is still to come. */
static void compare_twin(SimWorld *w, const SimItem *item)
{
    SimPrimarySide *p = &w->p;

    for (unsigned i = 0; i < p->held_count; i++) {
        SimHeld *h = &p->held[i];

        if (!h->matched && h->epoch == item->epoch && h->id == item->id) {
            judge(w, h, item->content);
            release_matched(w);
            return;
        }
    }
    if (item->epoch >= p->machine.epoch && w->twin_count < SIM_TWINS_MAX) {
        w->twins[w->twin_count++] = *item;
    }
}

/* Ours has come: take the first of the kept answers that belongs to it. */
static void compare_held(SimWorld *w, SimHeld *h)
{
    unsigned kept = 0;
    bool found = false;

    for (unsigned i = 0; i < w->twin_count; i++) {
        SimItem *t = &w->twins[i];

        if (t->epoch < w->p.machine.epoch) {
            continue;
        }
        if (!found && t->epoch == h->epoch && t->id == h->id) {
            found = true;
            judge(w, h, t->content);
            continue;
        }
        w->twins[kept++] = *t;
    }
    w->twin_count = kept;
}

static SimHeld *overdue(SimWorld *w)
{
    for (unsigned i = 0; i < w->p.held_count; i++) {
        SimHeld *h = &w->p.held[i];

        if (!h->matched && !h->timeout_told &&
            w->now_ms >= h->since_ms + TWIN_LIMIT_MS) {
            return h;
        }
    }
    return NULL;
}

bool sim_compare_ready(SimWorld *w)
{
    return w->p.node.alive && !w->p.node.frozen && !w->p.released_all &&
           (sim_pipe_head(w, &w->egress) || overdue(w));
}

void sim_compare_move(SimWorld *w)
{
    SimItem *item = sim_pipe_head(w, &w->egress);
    SimHeld *late = overdue(w);

    if (item) {
        SimItem copy = *item;

        sim_pipe_pop(&w->egress);
        compare_twin(w, &copy);
    } else if (late) {
        late->timeout_told = true;
        want(w, COLO_REASON_TIMEOUT);
    }
}

int64_t sim_compare_next_ms(const SimWorld *w)
{
    int64_t next_ms = sim_pipe_next_ms(w, &w->egress);

    for (unsigned i = 0; i < w->p.held_count; i++) {
        const SimHeld *h = &w->p.held[i];
        int64_t due_ms = h->since_ms + TWIN_LIMIT_MS;

        if (!h->matched && !h->timeout_told && due_ms > w->now_ms) {
            next_ms = MIN(next_ms, due_ms);
        }
    }
    return next_ms;
}

/* ------------------------------------------------------------- the guests */

static bool runs(const SimNode *n)
{
    return n->alive && !n->frozen && n->guest_runs;
}

bool sim_p_guest_ready(const SimWorld *w)
{
    return runs(&w->p.node);
}

static void p_disk_write(SimWorld *w, unsigned id)
{
    SimPrimarySide *p = &w->p;
    SimSecondarySide *s = &w->s;

    p->disk[sim_key_of(id)] = id;
    if (p->alone) {
        return;
    }
    if (w->link_cut || !s->node.alive) {
        p->disk_failed = true;
    } else if (s->write_count == SIM_WRITES_MAX) {
        sim_broken(w, "bounds", "forwarded writes");
    } else {
        s->writes[s->write_count++] = (SimWrite) {
            .key = sim_key_of(id), .id = id, .epoch = p->cut_epoch,
        };
    }
}

static void p_emit(SimWorld *w, const SimReply *r)
{
    SimPrimarySide *p = &w->p;
    SimHeld h = {
        .id = r->id, .content = r->content, .epoch = p->cut_epoch,
        .serial = ++p->next_serial, .since_ms = w->now_ms,
    };

    if (p->held_count > SIM_HELD_MAX) {
        sim_broken(w, "bounds", "held output");
        return;
    }
    compare_held(w, &h);
    p->held[p->held_count++] = h;
    if (p->released_all) {
        release_head(w);
    } else {
        release_matched(w);
    }
}

static void p_serve(SimWorld *w)
{
    SimReply reply;
    unsigned id = w->request_id;

    w->request_id = 0;
    if (!w->p.alone) {
        sim_pipe_push(w, &w->mirror, (SimItem) { .id = id });
    }
    if (sim_guest_serve(&w->p.node.guest, id, &reply)) {
        sim_trace(w, "P guest answers %u", id);
        if (reply.wrote) {
            p_disk_write(w, id);
        }
        p_emit(w, &reply);
    }
}

void sim_p_guest_move(SimWorld *w)
{
    if (w->request_id && !w->s.taken_over && !sim_chance(w, 4)) {
        if (w->p.held_count < SIM_HELD_MAX) {
            p_serve(w);
        } else {
            want(w, COLO_REASON_QUEUE_FULL);
        }
    } else {
        sim_guest_noise(&w->p.node.guest, sim_rand(w));
    }
}

bool sim_s_guest_ready(const SimWorld *w)
{
    return runs(&w->s.node);
}

static void s_serve(SimWorld *w, unsigned id)
{
    SimSecondarySide *s = &w->s;
    SimReply reply;

    if (!sim_guest_serve(&s->node.guest, id, &reply)) {
        return;
    }
    if (reply.wrote) {
        s->own[sim_key_of(id)] = id;
    }
    sim_trace(w, "S guest answers %u", id);
    if (s->taken_over) {
        client_sees(w, id, reply.content);
    } else {
        sim_pipe_push(w, &w->egress, (SimItem) {
            .id = id, .content = reply.content, .epoch = s->machine.epoch,
        });
    }
}

/* A request of another epoch is not for us yet; markers of ours are. */
static SimItem *mirrored(SimWorld *w)
{
    SimItem *item = sim_pipe_head(w, &w->mirror);

    if (item && item->id == 0 && !w->s.taken_over &&
        item->epoch > w->s.machine.epoch) {
        return NULL;
    }
    return item;
}

void sim_s_guest_move(SimWorld *w)
{
    SimItem *item = mirrored(w);

    if (item && !sim_chance(w, 4)) {
        unsigned id = item->id;

        sim_pipe_pop(&w->mirror);
        if (id) {
            s_serve(w, id);
        }
    } else if (w->s.taken_over && w->request_id && !sim_chance(w, 4)) {
        unsigned id = w->request_id;

        w->request_id = 0;
        s_serve(w, id);
    } else {
        sim_guest_noise(&w->s.node.guest, sim_rand(w));
    }
}

/* All before the marker is part of the state that was loaded. */
void sim_mirror_loaded(SimWorld *w, uint64_t epoch)
{
    while (w->mirror.count) {
        SimItem item = w->mirror.ring[w->mirror.head];

        sim_pipe_pop(&w->mirror);
        if (item.id == 0 && item.epoch == epoch) {
            break;
        }
    }
}
