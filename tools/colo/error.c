/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors of `colo`: exit status, and one line for each level.
 */
#include "error.h"

G_DEFINE_QUARK(colo-error-quark, colo_error)

void colo_error_set(GError **error, ColoExit code, const char *format, ...)
{
    g_autofree char *why = NULL;
    va_list args;

    va_start(args, format);
    why = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, COLO_ERROR, code, g_strchomp(why));
}

void colo_error_what(GError **error, const char *format, ...)
{
    g_autofree char *what = NULL;
    va_list args;

    if (!error || !*error) {
        return;
    }
    va_start(args, format);
    what = g_strdup_vprintf(format, args);
    va_end(args);
    g_prefix_error(error, "%s\n", what);
}

ColoExit colo_error_exit(const GError *error)
{
    if (!error) {
        return COLO_EXIT_DONE;
    }
    return error->domain == COLO_ERROR ? (ColoExit)error->code
                                       : COLO_EXIT_FAILED;
}

char *colo_error_text(const GError *error)
{
    g_auto(GStrv) lines = g_strsplit(error->message, "\n", -1);
    GString *text = g_string_new(NULL);
    unsigned i;

    for (i = 0; lines[i]; i++) {
        if (*lines[i]) {
            g_string_append_printf(text, "error: %s\n", lines[i]);
        }
    }
    return g_string_free(text, FALSE);
}
