/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The QEMU of a model host: its monitor, and what happens in it by itself.
 */
#ifndef TESTS_TOOLS_FAKE_QEMU_H
#define TESTS_TOOLS_FAKE_QEMU_H

#include "fake-host.h"

enum { FAKE_DISK_BYTES = 64 << 20 };

void fake_qemu_start(FakeHost *h, ColoDomState state);
/* @is_crash: killed; else it says goodbye to its peer. */
void fake_qemu_end(FakeHost *h, bool is_crash);
/* A little time passes: copies get on. */
void fake_qemu_pass_time(FakeHost *h);
/* What the monitor returns; NULL and an error if it refuses. */
JsonNode *fake_qemu_run(FakeHost *h, JsonNode *command, GError **error);

#endif
