/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page runs, notices, and the payloads of a few fields.
 */
#include "colo/machine.h"
#include "wire-test.h"

/* --------------------------------------------------------------- runs */

#define HUGE_PAGES (1ull << 40)

static const uint64_t page_counts[] = { 100, 0, 1, HUGE_PAGES };
enum { PAGE_MAX = 1000 };

static ColoRun decoded[COLO_RUNS_PER_FRAME_MAX];

static ColoWireError decode_runs_up_to(const uint8_t *in, size_t size,
                                       uint64_t page_count_max)
{
    uint32_t run_count = 77;
    uint64_t page_count = 77;
    size_t head_bytes = 77;
    ColoWireError error;

    error = colo_wire_get_runs(in, size, page_counts,
                               G_N_ELEMENTS(page_counts), page_count_max,
                               decoded, &run_count, &page_count, &head_bytes);
    if (error != COLO_WIRE_OK) {
        g_assert_cmpuint(run_count, ==, 0);
        g_assert_cmpuint(page_count, ==, 0);
        g_assert_cmpuint(head_bytes, ==, 0);
        return error;
    }
    g_assert_cmpuint(head_bytes, ==, 4 + run_count * COLO_WIRE_RUN_BYTES);
    return colo_wire_check_tail(size, head_bytes, page_count, 0);
}

static ColoWireError decode_runs(const uint8_t *in, size_t size)
{
    return decode_runs_up_to(in, size, PAGE_MAX);
}

static void test_runs_bytes(void)
{
    static const uint8_t expected[] = {
        0, 0, 0, 2,
        0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 3, 0, 0, 1, 2, 0, 0, 0, 0xff, 0xee, 0xdd, 0xcc, 0xbb,
    };
    static const ColoRun runs[] = { { 0, 100, 0 },
                                    { 3, 0x102, 0xffeeddccbbull } };
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    colo_wire_put_runs(bytes, runs, 2);
    g_assert_cmpmem(bytes->data, bytes->len, expected, sizeof(expected));
    assert_exact_size(decode_runs, bytes);
    g_assert_cmpuint(decoded[1].block, ==, 3);
    g_assert_cmpuint(decoded[1].count, ==, 0x102);
    g_assert_cmphex(decoded[1].first, ==, 0xffeeddccbbull);
}

static void test_run_rules(void)
{
    static const struct {
        ColoRun runs[2];
        uint32_t run_count;
        ColoWireError error;
    } cases[] = {
        { { { 0, 1, 0 } }, 1, COLO_WIRE_OK },
        { { { 0, 100, 0 } }, 1, COLO_WIRE_OK },
        { { { 0, 1, 99 } }, 1, COLO_WIRE_OK },
        { { { 2, 1, 0 } }, 1, COLO_WIRE_OK },
        { { { 3, 1000, HUGE_PAGES - 1000 } }, 1, COLO_WIRE_OK },
        { { { 0, 0, 0 } }, 1, COLO_WIRE_BAD_RUN },
        { { { 0, 101, 0 } }, 1, COLO_WIRE_BAD_RUN },
        { { { 0, 1, 100 } }, 1, COLO_WIRE_BAD_RUN },
        { { { 0, 2, 99 } }, 1, COLO_WIRE_BAD_RUN },
        { { { 0, 2, UINT64_MAX } }, 1, COLO_WIRE_BAD_RUN },
        { { { 0, UINT32_MAX, UINT64_MAX - 5 } }, 1, COLO_WIRE_BAD_RUN },
        { { { 1, 1, 0 } }, 1, COLO_WIRE_BAD_RUN },
        { { { 4, 1, 0 } }, 1, COLO_WIRE_BAD_RUN },
        { { { UINT32_MAX, 1, 0 } }, 1, COLO_WIRE_BAD_RUN },
        { { { 3, 1000, HUGE_PAGES - 999 } }, 1, COLO_WIRE_BAD_RUN },
        { { { 3, 1000, 5 } }, 1, COLO_WIRE_OK },
        { { { 3, 1001, 5 } }, 1, COLO_WIRE_BAD_COUNT },
        { { { 3, UINT32_MAX, 5 } }, 1, COLO_WIRE_BAD_COUNT },
        { { { 0, 5, 0 }, { 0, 5, 5 } }, 2, COLO_WIRE_OK },
        { { { 0, 5, 50 }, { 2, 1, 0 } }, 2, COLO_WIRE_OK },
        { { { 0, 5, 0 }, { 0, 5, 4 } }, 2, COLO_WIRE_BAD_RUN },
        { { { 0, 5, 0 }, { 0, 5, 0 } }, 2, COLO_WIRE_BAD_RUN },
        { { { 0, 5, 50 }, { 0, 5, 10 } }, 2, COLO_WIRE_BAD_RUN },
        { { { 2, 1, 0 }, { 0, 5, 50 } }, 2, COLO_WIRE_BAD_RUN },
        { { { 3, 500, 0 }, { 3, 500, 500 } }, 2, COLO_WIRE_OK },
        { { { 3, 500, 0 }, { 3, 501, 500 } }, 2, COLO_WIRE_BAD_COUNT },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();

        colo_wire_put_runs(bytes, cases[i].runs, cases[i].run_count);
        assert_wire(decode_copy(decode_runs, bytes->data, bytes->len),
                    cases[i].error);
    }
}

