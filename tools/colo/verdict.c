/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From what both sides say to one answer.
 *
 * First it is found out which side is which, then the rules are asked in turn
 * and the first that fits gives the word. Remedies are sentences in which
 * DOMAIN, PRIMARY and SECONDARY stand for names and URIs.
 */
#include "verdict.h"

static const struct {
    const char *text;
    const char *remedy;
} words[COLO_WORD__MAX] = {
    [COLO_WORD_PROTECTED] = { "Protected", NULL },
    [COLO_WORD_PAUSED] = { "Paused by user",
        "The guest stands still on both sides, at no risk: let it run with "
        "virsh -c PRIMARY resume DOMAIN." },
    [COLO_WORD_STARTING] = { "Starting", "Wait; nothing is to be done." },
    [COLO_WORD_RESYNCING] = { "Resyncing", "Wait; nothing is to be done." },
    [COLO_WORD_PRIMARY_LOST] = { "Primary lost",
        "Go on at the secondary: colo failover DOMAIN -c SECONDARY." },
    [COLO_WORD_SECONDARY_LOST] = { "Secondary lost",
        "Go on at the primary: colo failover DOMAIN -c PRIMARY; then protect "
        "it again: colo protect DOMAIN --from PRIMARY --to SECONDARY." },
    [COLO_WORD_LINK_LOST] = { "Link lost",
        "Both sides live and do not reach each other. Mend the network "
        "between them, then go on at one side, which ends the other: colo "
        "failover DOMAIN -c PRIMARY." },
    [COLO_WORD_ALONE] = { "Running alone",
        "Protect it again: colo protect DOMAIN --from PRIMARY --to "
        "SECONDARY." },
    [COLO_WORD_CHANGED] = { "Unsupported change",
        "Protect it anew: colo unprotect DOMAIN -c PRIMARY; colo protect "
        "DOMAIN --from PRIMARY --to SECONDARY." },
    [COLO_WORD_SECONDARY_BROKEN] = { "Secondary broken",
        "Protect it anew: colo unprotect DOMAIN -c PRIMARY; colo protect "
        "DOMAIN --from PRIMARY --to SECONDARY." },
    [COLO_WORD_STALE] = { "Old disks",
        "The guest went on at the other host; do not start the domain here. "
        "Protect it from there: colo protect DOMAIN --from PRIMARY --to "
        "SECONDARY." },
    [COLO_WORD_INTERRUPTED] = { "Interrupted",
        "A command was interrupted: colo repair DOMAIN -c PRIMARY." },
    [COLO_WORD_SILENT] = { "No answer",
        "The QEMU of this domain does not answer: look at its log with colo "
        "logs DOMAIN, and at its host." },
    [COLO_WORD_SHUT_OFF] = { "Shut off",
        "Start it with virsh -c PRIMARY start DOMAIN, then protect it: colo "
        "protect DOMAIN --from PRIMARY --to SECONDARY." },
    [COLO_WORD_NEVER] = { "Never protected",
        "Protect it: colo protect DOMAIN --from PRIMARY --to URI." },
};

const char *colo_word_text(ColoWord word)
{
    return words[word].text;
}

void colo_side_clear(ColoSide *side)
{
    g_clear_pointer(&side->uri, g_free);
    g_clear_pointer(&side->host, g_free);
    g_clear_pointer(&side->problem, g_free);
    g_clear_pointer(&side->pair, colo_pair_free);
    g_clear_pointer(&side->report, colo_report_free);
    g_clear_pointer(&side->raw, json_node_unref);
    g_clear_pointer(&side->change, g_free);
}

void colo_verdict_clear(ColoVerdict *verdict)
{
    g_clear_pointer(&verdict->detail, g_free);
    g_clear_pointer(&verdict->remedy, g_free);
}

static bool is_phase(const ColoSide *side, ColoPhase phase)
{
    return side && side->report && side->report->phase == phase;
}

/* A secondary that is alone has taken over, whether it is tidied up or not. */
static bool is_survivor(const ColoSide *side)
{
    return is_phase(side, COLO_PHASE_ALONE) &&
           (side->report->is_secondary ||
            (side->pair && side->pair->role == COLO_ROLE_SURVIVOR));
}

static ColoRole role_of(const ColoSide *side)
{
    if (is_survivor(side)) {
        return COLO_ROLE_SURVIVOR;
    }
    if (side->report && side->report->is_primary) {
        return COLO_ROLE_PRIMARY;
    }
    if (side->report && side->report->is_secondary) {
        return COLO_ROLE_SECONDARY;
    }
    return side->pair ? side->pair->role : COLO_ROLE_NONE;
}

