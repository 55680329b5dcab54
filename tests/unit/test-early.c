/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests that came before the takeover: which are kept, and how long. */
#include "../net/frames.h"
#include "colo/early.h"

/* A segment of a client: @size bytes of data, its first one is @mark. */
static ColoNetFrame *request(uint8_t mark, uint32_t size)
{
    NetPath path = {
        .family = 4, .src = { 192, 0, 2, 99 }, .dst = { 192, 0, 2, 1 },
        .src_port = 40000, .dst_port = 80,
    };
    NetManner manner = { .ttl = 64 };
    g_autofree uint8_t *data = g_malloc0(size);
    NetTcp tcp = {
        .seq = 1, .ack = 1, .flags = NET_ACK, .window = 100, .data = data,
        .data_bytes = size,
    };

    data[0] = mark;
    return net_make_tcp(&path, &manner, &tcp);
}

static uint8_t mark_of(ColoNetFrame *f)
{
    NetView v;

    g_assert_null(net_read(f, &v));
    return v.data[0];
}

/* Those with marks from @first to @last come out, and then nothing. */
static void check_take(ColoEarly *e, int64_t now_us, unsigned first,
                       unsigned last)
{
    ColoNetFrame *f = colo_early_take(e, now_us), *next;

    for (; f; f = next, first++) {
        next = f->next;
        g_assert_cmpuint(mark_of(f), ==, first);
        colo_net_frame_free(f);
    }
    g_assert_cmpuint(first, ==, last + 1);
    g_assert_cmpuint(colo_early_bytes(e), ==, 0);
    g_assert_null(colo_early_take(e, now_us));
}

static void test_order(void)
{
    ColoEarly *e = colo_early_new();
    unsigned i;

    for (i = 1; i <= 3; i++) {
        colo_early_add(e, request(i, 10), i);
    }
    check_take(e, 3, 1, 3);
    colo_early_add(e, request(4, 10), 4);
    check_take(e, 4, 4, 4);
    colo_early_add(e, request(5, 10), 5);       /* for free() to free */
    colo_early_free(e);
}

static void test_age(void)
{
    ColoEarly *e = colo_early_new();

    colo_early_add(e, request(1, 10), 0);
    colo_early_add(e, request(2, 10), 1);
    colo_early_add(e, request(3, 10), COLO_EARLY_MAX_US);
    check_take(e, COLO_EARLY_MAX_US, 2, 3);
    colo_early_add(e, request(4, 10), 0);
    colo_early_tick(e, COLO_EARLY_MAX_US - 1);
    g_assert_cmpuint(colo_early_bytes(e), >, 0);
    colo_early_tick(e, COLO_EARLY_MAX_US);
    g_assert_cmpuint(colo_early_bytes(e), ==, 0);
    colo_early_add(e, request(5, 10), 0);
    check_take(e, COLO_EARLY_MAX_US, 1, 0);
    colo_early_free(e);
}

static void test_bytes(void)
{
    ColoEarly *e = colo_early_new();
    unsigned i;

    for (i = 1; i <= 10; i++) {
        colo_early_add(e, request(i, 60000), i);
        g_assert_cmpuint(colo_early_bytes(e), <=, COLO_EARLY_BYTES_MAX);
    }
    check_take(e, 10, 7, 10);
    for (i = 1; i <= 20000; i++) {
        colo_early_add(e, request(1, 1), i);
        g_assert_cmpuint(colo_early_bytes(e), <=, COLO_EARLY_BYTES_MAX);
    }
    colo_early_free(e);
}

static void test_only_tcp(void)
{
    ColoEarly *e = colo_early_new();
    NetPath path = { .family = 4, .src = { 1 }, .dst = { 2 } };
    NetManner manner = { .ttl = 64 };
    uint8_t body[40] = { [12] = 0x50 };

    colo_early_add(e, net_make_ip(&path, &manner, NET_PROTO_UDP, body, 20),
                   0);
    colo_early_add(e, net_make_ip(&path, &manner, NET_PROTO_ICMP, body, 20),
                   0);
    colo_early_add(e, net_make_raw(&path, &manner, NET_ETHERTYPE_ARP, body,
                                   28), 0);
    colo_early_add(e, net_make_part(&path, &manner, NET_PROTO_TCP,
                                    (NetPart) { 0, true }, body, 40), 0);
    g_assert_null(colo_early_take(e, 0));
    colo_early_free(e);
}

/* It is the guest's own address that it sends from, never a group's. */
static void test_address(void)
{
    static const uint8_t first[12] = { [6] = 2, [11] = 1 };
    static const uint8_t second[12] = { [6] = 2, [11] = 2 };
    static const uint8_t group[12] = { [6] = 3, [11] = 3 };
    static const uint8_t nobody[6];
    ColoEarly *e = colo_early_new();

    g_assert_false(colo_early_wants(e, nobody, 6));
    colo_early_learn(e, group, sizeof(group));
    g_assert_false(colo_early_wants(e, group + 6, 6));
    colo_early_learn(e, first, sizeof(first));
    g_assert_true(colo_early_wants(e, first + 6, 6));
    g_assert_false(colo_early_wants(e, first + 6, 5));
    g_assert_false(colo_early_wants(e, second + 6, 6));
    colo_early_learn(e, second, sizeof(second));
    g_assert_false(colo_early_wants(e, first + 6, 6));
    g_assert_true(colo_early_wants(e, second + 6, 6));
    colo_early_free(e);
}

/* A guest may send less than two addresses; nothing behind it is read. */
static void test_short(void)
{
    g_autofree uint8_t *eth = g_malloc0(11);
    ColoEarly *e = colo_early_new();

    colo_early_learn(e, eth, 11);
    g_assert_false(colo_early_wants(e, eth, 6));
    colo_early_learn(e, eth, 1);
    g_assert_false(colo_early_wants(e, eth, 6));
    colo_early_free(e);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/early/order", test_order);
    g_test_add_func("/early/age", test_age);
    g_test_add_func("/early/bytes", test_bytes);
    g_test_add_func("/early/only-tcp", test_only_tcp);
    g_test_add_func("/early/address", test_address);
    g_test_add_func("/early/short", test_short);
    return g_test_run();
}
