/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first inputs of every fuzz target: small valid messages.
 *
 *   fuzz-seeds DIRECTORY           writes DIRECTORY/<target>/seed-<name>
 *   fuzz-seeds --check DIRECTORY   compares with what is there
 *
 * The check is a test: seeds that the encoders no longer write mean that the
 * wire format changed, and with it COLO_WIRE_VERSION has to.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "colo/machine.h"
#include "colo/pages.h"
#include "fuzz.h"
#include "seeds.h"

static const char *directory;
static bool check_only;
static unsigned differing;

static void check(const char *path, const GByteArray *a)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    gsize size;

    if (!g_file_get_contents(path, &text, &size, &error)) {
        fprintf(stderr, "%s\n", error->message);
        differing++;
    } else if (size != a->len || memcmp(text, a->data, size) != 0) {
        fprintf(stderr, "%s: the encoder writes other bytes\n", path);
        differing++;
    }
}

void seed_save(const char *target, const char *name, const GByteArray *a)
{
    g_autofree char *dir = g_build_filename(directory, target, NULL);
    g_autofree char *file = g_strconcat("seed-", name, NULL);
    g_autofree char *path = g_build_filename(dir, file, NULL);
    g_autoptr(GError) error = NULL;

    if (check_only) {
        check(path, a);
    } else if (g_mkdir_with_parents(dir, 0777) < 0 ||
        !g_file_set_contents(path, (const char *)a->data, a->len, &error)) {
        fprintf(stderr, "cannot write %s: %s\n", path,
                error ? error->message : g_strerror(errno));
        exit(1);
    }
}

static void append_frame(GByteArray *out, ColoMsgType type, uint32_t *sequence,
                         uint32_t flags, const GByteArray *payload)
{
    const ColoFrame f = {
        .version = COLO_WIRE_VERSION, .type = type, .epoch = 2,
        .sequence = (*sequence)++, .flags = flags,
        .length = payload ? payload->len : 0,
    };
    uint8_t header[COLO_WIRE_HEADER_BYTES];

    colo_wire_put_header(header, &f);
    g_byte_array_append(out, header, sizeof(header));
    if (payload) {
        g_byte_array_append(out, payload->data, payload->len);
    }
}

static void seed_headers(void)
{
    unsigned t;

    for (t = COLO_MSG_HELLO; t < COLO_MSG__MAX; t++) {
        g_autoptr(GByteArray) a = g_byte_array_new();
        uint32_t sequence = t * 1000;

        append_frame(a, t, &sequence, 0, NULL);
        seed_save("header", colo_msg_name(t), a);
    }
}

static const ColoBlockInfo blocks[] = {
    { "pc.ram", 70 * 1024, 1024 }, { "pc.bios", 9 * 1024, 1024 },
};
static const ColoRun runs[] = { { 0, 2, 3 }, { 0, 1, 63 }, { 3, 5, 0 } };
static const ColoRun toy_runs[] = { { 0, 2, 63 }, { 1, 1, 8 } };

static GByteArray *hello_bytes(uint32_t block_count)
{
    const ColoHello h = {
        .min_version = 1, .max_version = 1,
        .features = COLO_FEATURE_PAGE_HASH,
        .key = "0123456789abcdef0123456789abcde", .build = "10.0.13 (Debian)",
        .machine = "pc-q35-10.0", .blocks = (ColoBlockInfo *)blocks,
        .block_count = block_count,
    };
    GByteArray *a = g_byte_array_new();

    colo_wire_put_hello(a, &h);
    return a;
}

static GByteArray *runs_bytes(const ColoRun *r, uint32_t count,
                              size_t tail_bytes)
{
    GByteArray *a = g_byte_array_new();

    colo_wire_put_runs(a, r, count);
    while (tail_bytes-- > 0) {
        g_byte_array_append(a, (const uint8_t *)"d", 1);
    }
    return a;
}

static void seed_offers(void)
{
    const ColoOffer offer = {
        .id = 7, .disk = 0x1234567890ull, .offset = 1 << 20, .bytes = 65536,
        .hash = { 0xde, 0xad, [15] = 1 },
    };
    g_autoptr(GByteArray) offered = g_byte_array_new();
    g_autoptr(GByteArray) accepted = g_byte_array_new();
    g_autoptr(GByteArray) declined = g_byte_array_new();
    g_autoptr(GByteArray) stream = g_byte_array_new();
    uint32_t sequence = 0;

    colo_wire_put_offer(offered, &offer);
    seed_save("offer", "offer", offered);
    colo_wire_put_answer(accepted, &(ColoAnswer) { 7, true });
    seed_save("answer", "accepted", accepted);
    colo_wire_put_answer(declined, &(ColoAnswer) { 7, false });
    seed_save("answer", "declined", declined);
    g_byte_array_append(stream, &(uint8_t) { 0 }, 1);
    append_frame(stream, COLO_MSG_OFFER, &sequence, 0, offered);
    append_frame(stream, COLO_MSG_ANSWER, &sequence, 0, accepted);
    append_frame(stream, COLO_MSG_OFFER, &sequence, 0, offered);
    append_frame(stream, COLO_MSG_ANSWER, &sequence, 0, declined);
    seed_save("stream", "offers", stream);
}