static bool is_gone(const ColoSide *side)
{
    return !side || side->reach != COLO_REACH_FINE ||
           is_phase(side, COLO_PHASE_DEAD) || is_phase(side, COLO_PHASE_OFF);
}

static bool runs(const ColoSide *side)
{
    return side && (side->state == COLO_DOM_RUNNING ||
                    side->state == COLO_DOM_PAUSED);
}

/* A survivor takes the primary's part in what is said. */
static void find_sides(ColoVerdict *verdict, const ColoSide *here,
                       const ColoSide *peer)
{
    ColoRole role = role_of(here);
    ColoRole other = role_of(peer);
    bool is_primary = here->report && here->report->is_primary;
    bool is_swapped = role == COLO_ROLE_SECONDARY || role == COLO_ROLE_STALE;

    if (role == COLO_ROLE_NONE && other == COLO_ROLE_PRIMARY) {
        is_swapped = true;
    }
    /* A primary that is off may not have been told yet. */
    if (other == COLO_ROLE_SURVIVOR && role != COLO_ROLE_SURVIVOR &&
        !is_primary) {
        is_swapped = true;
    }
    verdict->primary = is_swapped ? peer : here;
    verdict->secondary = is_swapped ? here : peer;
}

static ColoWord word_protected(const ColoVerdict *v)
{
    const ColoSide *p = v->primary;

    if (p->change) {
        return COLO_WORD_CHANGED;
    }
    return p->is_guest_paused ? COLO_WORD_PAUSED : COLO_WORD_PROTECTED;
}

/* The primary or survivor answers, and is not in lockstep. */
static ColoWord word_primary(const ColoVerdict *v)
{
    const ColoSide *p = v->primary;
    const ColoSide *s = v->secondary;

    switch (p->report->phase) {
    case COLO_PHASE_CONNECTING:
        return COLO_WORD_STARTING;
    case COLO_PHASE_LOST:
        return is_phase(s, COLO_PHASE_LOST) ? COLO_WORD_LINK_LOST
                                            : COLO_WORD_SECONDARY_LOST;
    case COLO_PHASE_ALONE:
        if (!p->pair) {
            return COLO_WORD_NEVER;
        }
        if (role_of(p) == COLO_ROLE_SURVIVOR) {
            return COLO_WORD_ALONE;
        }
        return runs(s) ? COLO_WORD_SECONDARY_BROKEN
                       : COLO_WORD_SECONDARY_LOST;
    default:
        break;
    }
    if (p->copy_percent >= 0) {
        return COLO_WORD_STARTING;
    }
    if (p->sync_percent >= 0) {
        return COLO_WORD_RESYNCING;
    }
    switch (p->pair ? p->pair->role : COLO_ROLE_NONE) {
    case COLO_ROLE_NONE:
        return COLO_WORD_NEVER;
    case COLO_ROLE_SURVIVOR:
        return COLO_WORD_ALONE;
    default:
        return COLO_WORD_INTERRUPTED;
    }
}

static ColoWord find_word(const ColoVerdict *v, const ColoSide *here)
{
    const ColoSide *p = v->primary;
    const ColoSide *s = v->secondary;

    if (is_phase(p, COLO_PHASE_PROTECTED)) {
        return word_protected(v);
    }
    if (is_phase(s, COLO_PHASE_LOST) && is_gone(p)) {
        return COLO_WORD_PRIMARY_LOST;
    }
    if (p->reach == COLO_REACH_FINE && p->report) {
        return here == s && role_of(s) == COLO_ROLE_STALE && !runs(s)
               ? COLO_WORD_STALE : word_primary(v);
    }
    if (is_phase(s, COLO_PHASE_PROTECTED)) {
        return COLO_WORD_PROTECTED;
    }
    if (is_phase(s, COLO_PHASE_DEAD)) {
        return COLO_WORD_SECONDARY_BROKEN;
    }
    if (here->reach == COLO_REACH_SILENT || p->reach == COLO_REACH_SILENT) {
        return COLO_WORD_SILENT;
    }
    if (role_of(here) == COLO_ROLE_STALE) {
        return COLO_WORD_STALE;
    }
    if (here->reach == COLO_REACH_FINE && !here->pair) {
        return COLO_WORD_NEVER;
    }
    return COLO_WORD_SHUT_OFF;
}

