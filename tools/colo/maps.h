/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is called differently on the other host: `--disk vda=PATH`,
 * `--network br0=br1`.
 */
#ifndef COLO_TOOL_MAPS_H
#define COLO_TOOL_MAPS_H

#include <stdbool.h>
#include <glib.h>

typedef struct ColoMap ColoMap;

ColoMap *colo_map_new(void);
void colo_map_free(ColoMap *map);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ColoMap, colo_map_free)

/*
 * Takes in one or more of NAME=VALUE, with commas between them. @option is
 * named in the error. A name that was given already is refused.
 */
bool colo_map_add(ColoMap *map, const char *option, const char *text,
                  GError **error);

/* What @name is there; @name itself if nothing was said. */
const char *colo_map_get(const ColoMap *map, const char *name);
bool colo_map_has(const ColoMap *map, const char *name);

/* The first name given that is not in @known (NULL-terminated), or NULL. */
const char *colo_map_unknown(const ColoMap *map, const char *const *known);

/* Value of --disk for a disk that both hosts share. */
#define COLO_MAP_SHARED "shared"

#endif
