/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: names of states, events, actions and causes, and what an operator
 * should do about each cause. The tables are indexed by the enums of
 * machine.h; every entry is checked by the unit tests.
 */
#include <glib.h>
#include "colo/machine.h"

static const char *pick(const char *const *names, unsigned count,
                        unsigned index)
{
    return index < count && names[index] ? names[index] : "unknown";
}

const char *colo_primary_state_name(ColoPrimaryState s)
{
    static const char *const names[COLO_P__MAX] = {
        [COLO_P_OFF] = "off",
        [COLO_P_HELLO] = "hello",
        [COLO_P_BEGINNING] = "beginning",
        [COLO_P_RUNNING] = "running",
        [COLO_P_REQUESTED] = "requested",
        [COLO_P_CAPTURING] = "capturing",
        [COLO_P_SENDING] = "sending",
        [COLO_P_SENT] = "sent",
        [COLO_P_COMMITTING] = "committing",
        [COLO_P_PARTING] = "parting",
        [COLO_P_LOST] = "lost",
        [COLO_P_ALONE] = "alone",
        [COLO_P_ENDED] = "ended",
    };

    return pick(names, G_N_ELEMENTS(names), s);
}

const char *colo_secondary_state_name(ColoSecondaryState s)
{
    static const char *const names[COLO_S__MAX] = {
        [COLO_S_OFF] = "off",
        [COLO_S_WAITING] = "waiting",
        [COLO_S_BEGINNING] = "beginning",
        [COLO_S_READY] = "ready",
        [COLO_S_RUNNING] = "running",
        [COLO_S_COLLECTING] = "collecting",
        [COLO_S_RECEIVING] = "receiving",
        [COLO_S_APPLYING] = "applying",
        [COLO_S_FAILING] = "failing",
        [COLO_S_LOST] = "lost",
        [COLO_S_TAKEN_OVER] = "taken-over",
        [COLO_S_DEAD] = "dead",
    };

    return pick(names, G_N_ELEMENTS(names), s);
}

const char *colo_event_name(ColoEventType t)
{
    static const char *const names[COLO_EV__MAX] = {
        [COLO_EV_START] = "start",
        [COLO_EV_MESSAGE] = "message",
        [COLO_EV_TICK] = "tick",
        [COLO_EV_WANT_CHECKPOINT] = "want-checkpoint",
        [COLO_EV_LOCAL_OK] = "local-ok",
        [COLO_EV_LOCAL_FAILED] = "local-failed",
        [COLO_EV_LOCAL_BROKEN] = "local-broken",
        [COLO_EV_STATE_BAD] = "state-bad",
        [COLO_EV_PEER_LOST] = "peer-lost",
        [COLO_EV_FAILOVER] = "failover",
        [COLO_EV_QUIT] = "quit",
        [COLO_EV_GUEST_GONE] = "guest-gone",
    };

    return pick(names, G_N_ELEMENTS(names), t);
}

const char *colo_action_name(ColoActionType t)
{
    static const char *const names[COLO_ACT__MAX] = {
        [COLO_ACT_SEND] = "send",
        [COLO_ACT_BEGIN] = "begin",
        [COLO_ACT_GUEST_STOP] = "guest-stop",
        [COLO_ACT_GUEST_RUN] = "guest-run",
        [COLO_ACT_COLLECT] = "collect",
        [COLO_ACT_CAPTURE] = "capture",
        [COLO_ACT_SEND_STATE] = "send-state",
        [COLO_ACT_APPLY] = "apply",
        [COLO_ACT_DISCARD] = "discard",
        [COLO_ACT_RELEASE_OUTPUT] = "release-output",
        [COLO_ACT_NET_MODE] = "net-mode",
        [COLO_ACT_RELEASE_ALL] = "release-all",
        [COLO_ACT_TAKE_OVER] = "take-over",
        [COLO_ACT_GO_ALONE] = "go-alone",
        [COLO_ACT_CLOSE] = "close",
        [COLO_ACT_STATUS] = "status",
        [COLO_ACT_EXIT_EVENT] = "exit-event",
        [COLO_ACT_GUEST_SHUTDOWN] = "guest-shutdown",
    };

    return pick(names, G_N_ELEMENTS(names), t);
}

const char *colo_net_mode_name(ColoNetMode m)
{
    static const char *const names[COLO_NET__MAX] = {
        [COLO_NET_MATCH] = "match",
        [COLO_NET_BUFFER] = "buffer",
    };

    return pick(names, G_N_ELEMENTS(names), m);
}

const char *colo_cause_name(ColoCause c)
{
    static const char *const names[COLO_CAUSE__MAX] = {
        [COLO_CAUSE_NONE] = "none",
        [COLO_CAUSE_PEER_CLOSED] = "peer-closed",
        [COLO_CAUSE_PEER_SILENT] = "peer-silent",
        [COLO_CAUSE_PEER_SLOW] = "peer-slow",
        [COLO_CAUSE_PROTOCOL] = "protocol",
        [COLO_CAUSE_GARBAGE] = "garbage",
        [COLO_CAUSE_REFUSED] = "refused",
        [COLO_CAUSE_LOCAL] = "local",
        [COLO_CAUSE_APPLY_FAILED] = "apply-failed",
        [COLO_CAUSE_APPLY_BROKEN] = "apply-broken",
        [COLO_CAUSE_REQUESTED] = "requested",
        [COLO_CAUSE_PEER_QUIT] = "peer-quit",
        [COLO_CAUSE_GUEST_SHUTDOWN] = "guest-shutdown",
        [COLO_CAUSE_PEER_ALONE] = "peer-alone",
    };

    return pick(names, G_N_ELEMENTS(names), c);
}

