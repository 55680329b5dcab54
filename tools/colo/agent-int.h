/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo agent, as its own files see it.
 *
 *   agent.c        events, and the loop
 *   agent-look.c   what it looks at by itself
 *   agent-act.c    what it does about a domain
 *
 * One thread; only connections are opened in others.
 */
#ifndef COLO_TOOL_AGENT_INT_H
#define COLO_TOOL_AGENT_INT_H

#include "guard.h"
#include "host.h"
#include "options.h"
#include "peers.h"

typedef enum AgentPlace { HERE, THERE, PLACES } AgentPlace;

typedef enum AgentStage {
    STAGE_WATCH,
    STAGE_ASKED,                /* the survivor's QEMU was told to go on */
    STAGE_RUNS,                 /* it does; its domain is to be tidied up */
    STAGE_SETTLED,              /* told, or failed: others decide now */
} AgentStage;

/* One domain that has a peer. */
typedef struct AgentGuard {
    char *domain;               /* name */
    char *peer_uri;
    bool is_primary;            /* here */
    ColoGuardSide sides[PLACES];
    bool was_seen_there;        /* alive, through the present connection */
    AgentStage stage;
    AgentPlace survivor;        /* unless STAGE_WATCH */
    bool waits_for_look;        /* what failed is tried again only then */
    bool has_complained;        /* ... and told of once */
    bool was_untidy;            /* here, when it was looked at last */
    int64_t asked_us;           /* when it was told */
} AgentGuard;

typedef struct ColoAgent {
    const ColoOptions *options;
    ColoHost *here;
    ColoPeers *peers;
    GHashTable *guards;         /* name -> AgentGuard */
    unsigned takeover_count;
    int64_t look_ms;            /* when to look at all domains again */
    bool is_closed;
} ColoAgent;

/* -------------------------------------------------------- agent-act.c */

/* For people, or as JSON; @domain may be NULL. */
void colo_agent_tell(const ColoAgent *a, const char *domain,
                     const char *format, ...) G_GNUC_PRINTF(3, 4);
/* NULL: it cannot be reached now. */
ColoHost *colo_agent_host(ColoAgent *a, const AgentGuard *guard,
                          AgentPlace place);
/* "here" or "at URI". Caller frees. */
char *colo_agent_place(const AgentGuard *guard, AgentPlace place);
/* One side has said what it is. */
void colo_agent_note(AgentGuard *guard, AgentPlace place, const char *state,
                     const char *cause, int64_t now_ms);
/* Its QEMU is asked. False if it does not answer, or is not there. */
bool colo_agent_look(ColoAgent *a, AgentGuard *guard, AgentPlace place);
/* What follows from what is known. @guard may be gone then. */
void colo_agent_act(ColoAgent *a, AgentGuard *guard);

/* ------------------------------------------------------- agent-look.c */

/* Begins, or goes on, to look after a domain; NULL: it has no peer. */
AgentGuard *colo_agent_guard(ColoAgent *a, const char *domain);
/* At all domains. */
void colo_agent_look_around(ColoAgent *a);

#endif
