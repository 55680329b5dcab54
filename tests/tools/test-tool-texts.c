/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What users write and read: sizes, maps, URIs, the command line, errors.
 */
#include <string.h>
#include "address.h"
#include "error.h"
#include "maps.h"
#include "options.h"
#include "progress.h"
#include "spark.h"
#include "units.h"

/* --------------------------------------------------------------- units */

static void test_parse_bytes(void)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t bytes;
    } cases[] = {
        { "0", true, 0 }, { "512", true, 512 }, { "512B", true, 512 },
        { "1k", true, 1024 }, { "1.5G", true, 1610612736 },
        { "64MiB", true, 64 << 20 }, { "2T", true, 2ULL << 40 },
        { "", false, 0 }, { "M", false, 0 }, { "-1", false, 0 },
        { "1MB", false, 0 }, { "12 M", false, 0 }, { "9999P", false, 0 },
        { "nan", false, 0 }, { "1e400", false, 0 },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        uint64_t bytes = 0;
        bool ok = colo_units_parse_bytes(cases[i].text, &bytes, &error);

        g_test_message("'%s'", cases[i].text);
        g_assert_true(ok == cases[i].ok);
        g_assert_true(ok == !error);
        g_assert_cmpuint(bytes, ==, cases[i].bytes);
        if (!ok) {
            g_assert_cmpint(colo_error_exit(error), ==, COLO_EXIT_USAGE);
        }
    }
}

static void assert_text(char *got, const char *expected)
{
    g_assert_cmpstr(got, ==, expected);
    g_free(got);
}

static void test_show_numbers(void)
{
    assert_text(colo_units_bytes(0), "0 B");
    assert_text(colo_units_bytes(1023), "1023 B");
    assert_text(colo_units_bytes(1536), "1.5 KiB");
    assert_text(colo_units_bytes(256ULL << 20), "256 MiB");
    assert_text(colo_units_bytes(UINT64_MAX), "16.0 EiB");
    assert_text(colo_units_us(999), "999 us");
    assert_text(colo_units_us(1000), "1.0 ms");
    assert_text(colo_units_us(2500000), "2.5 s");
    assert_text(colo_units_span(-3), "0 s");
    assert_text(colo_units_span(59), "59 s");
    assert_text(colo_units_span(61), "1 min");
    assert_text(colo_units_span(3 * 3600 + 300), "3 h 5 min");
    assert_text(colo_units_span(49 * 3600), "2 days");
}

static void test_progress(void)
{
    ColoProgress progress = { .what = "Disks", .start_ms = 1000 };

    g_assert_cmpint(colo_progress_percent(0, 0), ==, 100);
    g_assert_cmpint(colo_progress_percent(0, 10), ==, 0);
    g_assert_cmpint(colo_progress_percent(9999, 10000), ==, 99);
    g_assert_cmpint(colo_progress_percent(UINT64_MAX - 1, UINT64_MAX), ==,
                    99);
    assert_text(colo_progress_text(&progress, 0, 100, 1000),
                "Disks: [  0 %]");
    assert_text(colo_progress_text(&progress, 10 << 20, 40 << 20, 2000),
                "Disks: [ 25 %]  10.0 MiB/s, 4 s left");
    assert_text(colo_progress_text(&progress, 40 << 20, 40 << 20, 2000),
                "Disks: [100 %]  40.0 MiB/s");
}

static void test_spark(void)
{
    ColoSpark spark = { .count = 0 };
    unsigned i;

    assert_text(colo_spark_text(&spark, 3), "   ");
    colo_spark_add(&spark, 0);
    colo_spark_add(&spark, 1);
    colo_spark_add(&spark, 8);
    assert_text(colo_spark_text(&spark, 4), "  \u2581\u2588");
    colo_spark_add(&spark, 0.001);
    assert_text(colo_spark_text(&spark, 2), "\u2588\u2581");
    for (i = 0; i < 2 * COLO_SPARK_COUNT; i++) {
        colo_spark_add(&spark, i);
    }
    g_assert_cmpuint(spark.count, ==, COLO_SPARK_COUNT);
    g_assert_cmpfloat(spark.values[0], ==, COLO_SPARK_COUNT);
}

