/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is called differently on the other host.
 */
#include "error.h"
#include "maps.h"

struct ColoMap {
    GHashTable *values;     /* char * -> char * */
};

ColoMap *colo_map_new(void)
{
    ColoMap *map = g_new0(ColoMap, 1);

    map->values = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                        g_free);
    return map;
}

void colo_map_free(ColoMap *map)
{
    if (map) {
        g_hash_table_unref(map->values);
        g_free(map);
    }
}

static bool add_one(ColoMap *map, const char *option, const char *text,
                    GError **error)
{
    const char *equals = strchr(text, '=');
    g_autofree char *name = NULL;

    if (!equals || equals == text || !equals[1]) {
        colo_error_set(error, COLO_EXIT_USAGE,
                       "%s takes NAME=VALUE, not '%s'", option, text);
        return false;
    }
    name = g_strndup(text, equals - text);
    if (g_hash_table_contains(map->values, name)) {
        colo_error_set(error, COLO_EXIT_USAGE,
                       "%s says two things about '%s'", option, name);
        return false;
    }
    g_hash_table_insert(map->values, g_steal_pointer(&name),
                        g_strdup(equals + 1));
    return true;
}

bool colo_map_add(ColoMap *map, const char *option, const char *text,
                  GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);
    unsigned i;

    if (!*text) {
        return add_one(map, option, text, error);
    }
    for (i = 0; parts[i]; i++) {
        if (!add_one(map, option, parts[i], error)) {
            return false;
        }
    }
    return true;
}

const char *colo_map_get(const ColoMap *map, const char *name)
{
    const char *value = g_hash_table_lookup(map->values, name);

    return value ? value : name;
}

bool colo_map_has(const ColoMap *map, const char *name)
{
    return g_hash_table_contains(map->values, name);
}

const char *colo_map_unknown(const ColoMap *map, const char *const *known)
{
    GHashTableIter iter;
    gpointer name;

    g_hash_table_iter_init(&iter, map->values);
    while (g_hash_table_iter_next(&iter, &name, NULL)) {
        if (!g_strv_contains(known, name)) {
            return name;
        }
    }
    return NULL;
}
