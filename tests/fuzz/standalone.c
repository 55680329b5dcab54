/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives one fuzz target where libFuzzer is not to be had.
 *
 *   fuzz-NAME [--runs N] [--seed S] [--max-bytes N] FILE|DIRECTORY...
 *
 * Replays every file given, then N inputs made from them by seeded random
 * mutation: the same seed makes the same inputs. An input that crashes the
 * target is left in the file crash-NAME, to be replayed and kept.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "fuzz.h"

static struct {
    const uint8_t *data;
    size_t size;
    char path[256];
} running;

/* Only what a signal handler may do. */
static void on_crash(int number)
{
    int fd = open(running.path, O_WRONLY | O_CREAT | O_TRUNC, 0666);

    if (fd >= 0 && write(fd, running.data, running.size) >= 0) {
        static const char told[] = "input that crashed is in ";

        if (write(2, told, sizeof(told) - 1) < 0 ||
            write(2, running.path, strlen(running.path)) < 0 ||
            write(2, "\n", 1) < 0) {
            _exit(2);
        }
    }
    signal(number, SIG_DFL);
    raise(number);
}

static void catch_crashes(const char *program)
{
    static const int signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE };
    g_autofree char *name = g_path_get_basename(program);
    unsigned i;

    g_snprintf(running.path, sizeof(running.path), "crash-%s", name);
    for (i = 0; i < G_N_ELEMENTS(signals); i++) {
        signal(signals[i], on_crash);
    }
}

/* Each input in a heap block of its exact size. */
static void run_input(const uint8_t *data, size_t size)
{
    uint8_t *copy = g_malloc(MAX(size, 1));

    if (size > 0) {
        memcpy(copy, data, size);
    }
    running.data = copy;
    running.size = size;
    LLVMFuzzerTestOneInput(copy, size);
    running.size = 0;
    g_free(copy);
}

/* ------------------------------------------------------------- mutation */

static size_t random_below(GRand *rand, size_t bound)
{
    return bound > 1 ? (size_t)g_rand_int_range(rand, 0, bound) : 0;
}

/* Values that lie at the edges of fields, big-endian as on the wire. */
static void put_edge(GRand *rand, GByteArray *a)
{
    static const uint64_t edges[] = {
        0, 1, 2, 16, 63, 64, 127, 128, 255, 256, 512, 513, 1023, 1024, 4096,
        4097, 32768, 65535, 65536, 0x7fffffff, 0x80000000, 0xffffffff,
        1ull << 56, INT64_MAX, UINT64_MAX,
    };
    uint64_t value = edges[random_below(rand, G_N_ELEMENTS(edges))];
    unsigned bytes = 1u << random_below(rand, 4);
    size_t at = random_below(rand, a->len);
    unsigned i;

    for (i = 0; i < bytes && at + i < a->len; i++) {
        a->data[at + i] = value >> 8 * (bytes - 1 - i);
    }
}

static void insert_from(GRand *rand, GByteArray *a, const GBytes *other)
{
    gsize size;
    const uint8_t *data = g_bytes_get_data((GBytes *)other, &size);
    size_t from = random_below(rand, size);
    size_t count = size ? 1 + random_below(rand, size - from) : 0;
    size_t at = random_below(rand, a->len + 1);

    if (count > 0) {
        size_t tail = a->len - at;

        g_byte_array_set_size(a, a->len + count);
        memmove(a->data + at + count, a->data + at, tail);
        memcpy(a->data + at, data + from, count);
    }
}

static void mutate_once(GRand *rand, GByteArray *a, const GBytes *other)
{
    unsigned kind = random_below(rand, 8);
    size_t at = random_below(rand, a->len);

    if (a->len == 0 || kind == 0) {
        insert_from(rand, a, other);
    } else if (kind == 1) {
        g_byte_array_set_size(a, at);
    } else if (kind == 2) {
        g_byte_array_remove_range(a, at, 1 + random_below(rand, a->len - at));
    } else if (kind == 3) {
        a->data[at] = g_rand_int(rand);
    } else if (kind == 4) {
        a->data[at] += g_rand_int_range(rand, -4, 5);
    } else if (kind == 5) {
        a->data[at] ^= 1 << random_below(rand, 8);
    } else {
        put_edge(rand, a);
    }
}

static void run_mutated(GRand *rand, GPtrArray *inputs, size_t max_bytes)
{
    g_autoptr(GByteArray) a = g_byte_array_new();
    const GBytes *base = inputs->pdata[random_below(rand, inputs->len)];
    unsigned times = 1 + random_below(rand, 5);
    gsize size;
    const void *data = g_bytes_get_data((GBytes *)base, &size);

    g_byte_array_append(a, data, size);
    while (times-- > 0) {
        mutate_once(rand, a, inputs->pdata[random_below(rand, inputs->len)]);
    }
    run_input(a->data, MIN(a->len, max_bytes));
}

/* --------------------------------------------------------------- inputs */

static void load_file(GPtrArray *inputs, const char *path)
{
    g_autoptr(GError) error = NULL;
    char *text;
    gsize size;

    if (!g_file_get_contents(path, &text, &size, &error)) {
        fprintf(stderr, "%s\n", error->message);
        exit(2);
    }
    g_ptr_array_add(inputs, g_bytes_new_take(text, size));
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In the order of names: the order on disk would change what a seed means. */
static void load_path(GPtrArray *inputs, const char *path)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;
    guint i;

    if (!dir) {
        load_file(inputs, path);
        return;
    }
    while ((name = g_dir_read_name(dir))) {
        g_ptr_array_add(names, g_build_filename(path, name, NULL));
    }
    g_dir_close(dir);
    g_ptr_array_sort(names, compare_names);
    for (i = 0; i < names->len; i++) {
        load_file(inputs, names->pdata[i]);
    }
}

int main(int argc, char **argv)
{
    int runs = 0, seed = 1, max_bytes = 65536;
    const GOptionEntry options[] = {
        { "runs", 0, 0, G_OPTION_ARG_INT, &runs, "mutated inputs", "N" },
        { "seed", 0, 0, G_OPTION_ARG_INT, &seed, "of the mutation", "S" },
        { "max-bytes", 0, 0, G_OPTION_ARG_INT, &max_bytes,
          "size of a mutated input", "N" },
        { 0 }
    };
    g_autoptr(GOptionContext) context = g_option_context_new("PATH...");
    g_autoptr(GPtrArray) inputs =
        g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    g_autoptr(GError) error = NULL;
    g_autoptr(GRand) rand = NULL;
    guint i;

    g_option_context_add_main_entries(context, options, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "%s\n", error->message);
        return 2;
    }
    for (i = 1; i < (guint)argc; i++) {
        load_path(inputs, argv[i]);
    }
    if (inputs->len == 0) {
        fprintf(stderr, "%s: no input: give a file or a directory with "
                "one\n", argv[0]);
        return 2;
    }
    catch_crashes(argv[0]);
    for (i = 0; i < inputs->len; i++) {
        gsize size;
        const void *data = g_bytes_get_data(inputs->pdata[i], &size);

        run_input(data, size);
    }
    rand = g_rand_new_with_seed(seed);
    for (i = 0; i < (guint)MAX(runs, 0); i++) {
        run_mutated(rand, inputs, max_bytes);
    }
    printf("%u files, %d mutated inputs, seed %d: no crash\n", inputs->len,
           runs, seed);
    return 0;
}