static void test_run_count(void)
{
    static const struct {
        uint32_t count;
        ColoWireError error;
    } cases[] = {
        { 0, COLO_WIRE_BAD_COUNT },
        { 1, COLO_WIRE_BAD_LENGTH },
        { COLO_RUNS_PER_FRAME_MAX, COLO_WIRE_BAD_LENGTH },
        { COLO_RUNS_PER_FRAME_MAX + 1, COLO_WIRE_BAD_COUNT },
        { 0x10000001, COLO_WIRE_BAD_COUNT },
        { UINT32_MAX, COLO_WIRE_BAD_COUNT },
    };
    uint8_t bytes[4];
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        store_be(bytes, cases[i].count, 4);
        assert_wire(decode_copy(decode_runs, bytes, sizeof(bytes)),
                    cases[i].error);
    }
}

/* Random ascending runs, up to the most that a frame may have. */
static uint32_t random_runs(GRand *rand, ColoRun *runs, uint32_t wanted,
                            uint64_t *page_count)
{
    uint64_t at = 0;
    uint32_t i;

    *page_count = 0;
    for (i = 0; i < wanted; i++) {
        at += g_rand_int_range(rand, 0, 3);
        runs[i] = (ColoRun) { 3, g_rand_int_range(rand, 1, 9), at };
        at += runs[i].count;
        *page_count += runs[i].count;
    }
    return wanted;
}

static void test_runs_round_trip(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(20);
    g_autofree ColoRun *runs = g_new0(ColoRun, COLO_RUNS_PER_FRAME_MAX);
    unsigned round;

    for (round = 0; round < 50; round++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        uint64_t pages, back_pages;
        uint32_t back_count, count;
        size_t head_bytes;

        count = random_runs(rand, runs, round == 0 ? COLO_RUNS_PER_FRAME_MAX :
                            g_rand_int_range(rand, 1, 300), &pages);
        colo_wire_put_runs(bytes, runs, count);
        assert_wire(decode_runs_up_to(bytes->data, bytes->len, pages - 1),
                    COLO_WIRE_BAD_COUNT);
        g_byte_array_append(bytes, (const uint8_t *)"data", 4);
        assert_wire(colo_wire_get_runs(bytes->data, bytes->len, page_counts,
                                       4, pages, decoded, &back_count,
                                       &back_pages, &head_bytes),
                    COLO_WIRE_OK);
        g_assert_cmpuint(back_pages, ==, pages);
        g_assert_cmpuint(head_bytes, ==, bytes->len - 4);
        g_assert_cmpmem(decoded, back_count * sizeof(ColoRun),
                        runs, count * sizeof(ColoRun));
    }
}