/* ---------------------------------------------------------------- maps */

static void test_maps(void)
{
    g_autoptr(ColoMap) map = colo_map_new();
    static const char *const known[] = { "vda", "vdb", NULL };
    static const char *const wrong[] = { "vdc", "=x", "x=", "", "vda=z" };
    unsigned i;

    g_assert_true(colo_map_add(map, "--disk", "vda=/a b/x=y,vdb=shared",
                               NULL));
    g_assert_cmpstr(colo_map_get(map, "vda"), ==, "/a b/x=y");
    g_assert_cmpstr(colo_map_get(map, "vdb"), ==, COLO_MAP_SHARED);
    g_assert_cmpstr(colo_map_get(map, "vdz"), ==, "vdz");
    g_assert_null(colo_map_unknown(map, known));
    for (i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(colo_map_add(map, "--disk", wrong[i], &error));
        g_assert_cmpint(colo_error_exit(error), ==, COLO_EXIT_USAGE);
        g_assert_nonnull(strstr(error->message, "--disk"));
    }
    g_assert_true(colo_map_add(map, "--disk", "sda=/x", NULL));
    g_assert_cmpstr(colo_map_unknown(map, known), ==, "sda");
}

/* ----------------------------------------------------------- addresses */

static void test_addresses(void)
{
    static const struct {
        const char *uri;
        const char *host;
    } cases[] = {
        { "qemu:///system", NULL },
        { "qemu+unix:///system?socket=/run/b", NULL },
        { "qemu+libssh2://user@b.example.org/system", "b.example.org" },
        { "qemu+tls://b.example.org:16514/system", "b.example.org" },
        { "qemu+ssh://[2001:db8::1]:22/system", "2001:db8::1" },
        { "qemu+tcp://192.0.2.11", "192.0.2.11" },
        { "nonsense", NULL },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        assert_text(colo_address_of_uri(cases[i].uri), cases[i].host);
    }
}

static void test_way_back(void)
{
    static const struct {
        const char *from, *to, *back;
    } cases[] = {
        { "qemu:///system", "qemu+libssh2://user@b.example.org/system",
          "qemu+libssh2://user@a.example.org/system" },
        { "qemu:///system", "qemu+tls://b.example.org:16514/system?no_verify=1",
          "qemu+tls://a.example.org:16514/system?no_verify=1" },
        { "qemu+ssh://x.example.org/system", "qemu+ssh://b.example.org/system",
          "qemu+ssh://x.example.org/system" },
        { "qemu+unix:///system?socket=/a", "qemu+unix:///system?socket=/b",
          "qemu+unix:///system?socket=/a" },
        { "qemu:///system", "qemu+unix:///system?socket=/b",
          "qemu:///system" },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        assert_text(colo_address_back(cases[i].from, "a.example.org",
                                      cases[i].to), cases[i].back);
    }
}

static void test_shell(void)
{
    static const struct {
        const char *uri, *name, *shell;
    } cases[] = {
        { "qemu+ssh://b.example.org/system", "b", "ssh b.example.org date" },
        { "qemu+libssh://user@b.example.org/system?keyfile=/k", NULL,
          "ssh user@b.example.org date" },
        { "qemu+ssh://b.example.org:2222/system", NULL,
          "ssh -p 2222 b.example.org date" },
        { "qemu+libssh2://[2001:db8::1]:22/system", "b",
          "ssh -p 22 2001:db8::1 date" },
        { "qemu+tls://b.example.org/system", "b", "date    # on b" },
        { "qemu+unix:///system?socket=/b", NULL,
          "date    # on qemu+unix:///system?socket=/b" },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        assert_text(colo_address_shell(cases[i].uri, cases[i].name, "date"),
                    cases[i].shell);
    }
}

/* -------------------------------------------------------- command line */

