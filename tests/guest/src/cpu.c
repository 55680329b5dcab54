/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU load: threads that count until told to stop. */
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "load.h"

enum { THREADS_MAX = 64 };

static pthread_t threads[THREADS_MAX];
static unsigned running_count;
static atomic_bool stop;

static void *spin(void *opaque)
{
    (void)opaque;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        for (volatile unsigned i = 0; i < 10000; i++) {
        }
    }
    return NULL;
}

const char *cpu_load(unsigned threads_count)
{
    if (threads_count > THREADS_MAX) {
        return "at most 64 threads";
    }
    atomic_store(&stop, true);
    while (running_count) {
        pthread_join(threads[--running_count], NULL);
    }
    atomic_store(&stop, false);
    while (running_count < threads_count) {
        if (pthread_create(&threads[running_count], NULL, spin, NULL)) {
            return "no thread";
        }
        running_count++;
    }
    return NULL;
}
