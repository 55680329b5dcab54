/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unit tests of how much the secondary may say before the primary listens. */
#include <glib.h>
#include "colo/patience.h"

enum { KIB = 1 << 10, NOW_US = 1000000 };

typedef struct Row {
    const char *name;
    size_t read_bytes;
    ColoPatienceHeld held;
    uint32_t bytes;            /* expected */
    int64_t wait_us;           /* expected, 0: never due */
} Row;

static const Row rows[] = {
    { "nothing-held", 60 * KIB, { 0, 0 }, 0, 0 },
    { "small-lead", 60 * KIB, { 0, 63 * KIB }, 0, 0 },
    { "lead", 60 * KIB, { 0, 64 * KIB }, 32 * KIB, COLO_PATIENCE_AHEAD_US },
    { "half-of-lead", 60 * KIB, { 0, 300 * KIB }, 150 * KIB,
      COLO_PATIENCE_AHEAD_US },
    { "most-of-lead", 60 * KIB, { 0, 8192 * KIB }, COLO_PATIENCE_AHEAD_BYTES,
      COLO_PATIENCE_AHEAD_US },
    /* A held frame is waited for, however far ahead other flows are. */
    { "lead-and-answer", 60 * KIB, { 66, 8192 * KIB }, 0, 0 },
    { "lead-and-frame", 60 * KIB, { 64 * KIB, 8192 * KIB }, 0, 0 },
    { "behind-a-little", 60 * KIB, { 255 * KIB, 0 }, 0, 0 },
    { "behind", 60 * KIB, { 256 * KIB, 0 }, 32 * KIB,
      COLO_PATIENCE_BEHIND_US },
    { "far-behind", 60 * KIB, { 8192 * KIB, 100 }, COLO_PATIENCE_BEHIND_BYTES,
      COLO_PATIENCE_BEHIND_US },
    { "no-bulk", COLO_PATIENCE_BULK_BYTES - 1, { 0, 8192 * KIB }, 0, 0 },
    { "no-bulk-behind", 66, { 8192 * KIB, 0 }, 0, 0 },
    { "bulk", COLO_PATIENCE_BULK_BYTES, { 0, 64 * KIB }, 32 * KIB,
      COLO_PATIENCE_AHEAD_US },
    { "beyond-32-bits", 60 * KIB, { 0, 1ull << 40 },
      COLO_PATIENCE_AHEAD_BYTES, COLO_PATIENCE_AHEAD_US },
};

static void test_row(gconstpointer data)
{
    const Row *row = data;
    int64_t due_us = row->wait_us ? NOW_US + row->wait_us : INT64_MAX;
    ColoPatience p = { .bytes = 1, .due_us = 1 };

    colo_patience_read(&p, row->read_bytes, row->held, NOW_US);
    g_assert_cmpuint(p.bytes, ==, row->bytes);
    g_assert_cmpint(p.due_us, ==, due_us);
}

static ColoPatience patient(void)
{
    ColoPatience p;

    colo_patience_init(&p);
    colo_patience_read(&p, 60 * KIB, (ColoPatienceHeld) { 0, 300 * KIB },
                       NOW_US);
    g_assert_cmpuint(p.bytes, ==, 150 * KIB);
    return p;
}

static void test_init(void)
{
    ColoPatience p;

    colo_patience_init(&p);
    g_assert_cmpuint(p.bytes, ==, 0);
    g_assert_cmpint(p.due_us, ==, INT64_MAX);
    colo_patience_tick(&p, INT64_MAX - 1);
    g_assert_cmpuint(p.bytes, ==, 0);
}

/* As long as there is a lead nothing changes, so nobody is told anything. */
static void test_lead_shrinks(void)
{
    ColoPatience p = patient();

    colo_patience_look(&p, (ColoPatienceHeld) { 0, 64 * KIB });
    g_assert_cmpuint(p.bytes, ==, 150 * KIB);
    colo_patience_look(&p, (ColoPatienceHeld) { 0, 63 * KIB });
    g_assert_cmpuint(p.bytes, ==, 0);
    g_assert_cmpint(p.due_us, ==, INT64_MAX);
}

static void test_primary_holds(void)
{
    ColoPatience p = patient();

    colo_patience_look(&p, (ColoPatienceHeld) { 66, 300 * KIB });
    g_assert_cmpuint(p.bytes, ==, 0);
}

