/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which parts of COLO go, which stay, and what forbids to take any.
 */
#include <string.h>
#include "colo/clean-up.h"

/* Names of those that go, in the order in which they go. */
static char *gone(GPtrArray *list)
{
    GString *text = g_string_new(NULL);
    unsigned kind, i;

    for (kind = 0; kind < COLO_CLEAN__MAX; kind++) {
        for (i = 0; i < list->len; i++) {
            const ColoCleanPart *part = g_ptr_array_index(list, i);

            if (part->kind == kind && part->goes) {
                g_string_append_printf(text, "%s%s", text->len ? " " : "",
                                       part->name);
            }
        }
    }
    return g_string_free(text, FALSE);
}

static void assert_gone(GPtrArray *list, unsigned keep, const char *expected)
{
    const ColoCleanPart *who;
    g_autofree char *text = NULL;

    g_assert_cmpint(colo_clean_decide(list, COLO_CLEAN_IDLE, keep, &who), ==,
                    COLO_CLEAN_OK);
    g_assert_null(who);
    text = gone(list);
    g_assert_cmpstr(text, ==, expected);
}

static void assert_refused(GPtrArray *list, unsigned keep,
                           ColoCleanVerdict expected, const char *name)
{
    const ColoCleanPart *who;

    g_assert_cmpint(colo_clean_decide(list, COLO_CLEAN_IDLE, keep, &who), ==,
                    expected);
    g_assert_nonnull(who);
    g_assert_cmpstr(who->name, ==, name);
}

static ColoCleanPart *add_owned(GPtrArray *list, ColoCleanKind kind,
                                const char *name, ColoCleanPart *owner)
{
    ColoCleanPart *part = colo_clean_add(list, kind, name);

    colo_clean_add_owner(part, owner);
    return part;
}

/* Everything at once, in no order. */
static GPtrArray *all_parts(void)
{
    GPtrArray *list = colo_clean_list_new();
    ColoCleanPart *rewriter, *copy, *node;

    colo_clean_add(list, COLO_CLEAN_LIMITS, "limits");
    rewriter = colo_clean_add(list, COLO_CLEAN_REWRITER, "rewriter");
    rewriter->is_busy = true;
    add_owned(list, COLO_CLEAN_CHARDEV, "peer", rewriter);
    add_owned(list, COLO_CLEAN_CHARDEV, "link",
              colo_clean_add(list, COLO_CLEAN_COMPARE, "compare"));
    colo_clean_add(list, COLO_CLEAN_FILTER, "mirror");
    colo_clean_add(list, COLO_CLEAN_SETTING, "x-colo");
    colo_clean_add(list, COLO_CLEAN_DISK, "disk");
    copy = colo_clean_add(list, COLO_CLEAN_COPY, "copy-of-disk");
    node = add_owned(list, COLO_CLEAN_NODE, "node", copy);
    add_owned(list, COLO_CLEAN_NODE, "below", node);
    colo_clean_add(list, COLO_CLEAN_SERVER, "server");
    colo_clean_add(list, COLO_CLEAN_EXPORT, "export");
    colo_clean_add(list, COLO_CLEAN_FORWARDER, "forwarder");
    return list;
}

static void test_order(void)
{
    g_autoptr(GPtrArray) list = all_parts();

    assert_gone(list, 0, "forwarder export server mirror compare rewriter "
                "peer link copy-of-disk disk node below x-colo limits");
}

static void test_keep(void)
{
    g_autoptr(GPtrArray) list = all_parts();

    assert_gone(list, COLO_CLEAN_KEEP_DISKS,
                "forwarder export server mirror compare rewriter "
                "peer link copy-of-disk node below x-colo limits");
    assert_gone(list, COLO_CLEAN_KEEP_CONNECTIONS,
                "forwarder export server mirror compare "
                "link copy-of-disk disk node below x-colo limits");
    assert_gone(list, COLO_CLEAN_KEEP_LIMITS,
                "forwarder export server mirror compare rewriter "
                "peer link copy-of-disk disk node below x-colo");
    /* Nothing decided before is left behind. */
    assert_gone(list, 0, "forwarder export server mirror compare rewriter "
                "peer link copy-of-disk disk node below x-colo limits");
}

static void test_nothing(void)
{
    g_autoptr(GPtrArray) list = colo_clean_list_new();

    assert_gone(list, 0, "");
}

/* No connection needs it. */
static void test_idle_rewriter(void)
{
    g_autoptr(GPtrArray) list = colo_clean_list_new();

    add_owned(list, COLO_CLEAN_CHARDEV, "peer",
              colo_clean_add(list, COLO_CLEAN_REWRITER, "rewriter"));
    assert_gone(list, COLO_CLEAN_KEEP_CONNECTIONS, "rewriter peer");
}

