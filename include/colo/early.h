/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO secondary: requests that came before it took over.
 *
 * In lockstep the secondary's guest gets what the primary mirrors and nothing
 * of what the secondary's own network brings. But when the primary dies, that
 * network soon has only one way to the guest: what clients send from then on
 * comes to a secondary that does not yet know that it is the survivor. The
 * last of it is kept and given to the guest at the takeover, so that no
 * client has to repeat it, which TCP does 200 ms later at the soonest.
 *
 * Only TCP segments to the guest's own address, which is that from which it
 * sent last; TCP expects repetitions, and this may be one. Bounded in bytes
 * and age; the oldest goes first.
 */
#ifndef COLO_EARLY_H
#define COLO_EARLY_H

#include "colo/packet.h"

typedef struct ColoEarly ColoEarly;

enum { COLO_MAC_BYTES = 6 };

#define COLO_EARLY_BYTES_MAX   (256u << 10)
#define COLO_EARLY_MAX_US      1000000ll

ColoEarly *colo_early_new(void);
void colo_early_free(ColoEarly *e);
/* The guest sends this, whole or not; @eth has @size bytes. */
void colo_early_learn(ColoEarly *e, const uint8_t *eth, size_t size);
/* Is it worth a look? @eth has @size bytes. */
bool colo_early_wants(const ColoEarly *e, const uint8_t *eth, size_t size);
/* Takes @f. */
void colo_early_add(ColoEarly *e, ColoNetFrame *f, int64_t now_us);
/* Oldest first; the caller's. Nothing is left. */
ColoNetFrame *colo_early_take(ColoEarly *e, int64_t now_us);
/* Forget what is too old. */
void colo_early_tick(ColoEarly *e, int64_t now_us);
/* With what keeping costs. */
uint64_t colo_early_bytes(const ColoEarly *e);

#endif