static void test_tail(void)
{
    static const struct {
        size_t size, head_bytes;
        uint64_t page_count;
        uint32_t unit_bytes;
        ColoWireError error;
    } cases[] = {
        { 20, 20, 5, 0, COLO_WIRE_OK },
        { 21, 20, 5, 0, COLO_WIRE_TRAILING },
        { 100, 20, 5, 16, COLO_WIRE_OK },
        { 99, 20, 5, 16, COLO_WIRE_BAD_LENGTH },
        { 101, 20, 5, 16, COLO_WIRE_TRAILING },
        { 20, 20, UINT32_MAX, 65536, COLO_WIRE_BAD_LENGTH },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        assert_wire(colo_wire_check_tail(cases[i].size, cases[i].head_bytes,
                                         cases[i].page_count,
                                         cases[i].unit_bytes),
                    cases[i].error);
    }
}

static void put_no_runs(void)
{
    if (g_test_subprocess()) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();

        colo_wire_put_runs(bytes, decoded, 0);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*run_count > 0*");
}

/* ------------------------------------------------------------- notice */

static ColoWireError decode_notice(const uint8_t *in, size_t size)
{
    ColoNotice n;
    ColoWireError error;

    memset(&n, 0xff, sizeof(n));
    error = colo_wire_get_notice(in, size, &n);
    g_assert_nonnull(memchr(n.text, 0, sizeof(n.text)));
    return error;
}

static void check_notice(uint32_t cause, const char *text,
                         const char *expected)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    ColoNotice n;

    colo_wire_put_notice(bytes, cause, text);
    g_assert_cmpuint(bytes->len, <=, colo_wire_max_length(COLO_MSG_REFUSE));
    assert_wire(colo_wire_get_notice(bytes->data, bytes->len, &n),
                COLO_WIRE_OK);
    g_assert_cmpuint(n.cause, ==, cause);
    g_assert_cmpstr(n.text, ==, expected);
    assert_exact_size(decode_notice, bytes);
}

static void test_notice_text(void)
{
    g_autofree char *max = g_strnfill(COLO_TEXT_MAX_BYTES, 'x');
    g_autofree char *over = g_strnfill(COLO_TEXT_MAX_BYTES + 1, 'x');
    g_autofree char *cut = g_strnfill(COLO_TEXT_MAX_BYTES - 1, 'x');
    g_autofree char *split = g_strconcat(cut, "\xc3\xa9", NULL);

    check_notice(COLO_CAUSE_NONE, NULL, "");
    check_notice(COLO_CAUSE_LOCAL, "", "");
    check_notice(COLO_CAUSE__MAX - 1, "d\xc3\xa9j\xc3\xa0",
                 "d\xc3\xa9j\xc3\xa0");
    check_notice(COLO_CAUSE_LOCAL, "a\nb\tc\x7f" "d\x1b", "a b c d ");
    check_notice(COLO_CAUSE_LOCAL, "a\xff" "b", "a\xef\xbf\xbd" "b");
    check_notice(COLO_CAUSE_LOCAL, max, max);
    check_notice(COLO_CAUSE_LOCAL, over, max);
    check_notice(COLO_CAUSE_LOCAL, split, cut);
}

