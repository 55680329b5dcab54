/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A short history of a number, and its picture in one line of text.
 */
#include <string.h>
#include "spark.h"

static const char *const bars[] = {
    " ", "\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586",
    "\u2587", "\u2588",
};

void colo_spark_add(ColoSpark *spark, double value)
{
    if (spark->count == COLO_SPARK_COUNT) {
        memmove(spark->values, spark->values + 1,
                (COLO_SPARK_COUNT - 1) * sizeof(*spark->values));
        spark->count--;
    }
    spark->values[spark->count++] = value;
}

char *colo_spark_text(const ColoSpark *spark, unsigned width)
{
    unsigned shown = MIN(width, spark->count);
    unsigned first = spark->count - shown;
    GString *text = g_string_new(NULL);
    double highest = 0;
    unsigned i;

    for (i = first; i < spark->count; i++) {
        highest = MAX(highest, spark->values[i]);
    }
    for (i = 0; i < width - shown; i++) {
        g_string_append_c(text, ' ');
    }
    for (i = first; i < spark->count; i++) {
        /* What is not nothing is seen, however small. */
        double share = highest > 0 ? spark->values[i] / highest : 0;
        unsigned level = share * (G_N_ELEMENTS(bars) - 1);

        g_string_append(text, bars[share > 0 ? MAX(level, 1) : 0]);
    }
    return g_string_free(text, FALSE);
}
