/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Actions of the machines as text, for tests and for the table of states:
 * "REQUEST(2,periodic) guest-stop capture(2) exit-event(peer-closed)".
 * A frame to be sent is named in capitals, all else by the action's name.
 */
#ifndef MACHINE_TEXT_H
#define MACHINE_TEXT_H

#include <glib.h>
#include "colo/machine.h"

static inline void text_frame(GString *text, const ColoAction *a)
{
    const char *arg = NULL;

    switch (a->msg) {
    case COLO_MSG_REQUEST:
        arg = colo_reason_name(a->arg);
        break;
    case COLO_MSG_REFUSE:
    case COLO_MSG_FAILED:
    case COLO_MSG_GOODBYE:
        arg = colo_cause_name(a->arg);
        break;
    default:
        g_assert_cmpuint(a->arg, ==, 0);
    }
    g_string_append(text, colo_msg_name(a->msg));
    if (a->epoch && arg) {
        g_string_append_printf(text, "(%u,%s)", (unsigned)a->epoch, arg);
    } else if (a->epoch) {
        g_string_append_printf(text, "(%u)", (unsigned)a->epoch);
    } else if (arg) {
        g_string_append_printf(text, "(%s)", arg);
    }
}

static inline void text_action(GString *text, const ColoAction *a)
{
    if (a->type == COLO_ACT_SEND) {
        text_frame(text, a);
        return;
    }
    g_string_append(text, colo_action_name(a->type));
    if (a->epoch) {
        g_string_append_printf(text, "(%u)", (unsigned)a->epoch);
    }
    if (a->type == COLO_ACT_EXIT_EVENT) {
        g_string_append_printf(text, "(%s)", colo_cause_name(a->cause));
    } else if (a->type == COLO_ACT_NET_MODE) {
        g_string_append_printf(text, "(%s)", colo_net_mode_name(a->arg));
    }
}

/* To be freed with g_free(). */
static inline char *text_actions(const ColoActions *acts)
{
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; i < acts->count; i++) {
        if (i) {
            g_string_append_c(text, ' ');
        }
        text_action(text, &acts->list[i]);
    }
    return g_string_free(text, FALSE);
}

static inline bool action_is_local(ColoActionType type)
{
    return type == COLO_ACT_BEGIN || type == COLO_ACT_COLLECT ||
           type == COLO_ACT_CAPTURE || type == COLO_ACT_SEND_STATE ||
           type == COLO_ACT_APPLY;
}

static inline unsigned actions_count(const ColoActions *acts,
                                     ColoActionType type)
{
    unsigned count = 0;

    for (unsigned i = 0; i < acts->count; i++) {
        count += acts->list[i].type == type;
    }
    return count;
}

/* What holds for every list: one local action, last; no SEND after CLOSE. */
static inline void check_list(const ColoActions *acts)
{
    bool closed = false;

    for (unsigned i = 0; i < acts->count; i++) {
        ColoActionType type = acts->list[i].type;

        g_assert_cmpint(type, <, COLO_ACT__MAX);
        g_assert_true(!action_is_local(type) || i == acts->count - 1);
        g_assert_true(type != COLO_ACT_SEND || !closed);
        closed |= type == COLO_ACT_CLOSE;
    }
    g_assert_cmpuint(actions_count(acts, COLO_ACT_EXIT_EVENT), <=, 2);
}

/* One line of a scripted test: an event, then the state and the actions. */
typedef struct ScriptStep {
    int64_t at_ms;
    ColoEvent event;
    int state;
    const char *actions;
} ScriptStep;

#define EV(name)        { .type = COLO_EV_##name }
#define MSG(name, n)    { .type = COLO_EV_MESSAGE, .msg = COLO_MSG_##name, \
                          .epoch = (n) }
#define MSG_CAUSE(name, n, why)                                            \
    { .type = COLO_EV_MESSAGE, .msg = COLO_MSG_##name, .epoch = (n),       \
      .arg = COLO_CAUSE_##why }
#define WANT(why)       { .type = COLO_EV_WANT_CHECKPOINT,                 \
                          .reason = COLO_REASON_##why }
#define LOST_BY(why)    { .type = COLO_EV_PEER_LOST,                       \
                          .cause = COLO_CAUSE_##why }

#endif
