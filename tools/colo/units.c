/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers as people write and read them.
 */
#include <errno.h>
#include <math.h>
#include "error.h"
#include "units.h"

bool colo_units_parse_bytes(const char *text, uint64_t *bytes,
                            GError **error)
{
    static const char suffixes[] = "KMGTP";
    const char *suffix;
    char *end;
    double value;
    double unit = 1;

    errno = 0;
    value = g_ascii_strtod(text, &end);
    if (*end) {
        suffix = strchr(suffixes, g_ascii_toupper(*end));
        if (suffix && (!end[1] || !g_ascii_strcasecmp(end + 1, "iB"))) {
            unit = ldexp(1, 10 * (suffix - suffixes + 1));
        } else if (g_ascii_strcasecmp(end, "B")) {
            end = (char *)text;
        }
    }
    if (errno || end == text || !(value >= 0) || value * unit >= 0x1p63) {
        colo_error_set(error, COLO_EXIT_USAGE, "'%s' is no number of bytes, "
                       "such as 512M or 1.5G", text);
        return false;
    }
    *bytes = value * unit;
    return true;
}

char *colo_units_bytes(uint64_t bytes)
{
    static const char *const names[] = {
        "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB",
    };
    double value = bytes;
    unsigned i;

    for (i = 0; value >= 1024 && i < G_N_ELEMENTS(names) - 1; i++) {
        value /= 1024;
    }
    return i == 0 || value >= 100
           ? g_strdup_printf("%.0f %s", value, names[i])
           : g_strdup_printf("%.1f %s", value, names[i]);
}

char *colo_units_us(uint64_t us)
{
    if (us < 1000) {
        return g_strdup_printf("%" G_GUINT64_FORMAT " us", us);
    }
    return us < 1000 * 1000 ? g_strdup_printf("%.1f ms", us / 1e3)
                            : g_strdup_printf("%.1f s", us / 1e6);
}

char *colo_units_span(int64_t seconds)
{
    int64_t minutes = seconds / 60;
    int64_t hours = minutes / 60;

    if (minutes < 1) {
        return g_strdup_printf("%d s", (int)MAX(seconds, 0));
    }
    if (hours < 1) {
        return g_strdup_printf("%d min", (int)minutes);
    }
    if (hours < 48) {
        return g_strdup_printf("%d h %d min", (int)hours,
                               (int)(minutes % 60));
    }
    return g_strdup_printf("%" G_GINT64_FORMAT " days", hours / 24);
}