static bool parse(ColoOptions *options, const char *command,
                  const char *line, GError **error)
{
    g_auto(GStrv) words = g_strsplit(line, " ", -1);
    unsigned count = g_strv_length(words);

    if (count && !*words[count - 1]) {
        g_clear_pointer(&words[count - 1], g_free);
    }
    return colo_options_parse(options, colo_options_command(command), words,
                              error);
}

static void test_options(void)
{
    g_auto(ColoOptions) o = {};

    g_assert_true(parse(&o, "protect", "vm1 --to qemu+ssh://b/system --disk "
                        "vda=/x --disk vdb=/y -c qemu:///x --interval 250 "
                        "-v", NULL));
    g_assert_cmpstr(o.domain, ==, "vm1");
    g_assert_cmpstr(o.from, ==, "qemu:///x");
    g_assert_cmpstr(o.to, ==, "qemu+ssh://b/system");
    g_assert_cmpstr(o.disks[1], ==, "vdb=/y");
    g_assert_cmpint(o.interval_ms, ==, 250);
    g_assert_cmpint(o.timeout_s, ==, -1);
    g_assert_cmpint(o.port, ==, 49800);
    g_assert_true(o.verbose && !o.json && !o.check);
}

static void test_options_refused(void)
{
    static const struct {
        const char *command, *line, *word;
    } cases[] = {
        { "protect", "", "needs the name" },
        { "protect", "vm1 vm2", "too many" },
        { "agent", "vm1", "too many" },
        { "status", "--planned", "--planned" },
        { "protect", "vm1 --port x", "x" },
        { "failover", "vm1 --to", "--to" },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(ColoOptions) o = {};
        g_autoptr(GError) error = NULL;

        g_assert_false(parse(&o, cases[i].command, cases[i].line, &error));
        g_assert_cmpint(colo_error_exit(error), ==, COLO_EXIT_USAGE);
        g_assert_nonnull(strstr(error->message, cases[i].word));
    }
    g_assert_cmpint(colo_options_command("frobnicate"), ==, COLO_CMD__MAX);
}

/* Whatever explains the commands knows each of them and each option. */
static void test_explained(void)
{
    g_autofree char *overview = colo_options_overview();
    g_autofree char *manual = colo_options_manual();
    g_autofree char *completion = colo_options_completion();
    unsigned id;

    for (id = 0; id < COLO_CMD__MAX; id++) {
        const char *name = colo_options_name(id);
        g_autofree char *section = g_strdup_printf(".SS %s", name);
        g_autofree char *help = colo_options_help(id);

        g_assert_nonnull(strstr(overview, name));
        g_assert_nonnull(strstr(manual, section));
        g_assert_nonnull(strstr(completion, name));
        g_assert_nonnull(strstr(help, name));
    }
    g_assert_nonnull(strstr(manual, "memory\\-buffer"));
    g_assert_nonnull(strstr(completion, "--memory-buffer"));
}

/* -------------------------------------------------------------- errors */

static void test_errors(void)
{
    g_autoptr(GError) error = NULL;

    colo_error_what(NULL, "x");
    g_assert_cmpint(colo_error_exit(NULL), ==, COLO_EXIT_DONE);
    colo_error_set(&error, COLO_EXIT_UNSAFE, "the reason %d\n", 7);
    colo_error_what(&error, "No %s", "luck");
    assert_text(colo_error_text(error),
                "error: No luck\nerror: the reason 7\n");
    g_assert_cmpint(colo_error_exit(error), ==, COLO_EXIT_UNSAFE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tool/units/parse", test_parse_bytes);
    g_test_add_func("/tool/units/show", test_show_numbers);
    g_test_add_func("/tool/progress", test_progress);
    g_test_add_func("/tool/spark", test_spark);
    g_test_add_func("/tool/maps", test_maps);
    g_test_add_func("/tool/address", test_addresses);
    g_test_add_func("/tool/address/back", test_way_back);
    g_test_add_func("/tool/address/shell", test_shell);
    g_test_add_func("/tool/options", test_options);
    g_test_add_func("/tool/options/refused", test_options_refused);
    g_test_add_func("/tool/options/explained", test_explained);
    g_test_add_func("/tool/errors", test_errors);
    return g_test_run();
}