static void test_notice_errors(void)
{
    static const struct {
        const char *text;
        unsigned at, bytes;
        uint64_t value;
        ColoWireError error;
    } cases[] = {
        { "abc", 0, 4, COLO_CAUSE__MAX - 1, COLO_WIRE_OK },
        { "abc", 0, 4, COLO_CAUSE__MAX, COLO_WIRE_BAD_VALUE },
        { "abc", 0, 4, UINT32_MAX, COLO_WIRE_BAD_VALUE },
        { "abc", 4, 2, 2, COLO_WIRE_TRAILING },
        { "abc", 4, 2, 4, COLO_WIRE_BAD_LENGTH },
        { "abc", 4, 2, COLO_TEXT_MAX_BYTES, COLO_WIRE_BAD_LENGTH },
        { "abc", 4, 2, COLO_TEXT_MAX_BYTES + 1, COLO_WIRE_BAD_STRING },
        { "abc", 4, 2, 0xffff, COLO_WIRE_BAD_STRING },
        { "abc", 7, 1, 0, COLO_WIRE_BAD_STRING },
        { "abc", 7, 1, '\n', COLO_WIRE_BAD_STRING },
        { "abc", 8, 1, 0xc3, COLO_WIRE_BAD_STRING },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();

        colo_wire_put_notice(bytes, COLO_CAUSE_LOCAL, cases[i].text);
        store_be(bytes->data + cases[i].at, cases[i].value, cases[i].bytes);
        assert_wire(decode_copy(decode_notice, bytes->data, bytes->len),
                    cases[i].error);
    }
}

/* --------------------------------------------------------- few fields */

static ColoWireError decode_request(const uint8_t *in, size_t size)
{
    uint32_t reason;

    return colo_wire_get_request(in, size, &reason);
}

static void test_request(void)
{
    uint32_t reason, back;

    for (reason = 0; reason < COLO_REASON__MAX + 3; reason++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        bool good = reason != COLO_REASON_NONE && reason < COLO_REASON__MAX;

        colo_wire_put_request(bytes, reason);
        g_assert_cmpuint(bytes->len, ==, 4);
        assert_wire(colo_wire_get_request(bytes->data, bytes->len, &back),
                    good ? COLO_WIRE_OK : COLO_WIRE_BAD_VALUE);
        if (good) {
            g_assert_cmpuint(back, ==, reason);
            assert_exact_size(decode_request, bytes);
        }
    }
}

static ColoWireError decode_reply(const uint8_t *in, size_t size)
{
    ColoReply r;

    return colo_wire_get_reply(in, size, &r);
}

static void test_reply(void)
{
    static const struct {
        ColoReply reply;
        ColoWireError error;
    } cases[] = {
        { { 0, 0 }, COLO_WIRE_OK },
        { { 1, 1 }, COLO_WIRE_OK },
        { { UINT64_MAX, UINT32_MAX }, COLO_WIRE_OK },
        { { 1, 0 }, COLO_WIRE_BAD_VALUE },
        { { 0, 1 }, COLO_WIRE_BAD_VALUE },
        { { 6, 7 }, COLO_WIRE_BAD_VALUE },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        ColoReply back;

        colo_wire_put_reply(bytes, &cases[i].reply);
        assert_wire(colo_wire_get_reply(bytes->data, bytes->len, &back),
                    cases[i].error);
        if (cases[i].error == COLO_WIRE_OK) {
            g_assert_cmpuint(back.dirty_pages, ==,
                             cases[i].reply.dirty_pages);
            g_assert_cmpuint(back.dirty_frames, ==,
                             cases[i].reply.dirty_frames);
            assert_exact_size(decode_reply, bytes);
        }
    }
}

static ColoWireError decode_end(const uint8_t *in, size_t size)
{
    ColoEnd e;

    return colo_wire_get_end(in, size, &e);
}

