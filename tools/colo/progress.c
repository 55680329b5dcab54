/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How far a copy is, for people.
 */
#include <stdio.h>
#include <unistd.h>
#include "progress.h"
#include "units.h"

enum { SHOW_AGAIN_MS = 500, RATE_AFTER_MS = 200 };

void colo_progress_init(ColoProgress *progress, bool is_shown)
{
    *progress = (ColoProgress) {
        .is_shown = is_shown,
        .is_terminal = isatty(STDOUT_FILENO),
    };
}

int colo_progress_percent(uint64_t done, uint64_t total)
{
    if (done >= total) {
        return 100;
    }
    return MIN(99, (int)(100.0 * done / total));
}

char *colo_progress_text(const ColoProgress *progress, uint64_t done,
                         uint64_t total, int64_t now_ms)
{
    int64_t passed_ms = now_ms - progress->start_ms;
    GString *text = g_string_new(NULL);

    g_string_append_printf(text, "%s: [%3d %%]", progress->what,
                           colo_progress_percent(done, total));
    if (passed_ms >= RATE_AFTER_MS && done > progress->start_bytes) {
        double per_s = 1000.0 * (done - progress->start_bytes) / passed_ms;
        g_autofree char *rate = colo_units_bytes(per_s);

        g_string_append_printf(text, "  %s/s", rate);
        if (done < total) {
            g_autofree char *left = colo_units_span((total - done) / per_s +
                                                    1);

            g_string_append_printf(text, ", %s left", left);
        }
    }
    return g_string_free(text, FALSE);
}

static void show(ColoProgress *progress, const char *text)
{
    printf(progress->is_terminal ? "\r\033[K%s" : "%s\n", text);
    fflush(stdout);
}

void colo_progress_show(ColoProgress *progress, const char *what,
                        uint64_t done, uint64_t total, int64_t now_ms)
{
    int percent = colo_progress_percent(done, total);
    g_autofree char *text = NULL;

    if (!progress->is_shown) {
        return;
    }
    if (progress->what != what) {
        colo_progress_end(progress, true);
        progress->what = what;
        progress->start_ms = now_ms;
        progress->start_bytes = done;
        progress->last_percent = -1;
    }
    if (percent == progress->last_percent ||
        (percent < 100 && progress->last_percent >= 0 &&
         now_ms - progress->last_ms < SHOW_AGAIN_MS)) {
        return;
    }
    progress->last_percent = percent;
    progress->last_ms = now_ms;
    text = colo_progress_text(progress, done, total, now_ms);
    show(progress, text);
}

void colo_progress_end(ColoProgress *progress, bool ok)
{
    if (!progress->what) {
        return;
    }
    if (ok && progress->last_percent < 100) {
        g_autofree char *text = g_strdup_printf("%s: [100 %%]",
                                                progress->what);

        show(progress, text);
    }
    if (progress->is_terminal) {
        putchar('\n');
    }
    progress->what = NULL;
}
