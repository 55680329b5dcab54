/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo-states: the transition tables of both machines as Markdown.
 *
 * Found by doing, not by reading: every state is given every event, and what
 * step() does is one row. Events that change nothing have no row, nor have
 * frames out of turn, which all end the same way.
 *
 *   colo-states                  print both tables
 *   colo-states --check FILE     compare with FILE between its markers
 *   colo-states --update FILE    write them there
 */
#include <stdio.h>
#include <string.h>
#include "../unit/machine-text.h"

enum {
    BEGAN_MS = 1000,            /* of every wait */
    EPOCH = 7,                  /* printed as n */
};

static const ColoLimits limits = {
    .step_limit_ms = 100,
    .checkpoint_limit_ms = 5000,
    .heartbeat_ms = 20,
    .checkpoint_delay_ms = 40,
    .min_gap_ms = 30,
};

/* One column of events; .states: bit mask of where it makes sense, 0: all. */
typedef struct Case {
    const char *label;
    ColoEvent event;
    int64_t now_ms;
    unsigned states;
    bool slow_checkpoint;       /* has been in progress for long */
    bool failover_first;        /* asked for during the local action */
    bool lost_first;            /* ditto: the peer was lost */
    bool storm;                 /* hybrid mode begins */
    bool calm;                  /* and ends */
} Case;

#define CASE(what, ev, at, ...) \
    { .label = what, .event = ev, .now_ms = at, __VA_ARGS__ }
#define SOON (BEGAN_MS + 1)
#define P(name) (1u << COLO_P_##name)
#define S(name) (1u << COLO_S_##name)
#define P_LOCAL (P(BEGINNING) | P(CAPTURING) | P(SENDING))
#define P_CYCLE (P(REQUESTED) | P(SENDING) | P(SENT) | P(COMMITTING))

static const Case primary_cases[] = {
    CASE("start", EV(START), SOON),
    CASE("READY", MSG(READY, 0), SOON, .states = P(HELLO)),
    CASE("REFUSE", MSG_CAUSE(REFUSE, 0, LOCAL), SOON, .states = P(HELLO)),
    CASE("REPLY(n+1)", MSG(REPLY, EPOCH + 1), SOON),
    CASE("RECEIVED(n+1)", MSG(RECEIVED, EPOCH + 1), SOON),
    CASE("LOADED(n+1)", MSG(LOADED, EPOCH + 1), SOON),
    CASE("LOADED(n+1), hybrid mode begins", MSG(LOADED, EPOCH + 1), SOON,
         .states = P(COMMITTING), .storm = true),
    CASE("LOADED(n+1), hybrid mode ends", MSG(LOADED, EPOCH + 1), SOON,
         .states = P(COMMITTING), .calm = true),
    CASE("FAILED(n+1)", MSG_CAUSE(FAILED, EPOCH + 1, APPLY_FAILED), SOON),
    CASE("FAILED(n+1,apply-broken)",
         MSG_CAUSE(FAILED, EPOCH + 1, APPLY_BROKEN), SOON,
         .states = ~(P_LOCAL | P(PARTING))),
    CASE("GOODBYE(peer-quit)", MSG_CAUSE(GOODBYE, 0, PEER_QUIT), SOON,
         .states = ~P(PARTING)),
    CASE("GOODBYE", MSG_CAUSE(GOODBYE, 0, APPLY_FAILED), SOON,
         .states = P(PARTING)),
    CASE("PING", MSG(PING, 0), SOON),
    CASE("want-checkpoint, gap over", WANT(MISMATCH), BEGAN_MS + 30,
         .states = P(RUNNING)),
    CASE("tick, heartbeat due", EV(TICK), BEGAN_MS + 20,
         .states = P(RUNNING)),
    CASE("tick, checkpoint due", EV(TICK), BEGAN_MS + 40,
         .states = P(RUNNING)),
    CASE("tick, step limit", EV(TICK), BEGAN_MS + 100),
    CASE("tick, checkpoint limit", EV(TICK), SOON, .states = P_CYCLE,
         .slow_checkpoint = true),
    CASE("local-ok", EV(LOCAL_OK), SOON),
    CASE("local-failed", EV(LOCAL_FAILED), SOON),
    CASE("local-ok after failover", EV(LOCAL_OK), SOON, .states = P_LOCAL,
         .failover_first = true),
    CASE("local-ok after peer-lost", EV(LOCAL_OK), SOON,
         .states = P(BEGINNING) | P(CAPTURING), .lost_first = true),
    CASE("peer-lost", LOST_BY(PEER_CLOSED), SOON),
    CASE("failover", EV(FAILOVER), SOON),
    CASE("guest-gone", EV(GUEST_GONE), SOON),
    CASE("quit", EV(QUIT), SOON),
};