static void test_end(void)
{
    static const struct {
        ColoEnd end;
        ColoWireError error;
    } cases[] = {
        { { 0, 0, 0, 0 }, COLO_WIRE_OK },
        { { 1, 2, 3, 4 }, COLO_WIRE_OK },
        { { UINT64_MAX, COLO_DEVICE_MAX_BYTES, UINT32_MAX, UINT64_MAX },
          COLO_WIRE_OK },
        { { 1, COLO_DEVICE_MAX_BYTES + 1ull, 3, 4 }, COLO_WIRE_BAD_VALUE },
        { { 1, UINT64_MAX, 3, 4 }, COLO_WIRE_BAD_VALUE },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        ColoEnd back;

        colo_wire_put_end(bytes, &cases[i].end);
        assert_wire(colo_wire_get_end(bytes->data, bytes->len, &back),
                    cases[i].error);
        if (cases[i].error == COLO_WIRE_OK) {
            g_assert_cmpuint(back.page_count, ==, cases[i].end.page_count);
            g_assert_cmpuint(back.device_bytes, ==,
                             cases[i].end.device_bytes);
            g_assert_cmpuint(back.frame_count, ==, cases[i].end.frame_count);
            g_assert_cmphex(back.checksum, ==, cases[i].end.checksum);
            assert_exact_size(decode_end, bytes);
        }
    }
}

static ColoWireError decode_start(const uint8_t *in, size_t size)
{
    bool paused;

    return colo_wire_get_start(in, size, &paused);
}

static void test_start(void)
{
    static const uint32_t bad[] = { 2, 256, 1u << 31, UINT32_MAX };
    unsigned i;

    for (i = 0; i < 2; i++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        bool paused = !i;

        colo_wire_put_start(bytes, i);
        assert_wire(colo_wire_get_start(bytes->data, bytes->len, &paused),
                    COLO_WIRE_OK);
        g_assert_cmpint(paused, ==, i);
        assert_exact_size(decode_start, bytes);
    }
    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        uint8_t bytes[4];

        store_be(bytes, bad[i], 4);
        assert_wire(decode_copy(decode_start, bytes, 4), COLO_WIRE_BAD_VALUE);
    }
}

/* ---------------------------------------------------- offer and answer */

/* Where its fields begin. */
enum { OFFER_DISK = 8, OFFER_OFFSET = 16, OFFER_BYTES = 24 };

static ColoWireError decode_offer(const uint8_t *in, size_t size)
{
    ColoOffer o;

    return colo_wire_get_offer(in, size, &o);
}

static GByteArray *offer_bytes(void)
{
    const ColoOffer o = {
        .id = 0x0102030405060708ull, .disk = 0x1112131415161718ull,
        .offset = 0x2122232425262728ull, .bytes = 0x00323334,
        .hash = { 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
                  0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf },
    };
    GByteArray *bytes = g_byte_array_new();

    colo_wire_put_offer(bytes, &o);
    return bytes;
}

static void test_offer_bytes(void)
{
    static const uint8_t expected[] = {
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
        0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
        0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28,
        0x00, 0x32, 0x33, 0x34,
        0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
        0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
    };
    g_autoptr(GByteArray) bytes = offer_bytes();
    ColoOffer back;

    g_assert_cmpmem(bytes->data, bytes->len, expected, sizeof(expected));
    assert_exact_size(decode_offer, bytes);
    assert_wire(colo_wire_get_offer(bytes->data, bytes->len, &back),
                COLO_WIRE_OK);
    g_assert_cmphex(back.id, ==, 0x0102030405060708ull);
    g_assert_cmphex(back.disk, ==, 0x1112131415161718ull);
    g_assert_cmphex(back.offset, ==, 0x2122232425262728ull);
    g_assert_cmphex(back.bytes, ==, 0x00323334);
    g_assert_cmpmem(back.hash, sizeof(back.hash), expected + 28, 16);
}

