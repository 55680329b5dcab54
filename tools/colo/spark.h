/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A short history of a number, and its picture in one line of text.
 */
#ifndef COLO_TOOL_SPARK_H
#define COLO_TOOL_SPARK_H

#include <stdint.h>
#include <glib.h>

enum { COLO_SPARK_COUNT = 60 };

typedef struct ColoSpark {
    double values[COLO_SPARK_COUNT];
    unsigned count;         /* of them known; the newest is the last */
} ColoSpark;

void colo_spark_add(ColoSpark *spark, double value);

/*
 * The last @width values as bars of one character, the highest of them full.
 * Caller frees.
 */
char *colo_spark_text(const ColoSpark *spark, unsigned width);

#endif