/* What to do while the outcome is open: the peer may be alive. */
static const char *remedy_lost(ColoCause c, bool primary)
{
    static const char *const primary_text =
        "The secondary is out of reach and output is held: make sure that "
        "the secondary is stopped, then run x-colo-lost-heartbeat here; or "
        "stop this QEMU and run it on the secondary.";
    static const char *const secondary_text =
        "The primary is out of reach and this guest stands still: make sure "
        "that the primary is stopped, then run x-colo-lost-heartbeat here; "
        "or stop this QEMU and run it on the primary.";
    static const char *const quit_text =
        "The primary's QEMU was ended: run x-colo-lost-heartbeat here to go "
        "on with the guest, or quit to end it.";

    if (!primary && c == COLO_CAUSE_PEER_QUIT) {
        return quit_text;
    }
    return primary ? primary_text : secondary_text;
}

static const char *remedy_alone(ColoCause c)
{
    static const char *const texts[COLO_CAUSE__MAX] = {
        [COLO_CAUSE_PEER_SLOW] =
            "Checkpoints took longer than the limit: raise "
            "checkpoint-limit-ms or give the link more bandwidth before "
            "protecting the guest again.",
        [COLO_CAUSE_PROTOCOL] =
            "The secondary answered out of turn: start the same QEMU build "
            "on both sides before protecting the guest again.",
        [COLO_CAUSE_GARBAGE] =
            "The channel delivered bytes that are no frames: check that "
            "nothing else connects to it before protecting the guest again.",
        [COLO_CAUSE_REFUSED] =
            "The secondary refused: see its error message, correct its "
            "command line, then protect the guest again.",
        [COLO_CAUSE_LOCAL] =
            "This side could not take the checkpoint: see the error message "
            "here, remove what it names, then protect the guest again.",
        [COLO_CAUSE_APPLY_FAILED] =
            "The secondary could not take the checkpoint: see its error "
            "message, correct what it names, then protect the guest again.",
        [COLO_CAUSE_APPLY_BROKEN] =
            "The secondary was left without a whole state: start a new one "
            "and protect the guest again.",
        [COLO_CAUSE_REQUESTED] =
            "The guest runs here without protection, as asked: start a new "
            "secondary and protect it again.",
        [COLO_CAUSE_PEER_QUIT] =
            "The secondary's QEMU was ended: start a new one and protect "
            "the guest again.",
        [COLO_CAUSE_GUEST_SHUTDOWN] =
            "The guest powered itself off; nothing is to be done.",
    };

    return texts[c] ? texts[c]
        : "The guest runs here without protection: start a new secondary "
          "and protect it again.";
}

static const char *remedy_dead(ColoCause c)
{
    static const char *const texts[COLO_CAUSE__MAX] = {
        [COLO_CAUSE_LOCAL] =
            "This side could not begin: see the error message here, correct "
            "the command line, start this QEMU again.",
        [COLO_CAUSE_APPLY_FAILED] =
            "This side could not take the checkpoint and the primary goes "
            "on alone: see the error message here, then start this QEMU "
            "again and protect the guest again.",
        [COLO_CAUSE_APPLY_BROKEN] =
            "This guest has no whole state and must not run: quit, start "
            "this QEMU again and protect the guest again.",
        [COLO_CAUSE_GUEST_SHUTDOWN] =
            "The guest powered itself off; nothing is to be done.",
        [COLO_CAUSE_PEER_ALONE] =
            "The primary goes on alone: quit, start this QEMU again and "
            "protect the guest again.",
    };

    return texts[c] ? texts[c]
        : "This secondary has no claim on the guest: quit, start this QEMU "
          "again and protect the guest again from the primary.";
}

const char *colo_cause_text(ColoCause c)
{
    static const char *const texts[COLO_CAUSE__MAX] = {
        [COLO_CAUSE_NONE] = "",
        [COLO_CAUSE_PEER_CLOSED] = "the other side closed the channel",
        [COLO_CAUSE_PEER_SILENT] = "nothing came from the other side for "
                                   "as long as step-limit allows",
        [COLO_CAUSE_PEER_SLOW] = "a checkpoint took longer than "
                                 "checkpoint-limit allows",
        [COLO_CAUSE_PROTOCOL] = "the other side sent a message that does "
                                "not belong there",
        [COLO_CAUSE_GARBAGE] = "the other side sent something that is no "
                               "message",
        [COLO_CAUSE_REFUSED] = "the other side refused",
        [COLO_CAUSE_LOCAL] = "a step failed on this side or the other",
        [COLO_CAUSE_APPLY_FAILED] = "the secondary could not load a "
                                    "checkpoint and went back to its own "
                                    "state",
        [COLO_CAUSE_APPLY_BROKEN] = "the secondary could neither load a "
                                    "checkpoint nor go back",
        [COLO_CAUSE_REQUESTED] = "x-colo-lost-heartbeat was given",
        [COLO_CAUSE_PEER_QUIT] = "the other side's QEMU was told to quit",
        [COLO_CAUSE_GUEST_SHUTDOWN] = "the guest powered itself off",
        [COLO_CAUSE_PEER_ALONE] = "the primary went on alone",
    };

    return c < COLO_CAUSE__MAX && texts[c] ? texts[c] : "";
}

const char *colo_cause_remedy(ColoCause c, bool primary, bool final)
{
    if (c <= COLO_CAUSE_NONE || c >= COLO_CAUSE__MAX) {
        return "";
    }
    if (!final) {
        return remedy_lost(c, primary);
    }
    if (!primary && c != COLO_CAUSE_REQUESTED) {
        return remedy_dead(c);
    }
    return remedy_alone(c);
}