static void test_offer_values(void)
{
    static const struct {
        unsigned at, bytes;
        uint64_t value;
        ColoWireError error;
    } cases[] = {
        { 0, 8, 0, COLO_WIRE_OK },
        { 0, 8, UINT64_MAX, COLO_WIRE_OK },
        { OFFER_DISK, 8, 1, COLO_WIRE_OK },
        { OFFER_DISK, 8, UINT64_MAX, COLO_WIRE_OK },
        { OFFER_DISK, 8, 0, COLO_WIRE_BAD_VALUE },
        { OFFER_OFFSET, 8, 0, COLO_WIRE_OK },
        { OFFER_OFFSET, 8, INT64_MAX - 0x00323334, COLO_WIRE_OK },
        { OFFER_OFFSET, 8, INT64_MAX - 0x00323333, COLO_WIRE_BAD_VALUE },
        { OFFER_OFFSET, 8, INT64_MAX, COLO_WIRE_BAD_VALUE },
        { OFFER_OFFSET, 8, 1ull << 63, COLO_WIRE_BAD_VALUE },
        { OFFER_OFFSET, 8, UINT64_MAX, COLO_WIRE_BAD_VALUE },
        { OFFER_BYTES, 4, COLO_OFFER_MIN_BYTES, COLO_WIRE_OK },
        { OFFER_BYTES, 4, COLO_OFFER_MAX_BYTES, COLO_WIRE_OK },
        { OFFER_BYTES, 4, 0, COLO_WIRE_BAD_VALUE },
        { OFFER_BYTES, 4, COLO_OFFER_MIN_BYTES - 1, COLO_WIRE_BAD_VALUE },
        { OFFER_BYTES, 4, COLO_OFFER_MAX_BYTES + 1, COLO_WIRE_BAD_VALUE },
        { OFFER_BYTES, 4, 1u << 31, COLO_WIRE_BAD_VALUE },
        { OFFER_BYTES, 4, UINT32_MAX, COLO_WIRE_BAD_VALUE },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) bytes = offer_bytes();

        store_be(bytes->data + cases[i].at, cases[i].value, cases[i].bytes);
        assert_wire(decode_copy(decode_offer, bytes->data, bytes->len),
                    cases[i].error);
        /* too short is told first: what is missing has no value */
        assert_wire(decode_copy(decode_offer, bytes->data, bytes->len - 1),
                    COLO_WIRE_BAD_LENGTH);
    }
}

static ColoWireError decode_answer(const uint8_t *in, size_t size)
{
    ColoAnswer a;

    return colo_wire_get_answer(in, size, &a);
}

static void test_answer(void)
{
    static const uint32_t bad[] = { 2, 256, 1u << 31, UINT32_MAX };
    unsigned i;

    for (i = 0; i < 2; i++) {
        const ColoAnswer a = { 0x0102030405060708ull, i };
        const uint8_t expected[] = { 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, i };
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        ColoAnswer back = { .is_accepted = !i };

        colo_wire_put_answer(bytes, &a);
        g_assert_cmpmem(bytes->data, bytes->len, expected, sizeof(expected));
        assert_wire(colo_wire_get_answer(bytes->data, bytes->len, &back),
                    COLO_WIRE_OK);
        g_assert_cmphex(back.id, ==, a.id);
        g_assert_cmpint(back.is_accepted, ==, i);
        assert_exact_size(decode_answer, bytes);
    }
    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        uint8_t bytes[12] = { 0 };

        store_be(bytes + 8, bad[i], 4);
        assert_wire(decode_copy(decode_answer, bytes, sizeof(bytes)),
                    COLO_WIRE_BAD_VALUE);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wire/runs/bytes", test_runs_bytes);
    g_test_add_func("/wire/runs/rules", test_run_rules);
    g_test_add_func("/wire/runs/count", test_run_count);
    g_test_add_func("/wire/runs/round-trip", test_runs_round_trip);
    g_test_add_func("/wire/runs/tail", test_tail);
    g_test_add_func("/wire/runs/bug", put_no_runs);
    g_test_add_func("/wire/notice/text", test_notice_text);
    g_test_add_func("/wire/notice/errors", test_notice_errors);
    g_test_add_func("/wire/request", test_request);
    g_test_add_func("/wire/reply", test_reply);
    g_test_add_func("/wire/end", test_end);
    g_test_add_func("/wire/start", test_start);
    g_test_add_func("/wire/offer/bytes", test_offer_bytes);
    g_test_add_func("/wire/offer/values", test_offer_values);
    g_test_add_func("/wire/answer", test_answer);
    return g_test_run();
}