static const Case secondary_cases[] = {
    CASE("start", EV(START), SOON),
    CASE("HELLO", MSG(HELLO, 0), SOON, .states = S(WAITING)),
    CASE("START(1)", MSG(START, 1), SOON, .states = S(READY)),
    CASE("REQUEST(n+1)", MSG(REQUEST, EPOCH + 1), SOON,
         .states = S(RUNNING)),
    CASE("END(n+1), verified", MSG(END, EPOCH + 1), SOON),
    CASE("state-bad", EV(STATE_BAD), SOON),
    CASE("GOODBYE(peer-quit)", MSG_CAUSE(GOODBYE, 0, PEER_QUIT), SOON),
    CASE("GOODBYE(guest-shutdown)", MSG_CAUSE(GOODBYE, 0, GUEST_SHUTDOWN),
         SOON),
    CASE("GOODBYE, any other", MSG_CAUSE(GOODBYE, 0, REQUESTED), SOON),
    CASE("PING", MSG(PING, 0), SOON),
    CASE("tick, half the step limit", EV(TICK), BEGAN_MS + 50,
         .states = S(RUNNING)),
    CASE("tick, step limit", EV(TICK), BEGAN_MS + 100),
    CASE("tick, checkpoint limit", EV(TICK), SOON,
         .states = S(COLLECTING) | S(RECEIVING), .slow_checkpoint = true),
    CASE("local-ok", EV(LOCAL_OK), SOON),
    CASE("local-failed", EV(LOCAL_FAILED), SOON),
    CASE("local-broken", EV(LOCAL_BROKEN), SOON, .states = S(APPLYING)),
    CASE("local-ok after failover", EV(LOCAL_OK), SOON,
         .states = S(COLLECTING) | S(APPLYING), .failover_first = true),
    CASE("local-failed after failover", EV(LOCAL_FAILED), SOON,
         .states = S(COLLECTING) | S(APPLYING), .failover_first = true),
    CASE("local-broken after failover", EV(LOCAL_BROKEN), SOON,
         .states = S(APPLYING), .failover_first = true),
    CASE("local-ok after peer-lost", EV(LOCAL_OK), SOON,
         .states = S(BEGINNING) | S(APPLYING), .lost_first = true),
    CASE("local-failed after peer-lost", EV(LOCAL_FAILED), SOON,
         .states = S(BEGINNING) | S(APPLYING), .lost_first = true),
    CASE("peer-lost", LOST_BY(PEER_CLOSED), SOON),
    CASE("failover", EV(FAILOVER), SOON),
    CASE("quit", EV(QUIT), SOON),
};

static void replace_all(GString *text, const char *from, const char *to)
{
    char *at;

    while ((at = strstr(text->str, from))) {
        gssize offset = at - text->str;

        g_string_erase(text, offset, strlen(from));
        g_string_insert(text, offset, to);
    }
}

static void row(GString *out, const char *state, const char *label,
                const char *next, const ColoActions *acts, bool remembered)
{
    g_autofree char *text = text_actions(acts);
    GString *actions = g_string_new(text);

    replace_all(actions, "(7", "(n");
    replace_all(actions, "(8", "(n+1");
    if (remembered) {
        g_string_assign(actions, "remembered until the result");
    }
    g_string_append_printf(out, "| %s | %s | %s | %s |\n", state, label,
                           strcmp(state, next) ? next : "", actions->str);
    g_string_free(actions, TRUE);
}

static void head(GString *out)
{
    g_string_append(out, "\n| state | event | next state | actions |\n"
                    "|---|---|---|---|\n");
}

/* ------------------------------------------------------------- primary */

static void primary_row(GString *out, ColoPrimaryState state, const Case *c)
{
    ColoPrimary p;
    ColoActions acts;
    bool pended;

    colo_primary_init(&p, &limits);
    p.state = state;
    p.epoch = state >= COLO_P_RUNNING ? EPOCH : 0;
    p.rx_ms = p.tx_ms = BEGAN_MS;
    p.started_ms = c->slow_checkpoint ? BEGAN_MS - 5000 : BEGAN_MS;
    p.failover_pending = c->failover_first;
    p.cause = state == COLO_P_PARTING ? COLO_CAUSE_APPLY_FAILED
                                      : COLO_CAUSE_NONE;
    p.channel_lost = c->lost_first;
    p.pending_cause = c->lost_first ? COLO_CAUSE_PEER_CLOSED
                                    : COLO_CAUSE_NONE;
    p.policy.hybrid = c->storm;
    p.net_mode = c->calm ? COLO_NET_BUFFER : COLO_NET_MATCH;
    colo_policy_end(&p.policy, BEGAN_MS);
    colo_primary_step(&p, &c->event, c->now_ms, &acts);
    pended = p.failover_pending || p.quit_pending || p.gone_pending ||
             p.pending_cause != COLO_CAUSE_NONE;
    if (p.cause == COLO_CAUSE_PROTOCOL ||
        p.pending_cause == COLO_CAUSE_PROTOCOL ||
        (p.state == state && !acts.count && !pended)) {
        return;
    }
    row(out, colo_primary_state_name(state), c->label,
        colo_primary_state_name(p.state), &acts, pended);
}

