/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The secondary's disk, driven by bytes: each is a choice of the world of
 * tests/disk, whose oracle looks at everything that comes of it. What a seed
 * of the property test did can be kept as an input; see test-disk-world.c.
 */
#include "../disk/disk-choices.h"
#include "fuzz.h"

/* Long inputs repeat themselves. */
enum { STEPS_MAX = 2000 };

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    WorldCount count = { 0 };
    ByteChoices choices;
    DiskWorld *w;

    byte_choices_init(&choices, in, size);
    w = disk_world_new(&choices.choices, BREAK_NOTHING, false, &count);
    while (choices.left > 0 && count.steps < STEPS_MAX &&
           disk_world_step(w)) {
        continue;
    }
    g_assert_cmpstr(disk_world_failed(w), ==, NULL);
    disk_world_free(w);
    return 0;
}