/* Only a read makes it patient. */
static void test_look_adds_nothing(void)
{
    ColoPatience p = patient();

    colo_patience_look(&p, (ColoPatienceHeld) { 66, 0 });
    colo_patience_look(&p, (ColoPatienceHeld) { 0, 300 * KIB });
    g_assert_cmpuint(p.bytes, ==, 0);
    p = patient();
    colo_patience_look(&p, (ColoPatienceHeld) { 0, 8192 * KIB });
    g_assert_cmpuint(p.bytes, ==, 150 * KIB);
}

static void test_ends(void)
{
    ColoPatience p = patient();

    colo_patience_tick(&p, NOW_US + COLO_PATIENCE_AHEAD_US - 1);
    g_assert_cmpuint(p.bytes, ==, 150 * KIB);
    colo_patience_tick(&p, NOW_US + COLO_PATIENCE_AHEAD_US);
    g_assert_cmpuint(p.bytes, ==, 0);
    g_assert_cmpint(p.due_us, ==, INT64_MAX);
}

/* Each read begins the time anew. */
static void test_goes_on(void)
{
    ColoPatience p = patient();
    int64_t later_us = NOW_US + COLO_PATIENCE_AHEAD_US;

    colo_patience_read(&p, 60 * KIB, (ColoPatienceHeld) { 0, 200 * KIB },
                       later_us - 1);
    colo_patience_tick(&p, later_us);
    g_assert_cmpuint(p.bytes, ==, 100 * KIB);
}

/* One read in bulk, and so many without. */
static bool bulk_after(unsigned calm_reads)
{
    ColoPatience p = patient();

    for (unsigned i = 0; i < calm_reads; i++) {
        colo_patience_read(&p, 66, (ColoPatienceHeld) { 0, 300 * KIB },
                           NOW_US);
    }
    return p.bulk;
}

static void test_bulk_ends(void)
{
    g_assert_true(bulk_after(0));
    g_assert_true(bulk_after(COLO_PATIENCE_CALM_READS - 1));
    g_assert_false(bulk_after(COLO_PATIENCE_CALM_READS));
    g_assert_false(bulk_after(1000));
}

/* What the primary sends, or time, says nothing of the secondary's bytes. */
static void test_bulk_stays(void)
{
    ColoPatience p = patient();

    colo_patience_look(&p, (ColoPatienceHeld) { 66, 0 });
    g_assert_true(p.bulk);
    colo_patience_tick(&p, INT64_MAX - 1);
    g_assert_true(p.bulk);
    colo_patience_init(&p);
    g_assert_false(p.bulk);
}

/* Calm reads between pieces of bulk do not add up. */
static void test_bulk_again(void)
{
    ColoPatience p = patient();
    ColoPatienceHeld lead = { 0, 300 * KIB };

    for (int i = 0; i < 3 * COLO_PATIENCE_CALM_READS; i++) {
        colo_patience_read(&p, i % 2 ? 60 * KIB : 66, lead, NOW_US);
        g_assert_true(p.bulk);
    }
}

/* Much at once that nothing is held of: each piece is waited for. */
static void test_no_bulk(void)
{
    ColoPatience p;

    colo_patience_init(&p);
    for (int i = 0; i < 100; i++) {
        colo_patience_read(&p, i % 2 ? 60 * KIB : 66,
                           (ColoPatienceHeld) { 0, 0 }, NOW_US);
        g_assert_false(p.bulk);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *path = g_strconcat("/patience/read/", rows[i].name,
                                            NULL);

        g_test_add_data_func(path, &rows[i], test_row);
    }
    g_test_add_func("/patience/init", test_init);
    g_test_add_func("/patience/lead-shrinks", test_lead_shrinks);
    g_test_add_func("/patience/primary-holds", test_primary_holds);
    g_test_add_func("/patience/look-adds-nothing", test_look_adds_nothing);
    g_test_add_func("/patience/ends", test_ends);
    g_test_add_func("/patience/goes-on", test_goes_on);
    g_test_add_func("/patience/bulk-ends", test_bulk_ends);
    g_test_add_func("/patience/bulk-stays", test_bulk_stays);
    g_test_add_func("/patience/bulk-again", test_bulk_again);
    g_test_add_func("/patience/no-bulk", test_no_bulk);
    return g_test_run();
}
