/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of the choice which writes are offered.
 *
 * A scenario is a string: `s` a write that is just too small, `m` the smallest
 * and `b` the largest that may be offered, `l` one that is too large, `a` an
 * offer was accepted, `d` declined. The expectation is the same string with
 * capitals for the writes that are offered.
 */
#include <glib.h>
#include "colo/limits.h"
#include "colo/offer.h"

static uint64_t bytes_of(char c)
{
    switch (c) {
    case 's':
        return COLO_OFFER_MIN_BYTES - 1;
    case 'm':
        return COLO_OFFER_MIN_BYTES;
    case 'b':
        return COLO_OFFER_MAX_BYTES;
    case 'l':
        return COLO_OFFER_MAX_BYTES + 1;
    }
    g_assert_not_reached();
}

static char *play(const char *steps)
{
    GString *out = g_string_new(steps);
    ColoOfferPolicy p = { 0 };

    for (char *c = out->str; *c; c++) {
        if (*c == 'a' || *c == 'd') {
            colo_offer_answered(&p, *c == 'a');
        } else if (colo_offer_choose(&p, bytes_of(*c))) {
            *c = g_ascii_toupper(*c);
        }
    }
    return g_string_free(out, false);
}

typedef struct Row {
    const char *name;
    const char *expected;
} Row;

static const Row rows[] = {
    { "sizes", "sMBls" },
    { "accepted", "MaMaBaMa" },
    { "not-answered-yet", "MMMMMMaaM" },
    { "declined", "MdmMdmmMdmmmmMdmmmmmmmmM" },
    /* Only what might have been offered counts. */
    { "small-between", "MdsslsmMdsmsssmllM" },
    { "accepted-again", "MdmMdmmMaMMdmMdmmM" },
    /* Some were on their way together. */
    { "declined-together", "MMMdddmmmmM" },
    { "declined-one-after-another", "MMMdmdmdmmmmM" },
    { "accepted-late", "MMMddmaM" },
    { "accepted-and-declined", "MMMdadmM" },
};

static void test_row(gconstpointer data)
{
    const Row *row = data;
    g_autofree char *steps = g_ascii_strdown(row->expected, -1);
    g_autofree char *found = play(steps);

    g_assert_cmpstr(found, ==, row->expected);
}

static uint32_t sent_before_offer(ColoOfferPolicy *p)
{
    uint32_t count = 0;

    while (!colo_offer_choose(p, COLO_OFFER_MIN_BYTES)) {
        count++;
        g_assert_cmpuint(count, <=, COLO_OFFER_SKIP_MAX);
    }
    return count;
}

/* Guests that never agree are still asked now and then, at a bounded price. */
static void test_never_accepted(void)
{
    ColoOfferPolicy p = { 0 };
    uint32_t expected = 0;

    for (int i = 0; i < 100; i++) {
        g_assert_cmpuint(sent_before_offer(&p), ==, expected);
        colo_offer_answered(&p, false);
        expected = CLAMP(2 * expected, 1, COLO_OFFER_SKIP_MAX);
    }
    g_assert_cmpuint(expected, ==, COLO_OFFER_SKIP_MAX);
    colo_offer_answered(&p, true);
    g_assert_cmpuint(sent_before_offer(&p), ==, 0);
    g_assert_cmpuint(sent_before_offer(&p), ==, 0);
}

/*
 * In whatever order answers come: a write is sent unoffered after a decline
 * only, and so many in a row at most.
 */
static void test_any_order(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    ColoOfferPolicy p = { 0 };
    unsigned open = 0, skipped = 0, offered = 0, sent = 0;
    bool was_declined = false;

    for (int i = 0; i < 1000000; i++) {
        if (open > 0 && g_rand_int_range(rand, 0, 10) == 0) {
            open--;
            was_declined = g_rand_int_range(rand, 0, 3) > 0;
            colo_offer_answered(&p, !was_declined);
            skipped = 0;
        } else if (colo_offer_choose(&p, COLO_OFFER_MAX_BYTES)) {
            open++;
            offered++;
        } else {
            sent++;
            skipped++;
            g_assert_true(was_declined);
            g_assert_cmpuint(skipped, <=, COLO_OFFER_SKIP_MAX);
        }
    }
    g_assert_cmpuint(offered, >, 100000);
    g_assert_cmpuint(sent, >, 100000);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *path = g_strconcat("/offer/", rows[i].name, NULL);

        g_test_add_data_func(path, &rows[i], test_row);
    }
    g_test_add_func("/offer/never-accepted", test_never_accepted);
    g_test_add_func("/offer/any-order", test_any_order);
    return g_test_run();
}