static void primary_table(GString *out)
{
    head(out);
    for (int state = 0; state < COLO_P__MAX; state++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(primary_cases); i++) {
            const Case *c = &primary_cases[i];

            if (!c->states || (c->states & (1u << state))) {
                primary_row(out, state, c);
            }
        }
    }
    g_string_append_c(out, '\n');
}

/* ----------------------------------------------------------- secondary */

static void secondary_row(GString *out, ColoSecondaryState state,
                          const Case *c)
{
    ColoSecondary s;
    ColoActions acts;
    bool pended;

    colo_secondary_init(&s, &limits);
    s.state = state;
    s.epoch = state >= COLO_S_RUNNING ? EPOCH : 0;
    s.pending_epoch = state >= COLO_S_RUNNING ? EPOCH + 1 : 0;
    s.rx_ms = s.tx_ms = BEGAN_MS;
    s.started_ms = c->slow_checkpoint ? BEGAN_MS - 5000 : BEGAN_MS;
    s.cause = state == COLO_S_FAILING ? COLO_CAUSE_APPLY_FAILED
                                      : COLO_CAUSE_NONE;
    s.failover_pending = c->failover_first;
    s.lost_pending = c->lost_first;
    s.pending_cause = c->lost_first ? COLO_CAUSE_PEER_CLOSED
                                    : COLO_CAUSE_NONE;
    colo_secondary_step(&s, &c->event, c->now_ms, &acts);
    pended = s.state == state && !acts.count &&
             (s.failover_pending || s.quit_pending || s.lost_pending ||
              s.goodbye_pending);
    if (s.cause == COLO_CAUSE_PROTOCOL ||
        s.pending_cause == COLO_CAUSE_PROTOCOL ||
        (s.state == state && !acts.count && !pended)) {
        return;
    }
    row(out, colo_secondary_state_name(state), c->label,
        colo_secondary_state_name(s.state), &acts, pended);
}

static void secondary_table(GString *out)
{
    head(out);
    for (int state = 0; state < COLO_S__MAX; state++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(secondary_cases); i++) {
            const Case *c = &secondary_cases[i];

            if (!c->states || (c->states & (1u << state))) {
                secondary_row(out, state, c);
            }
        }
    }
    g_string_append_c(out, '\n');
}

/* ------------------------------------------------------------- the file */

/* @file with what is between the two markers of @name replaced. */
static GString *splice(const char *file, const char *name,
                       const GString *table)
{
    g_autofree char *begin = g_strdup_printf("<!-- %s: begin -->\n", name);
    g_autofree char *end = g_strdup_printf("<!-- %s: end -->", name);
    const char *from = strstr(file, begin);
    const char *to = from ? strstr(from, end) : NULL;
    GString *out;

    if (!to) {
        return NULL;
    }
    from += strlen(begin);
    out = g_string_new_len(file, from - file);
    g_string_append_len(out, table->str, table->len);
    g_string_append(out, to);
    return out;
}

static GString *with_tables(const char *file, const GString *primary,
                            const GString *secondary)
{
    GString *half = splice(file, "primary", primary);
    GString *whole = half ? splice(half->str, "secondary", secondary) : NULL;

    if (half) {
        g_string_free(half, TRUE);
    }
    return whole;
}

static int check_or_update(const char *path, bool update,
                           const GString *primary, const GString *secondary)
{
    g_autoptr(GError) err = NULL;
    g_autofree char *file = NULL;
    GString *wanted;
    int status = 0;

    if (!g_file_get_contents(path, &file, NULL, &err)) {
        fprintf(stderr, "%s\n", err->message);
        return 1;
    }
    wanted = with_tables(file, primary, secondary);
    if (!wanted) {
        fprintf(stderr, "%s: markers of the tables are missing\n", path);
        return 1;
    }
    if (strcmp(file, wanted->str)) {
        if (!update) {
            fprintf(stderr, "%s differs from the machines; after reading "
                    "the difference: colo-states --update %s\n", path, path);
            status = 1;
        } else if (!g_file_set_contents(path, wanted->str, wanted->len,
                                        &err)) {
            fprintf(stderr, "%s\n", err->message);
            status = 1;
        }
    }
    g_string_free(wanted, TRUE);
    return status;
}

int main(int argc, char **argv)
{
    GString *primary = g_string_new(NULL);
    GString *secondary = g_string_new(NULL);
    int status = 0;

    primary_table(primary);
    secondary_table(secondary);
    if (argc == 1) {
        printf("Primary\n%s\nSecondary\n%s", primary->str, secondary->str);
    } else if (argc == 3 && (!strcmp(argv[1], "--check") ||
                             !strcmp(argv[1], "--update"))) {
        status = check_or_update(argv[2], !strcmp(argv[1], "--update"),
                                 primary, secondary);
    } else {
        fprintf(stderr, "usage: %s [--check FILE | --update FILE]\n",
                argv[0]);
        status = 2;
    }
    g_string_free(primary, TRUE);
    g_string_free(secondary, TRUE);
    return status;
}
