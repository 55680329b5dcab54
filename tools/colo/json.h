/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON: commands for QEMU's monitor, its answers, and our own output.
 */
#ifndef COLO_TOOL_JSON_H
#define COLO_TOOL_JSON_H

#include <stdbool.h>
#include <inttypes.h>
#include <json-glib/json-glib.h>

/*
 * An object of members given as pairs, NULL at the end. The first letter of
 * the name tells what the value is:
 *   "s:name", const char *     a string; NULL leaves the member out
 *   "i:name", int64_t          a number (cast what is not int64_t)
 *   "b:name", int              a bool
 *   "o:name", JsonNode *       taken over; NULL leaves the member out
 */
JsonNode *colo_json(const char *first, ...) G_GNUC_NULL_TERMINATED;

/* A monitor command; @arguments is taken over, NULL for none. */
JsonNode *colo_json_command(const char *execute, JsonNode *arguments);

/* An array of the nodes given, which are taken over; NULL at the end. */
JsonNode *colo_json_array(JsonNode *first, ...) G_GNUC_NULL_TERMINATED;

/* An empty array. */
JsonNode *colo_json_list(void);

/* One line, or several for people. Caller frees. */
char *colo_json_text(JsonNode *node, bool is_pretty);
JsonNode *colo_json_parse(const char *text, GError **error);

/*
 * Members by a path with dots, `pages.dirty`; what is not there, or is
 * something else, is NULL, 0 or false. Strings and nodes belong to @node.
 */
JsonNode *colo_json_at(JsonNode *node, const char *path);
const char *colo_json_string(JsonNode *node, const char *path);
int64_t colo_json_int(JsonNode *node, const char *path);
bool colo_json_bool(JsonNode *node, const char *path);
/* 0 if it is no array. */
unsigned colo_json_count(JsonNode *node, const char *path);
JsonNode *colo_json_element(JsonNode *node, const char *path, unsigned i);
/* The element of an array whose member @key is @value, or NULL. */
JsonNode *colo_json_find(JsonNode *node, const char *path, const char *key,
                         const char *value);

#endif