static void seed_payloads(void)
{
    g_autoptr(GByteArray) hello = hello_bytes(2), ready = hello_bytes(0);
    g_autoptr(GByteArray) notice = g_byte_array_new();
    g_autoptr(GByteArray) table = g_byte_array_new();
    g_autoptr(GByteArray) reply = g_byte_array_new();
    g_autoptr(GByteArray) request = g_byte_array_new();
    g_autoptr(GByteArray) end = g_byte_array_new();
    g_autoptr(GByteArray) start = g_byte_array_new();
    g_autoptr(GByteArray) head = runs_bytes(runs, 3, 0);

    seed_save("hello", "hello", hello);
    seed_save("hello", "ready", ready);
    colo_wire_put_notice(notice, COLO_CAUSE_LOCAL, "d\xc3\xa9j\xc3\xa0 vu");
    seed_save("notice", "notice", notice);
    colo_wire_put_blocks(table, blocks, 2);
    seed_save("blocks", "blocks", table);
    colo_wire_put_reply(reply, &(ColoReply) { 300, 2 });
    seed_save("reply", "reply", reply);
    colo_wire_put_request(request, COLO_REASON_USER);
    seed_save("request", "request", request);
    colo_wire_put_end(end, &(ColoEnd) { 300, 70000, 3, 0x1234567890ull });
    seed_save("end", "end", end);
    colo_wire_put_start(start, true);
    seed_save("start", "start", start);
    seed_save("runs", "runs", head);
}

/* One checkpoint as the stream target reads it, in strict mode or not. */
static void seed_stream(bool strict)
{
    const ColoMsgType bare[] = { COLO_MSG_RECEIVED, COLO_MSG_LOADED,
                                 COLO_MSG_PING, COLO_MSG_PONG };
    g_autoptr(GByteArray) a = g_byte_array_new();
    g_autoptr(GByteArray) hello = hello_bytes(2);
    g_autoptr(GByteArray) table = g_byte_array_new();
    g_autoptr(GByteArray) dirty = runs_bytes(toy_runs, 2, 0);
    g_autoptr(GByteArray) hashed = runs_bytes(toy_runs, 2, 3 * 16);
    g_autoptr(GByteArray) pages = runs_bytes(toy_runs, 2, 3 * 1024);
    g_autoptr(GByteArray) end = g_byte_array_new();
    g_autoptr(ColoChecksum) sum = colo_checksum_new();
    uint32_t sequence = 0;
    unsigned i;

    colo_wire_put_blocks(table, blocks, 2);
    colo_checksum_add(sum, pages->data, pages->len);
    colo_checksum_add(sum, pages->data, pages->len);
    colo_checksum_add(sum, table->data, table->len);
    colo_wire_put_end(end, &(ColoEnd) { 6, table->len, 3,
                                        colo_checksum_value(sum) });
    g_byte_array_append(a, &(uint8_t) { !strict }, 1);
    append_frame(a, COLO_MSG_HELLO, &sequence, 0, hello);
    append_frame(a, COLO_MSG_DIRTY, &sequence, 0, dirty);
    append_frame(a, COLO_MSG_DIRTY, &sequence, COLO_DIRTY_HAS_HASHES, hashed);
    append_frame(a, COLO_MSG_STATE, &sequence, 0, table);
    append_frame(a, COLO_MSG_PAGES, &sequence, 0, pages);
    append_frame(a, COLO_MSG_PAGES, &sequence, 0, pages);
    append_frame(a, COLO_MSG_DEVICE, &sequence, 0, table);
    append_frame(a, COLO_MSG_END, &sequence, 0, end);
    for (i = 0; i < G_N_ELEMENTS(bare); i++) {
        append_frame(a, bare[i], &sequence, 0, NULL);
    }
    seed_save("stream", strict ? "strict" : "lenient", a);
}

int main(int argc, char **argv)
{
    check_only = argc == 3 && strcmp(argv[1], "--check") == 0;
    if (argc != 2 + check_only) {
        fprintf(stderr, "usage: %s [--check] DIRECTORY\n", argv[0]);
        return 2;
    }
    directory = argv[argc - 1];
    seed_headers();
    seed_payloads();
    seed_offers();
    seed_stream(true);
    seed_stream(false);
    seeds_net();
    seeds_compare();
    seeds_packet();
    if (differing) {
        fprintf(stderr, "the wire format changed: raise COLO_WIRE_VERSION, "
                "then write the seeds anew\n");
    }
    return differing > 0;
}
