/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Going on at one side alone, for the command and for the agent.
 *
 * In two parts: the guest first, and only when it serves again all that makes
 * its domain an ordinary one. The caller vouches for it that the other side
 * is dead.
 */
#ifndef COLO_TOOL_TAKEOVER_H
#define COLO_TOOL_TAKEOVER_H

#include "host.h"

/*
 * The guest goes on here. @is_primary: this side was the primary, whose disk
 * requests may be waiting for a peer that is gone.
 */
bool colo_takeover(ColoHost *host, const char *domain, bool is_primary,
                   GError **error);

/*
 * The same in two parts, for who must not wait: QEMU is told, and when it has
 * said that it is alone, libvirt is.
 */
bool colo_takeover_begin(ColoHost *host, const char *domain, bool is_primary,
                         GError **error);
bool colo_takeover_end(ColoHost *host, const char *domain, GError **error);

/*
 * What is left of the pair is taken away, the domain is defined if it was on
 * the other host, and the roles are noted down. What differs of its disks
 * from now on goes on being noted, so that its next secondary is soon equal.
 * @peer: NULL if its host cannot be reached.
 */
bool colo_takeover_tidy(ColoHost *host, ColoHost *peer, const char *domain,
                        GError **error);

#endif