static const char *uri_of(const ColoSide *side, const ColoSide *other)
{
    if (side && side->uri) {
        return side->uri;
    }
    return other && other->pair && other->pair->peer ? other->pair->peer
                                                     : "URI";
}

/* Takes @text. */
static char *replace(char *text, const char *token, const char *value)
{
    g_autofree char *owned = text;
    g_auto(GStrv) parts = g_strsplit(owned, token, -1);

    return g_strjoinv(value, parts);
}

static char *fill_in(const ColoVerdict *v, const char *domain,
                     const char *remedy)
{
    char *text = g_strdup(remedy);

    text = replace(text, "PRIMARY", uri_of(v->primary, v->secondary));
    text = replace(text, "SECONDARY", uri_of(v->secondary, v->primary));
    return replace(text, "DOMAIN", domain);
}

/* It serves, but what is left of the pair was not taken away yet. */
static bool is_untidy(const ColoSide *side)
{
    return is_phase(side, COLO_PHASE_ALONE) && side->pair &&
           side->pair->role == COLO_ROLE_SECONDARY;
}

/* Who cannot be seen may still run: that changes what is safe to do. */
static const char *remedy_of(const ColoVerdict *v)
{
    if (v->word == COLO_WORD_PRIMARY_LOST &&
        v->primary->reach != COLO_REACH_NO_DOMAIN) {
        return "Make sure that the primary's host is off, then go on at the "
               "secondary: colo failover DOMAIN -c SECONDARY --force.";
    }
    if (v->word == COLO_WORD_ALONE && is_untidy(v->primary)) {
        return "Finish the takeover: colo failover DOMAIN -c PRIMARY; then "
               "protect it again: colo protect DOMAIN --from PRIMARY --to "
               "SECONDARY.";
    }
    if (v->word == COLO_WORD_SECONDARY_LOST &&
        is_phase(v->primary, COLO_PHASE_LOST) &&
        v->secondary->reach != COLO_REACH_NO_DOMAIN) {
        return "Make sure that the secondary's host is off, then go on at the "
               "primary: colo failover DOMAIN -c PRIMARY --force.";
    }
    return words[v->word].remedy;
}

static char *detail_of(const ColoVerdict *v, const ColoSide *here)
{
    const ColoSide *p = v->primary;
    const ColoSide *s = v->secondary;

    if (v->word == COLO_WORD_CHANGED) {
        return g_strdup(p->change);
    }
    if (v->is_protected && is_phase(p, COLO_PHASE_PROTECTED) &&
        !p->report->is_net_connected) {
        return g_strdup("the secondary is not connected to a network card: "
                        "answers leave at checkpoints only");
    }
    if (v->word == COLO_WORD_NEVER) {
        return NULL;
    }
    if (is_phase(p, COLO_PHASE_LOST) || is_phase(p, COLO_PHASE_ALONE)) {
        return g_strdup(p->report->reason);
    }
    if (is_phase(s, COLO_PHASE_LOST) || is_phase(s, COLO_PHASE_DEAD)) {
        return g_strdup(s->report->reason);
    }
    return here->reach == COLO_REACH_FINE ? NULL : g_strdup(here->problem);
}

void colo_verdict(ColoVerdict *verdict, const char *domain,
                  const ColoSide *here, const ColoSide *peer)
{
    const char *remedy;

    *verdict = (ColoVerdict) { .percent = -1 };
    find_sides(verdict, here, peer);
    verdict->word = find_word(verdict, here);
    verdict->is_protected = verdict->word == COLO_WORD_PROTECTED ||
                            verdict->word == COLO_WORD_PAUSED;
    if (verdict->word == COLO_WORD_STARTING) {
        verdict->percent = verdict->primary->copy_percent;
    } else if (verdict->word == COLO_WORD_RESYNCING) {
        verdict->percent = verdict->primary->sync_percent;
    }
    verdict->detail = detail_of(verdict, here);
    remedy = remedy_of(verdict);
    verdict->remedy = remedy ? fill_in(verdict, domain, remedy) : NULL;
}

char *colo_verdict_text(const ColoVerdict *verdict)
{
    const char *word = words[verdict->word].text;
    g_autofree char *percent = verdict->percent < 0 ? g_strdup("")
        : g_strdup_printf(" %d %%", verdict->percent);

    if (verdict->word == COLO_WORD_PROTECTED) {
        return g_strdup(word);
    }
    return g_strdup_printf("%s (%s%s)",
                           verdict->is_protected ? "Protected"
                                                 : "Not protected",
                           word, percent);
}
