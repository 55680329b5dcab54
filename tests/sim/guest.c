/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO simulator: the toy guest.
 *
 * A key-value service over numbered requests. All of its memory is in pages:
 * page 0 the head (last request, noise, revision), pages 1 and 2 the values,
 * pages 3..7 scratch, pages 8..23 the answer given to each request. A repeated
 * request gets the same answer again, as TCP repeats a segment. Noise stands
 * for all that two real guests do differently: it reaches one answer in three.
 */
#include <string.h>
#include "sim.h"

enum {
    HEAD_LAST_ID = 0,
    HEAD_NOISE = 1,
    HEAD_REV = 2,
    PAGE_VALUES = 1,
    PAGE_SCRATCH = 3,
    SCRATCH_COUNT = 5,
    PAGE_REPLIES = 8,
};

uint64_t sim_mix(uint64_t a, uint64_t b)
{
    uint64_t x = a * 0x9E3779B97F4A7C15u + b + 0x632BE59BD9B4E019u;

    x ^= x >> 30;
    x *= 0xBF58476D1CE4E5B9u;
    x ^= x >> 27;
    x *= 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

static uint64_t *word_for_write(SimGuest *g, unsigned page, unsigned word)
{
    g->dirty |= 1u << page;
    return &g->page[page][word];
}

void sim_guest_init(SimGuest *g, uint64_t salt)
{
    memset(g, 0, sizeof(*g));
    for (unsigned i = 0; i < SCRATCH_COUNT; i++) {
        g->page[PAGE_SCRATCH + i][0] = sim_mix(salt, i);
    }
}

unsigned sim_key_of(unsigned id)
{
    return id * 5 % SIM_KEYS;
}

bool sim_is_write(unsigned id)
{
    return id % 4 != 0;
}

unsigned sim_last_id(const SimGuest *g)
{
    return g->page[0][HEAD_LAST_ID];
}

unsigned sim_reply_page(unsigned id, unsigned *word)
{
    *word = id % SIM_PAGE_WORDS;
    return PAGE_REPLIES + id / SIM_PAGE_WORDS;
}

uint64_t *sim_reply_slot(SimGuest *g, unsigned id)
{
    unsigned word;
    unsigned page = sim_reply_page(id, &word);

    return &g->page[page][word];
}

static uint64_t execute(SimGuest *g, unsigned id)
{
    unsigned key = sim_key_of(id);
    unsigned page = PAGE_VALUES + key / SIM_PAGE_WORDS;
    uint64_t noise = id % 3 == 0 ? g->page[0][HEAD_NOISE] : 0;

    if (sim_is_write(id)) {
        *word_for_write(g, page, key % SIM_PAGE_WORDS) =
            sim_mix(id, id % 5 == 0 ? g->page[0][HEAD_NOISE] : 0);
    }
    return sim_mix(g->page[page][key % SIM_PAGE_WORDS] + id, noise);
}

bool sim_guest_serve(SimGuest *g, unsigned id, SimReply *reply)
{
    unsigned last = sim_last_id(g);
    unsigned word;
    unsigned page = sim_reply_page(id, &word);

    *reply = (SimReply) { .id = id };
    if (id > last + 1) {
        return false;
    }
    if (id == last + 1) {
        *word_for_write(g, page, word) = execute(g, id);
        *word_for_write(g, 0, HEAD_LAST_ID) = id;
        g->device_rev = ++*word_for_write(g, 0, HEAD_REV);
        reply->wrote = sim_is_write(id);
    }
    reply->content = g->page[page][word];
    return true;
}

void sim_guest_noise(SimGuest *g, uint64_t random)
{
    if (random % 4 == 0) {
        *word_for_write(g, 0, HEAD_NOISE) += random | 1;
    } else {
        *word_for_write(g, PAGE_SCRATCH + random % SCRATCH_COUNT,
                        1 + random % 3) ^= random;
    }
}

uint64_t sim_guest_hash(const SimGuest *g)
{
    uint64_t hash = g->device_rev;

    for (unsigned i = 0; i < SIM_PAGES; i++) {
        for (unsigned j = 0; j < SIM_PAGE_WORDS; j++) {
            hash = (hash ^ g->page[i][j]) * 0x9FB21C651E98DF25u;
            hash ^= hash >> 32;
        }
    }
    return hash;
}

/* Device and memory are of one moment. */
bool sim_guest_whole(const SimGuest *g)
{
    return g->device_rev == g->page[0][HEAD_REV];
}