/* A chardev of two goes when both do; one with a foreign user never. */
static void test_shared_chardev(void)
{
    g_autoptr(GPtrArray) list = colo_clean_list_new();
    ColoCleanPart *compare = colo_clean_add(list, COLO_CLEAN_COMPARE, "c");
    ColoCleanPart *rewriter = colo_clean_add(list, COLO_CLEAN_REWRITER, "r");
    ColoCleanPart *chardev = add_owned(list, COLO_CLEAN_CHARDEV, "both",
                                       compare);

    colo_clean_add_owner(chardev, rewriter);
    rewriter->is_busy = true;
    assert_gone(list, COLO_CLEAN_KEEP_CONNECTIONS, "c");
    assert_gone(list, 0, "c r both");
    chardev->user = g_strdup("a console uses it");
    assert_gone(list, 0, "c r");
}

/* The server is left to those who use it as well. */
static void test_shared_server(void)
{
    g_autoptr(GPtrArray) list = colo_clean_list_new();

    colo_clean_add(list, COLO_CLEAN_EXPORT, "ours");
    colo_clean_add(list, COLO_CLEAN_SERVER, "server")->user =
        g_strdup("export 'theirs' uses it");
    assert_gone(list, 0, "ours");
}

static void test_states(void)
{
    static const ColoCleanState bad[] = {
        COLO_CLEAN_IN_COLO, COLO_CLEAN_DEAD, COLO_CLEAN_WAITING,
        COLO_CLEAN_MIGRATING,
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GPtrArray) list = all_parts();
        const ColoCleanPart *who;
        g_autofree char *text = NULL;

        g_assert_cmpint(colo_clean_decide(list, bad[i], 0, &who), ==,
                        COLO_CLEAN_BAD_STATE);
        g_assert_null(who);
        text = gone(list);
        g_assert_cmpstr(text, ==, "");
    }
}

/* Also one that would stay: Xen plays the session, and is not done. */
static void test_paired(void)
{
    g_autoptr(GPtrArray) list = colo_clean_list_new();

    colo_clean_add(list, COLO_CLEAN_DISK, "other");
    colo_clean_add(list, COLO_CLEAN_DISK, "disk")->in_pair = true;
    assert_refused(list, 0, COLO_CLEAN_IS_PAIRED, "disk");
    assert_refused(list, COLO_CLEAN_KEEP_DISKS, COLO_CLEAN_IS_PAIRED,
                   "disk");
}

static void test_merging(void)
{
    g_autoptr(GPtrArray) list = colo_clean_list_new();

    colo_clean_add(list, COLO_CLEAN_DISK, "disk")->is_merging = true;
    assert_refused(list, COLO_CLEAN_KEEP_LIMITS, COLO_CLEAN_IS_MERGING,
                   "disk");
    assert_gone(list, COLO_CLEAN_KEEP_DISKS, "");
}

static void test_used(void)
{
    static const ColoCleanKind kinds[] = {
        COLO_CLEAN_FORWARDER, COLO_CLEAN_DISK, COLO_CLEAN_NODE,
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autoptr(GPtrArray) list = colo_clean_list_new();

        colo_clean_add(list, COLO_CLEAN_COMPARE, "before");
        colo_clean_add(list, kinds[i], "used")->user =
            g_strdup("job 'backup' uses it");
        assert_refused(list, 0, COLO_CLEAN_IS_USED, "used");
    }
}

static void test_used_but_kept(void)
{
    g_autoptr(GPtrArray) list = colo_clean_list_new();

    colo_clean_add(list, COLO_CLEAN_DISK, "disk")->user =
        g_strdup("job 'backup' uses it");
    assert_gone(list, COLO_CLEAN_KEEP_DISKS, "");
}

static void test_find(void)
{
    g_autoptr(GPtrArray) list = colo_clean_list_new();
    ColoCleanPart *copy = colo_clean_add(list, COLO_CLEAN_COPY, "vda");
    ColoCleanPart *disk = colo_clean_add(list, COLO_CLEAN_DISK, "vda");

    g_assert_true(colo_clean_find(list, COLO_CLEAN_DISK, "vda") == disk);
    g_assert_true(colo_clean_find(list, COLO_CLEAN_COPY, "vda") == copy);
    g_assert_null(colo_clean_find(list, COLO_CLEAN_DISK, "vdb"));
    g_assert_null(colo_clean_find(list, COLO_CLEAN_NODE, "vda"));
}

static void test_own_names(void)
{
    g_assert_true(colo_clean_is_own_name("colo-link0"));
    g_assert_false(colo_clean_is_own_name("colo"));
    g_assert_false(colo_clean_is_own_name("colorful"));
    g_assert_false(colo_clean_is_own_name("my-colo-link"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/clean-up/order", test_order);
    g_test_add_func("/clean-up/keep", test_keep);
    g_test_add_func("/clean-up/nothing", test_nothing);
    g_test_add_func("/clean-up/idle-rewriter", test_idle_rewriter);
    g_test_add_func("/clean-up/shared-chardev", test_shared_chardev);
    g_test_add_func("/clean-up/shared-server", test_shared_server);
    g_test_add_func("/clean-up/states", test_states);
    g_test_add_func("/clean-up/paired", test_paired);
    g_test_add_func("/clean-up/merging", test_merging);
    g_test_add_func("/clean-up/used", test_used);
    g_test_add_func("/clean-up/used-but-kept", test_used_but_kept);
    g_test_add_func("/clean-up/find", test_find);
    g_test_add_func("/clean-up/own-names", test_own_names);
    return g_test_run();
}
