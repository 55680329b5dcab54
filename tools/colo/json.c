/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON: commands for QEMU's monitor, its answers, and our own output.
 */
#include <stdarg.h>
#include "error.h"
#include "json.h"

static JsonNode *take_value(char kind, va_list args)
{
    JsonNode *node = NULL;
    const char *text;

    switch (kind) {
    case 's':
        text = va_arg(args, const char *);
        if (text) {
            node = json_node_init_string(json_node_alloc(), text);
        }
        break;
    case 'i':
        node = json_node_init_int(json_node_alloc(), va_arg(args, int64_t));
        break;
    case 'b':
        node = json_node_init_boolean(json_node_alloc(), va_arg(args, int));
        break;
    case 'o':
        node = va_arg(args, JsonNode *);
        break;
    default:
        g_assert_not_reached();
    }
    return node;
}

static JsonNode *object_node(JsonObject *object)
{
    JsonNode *node = json_node_new(JSON_NODE_OBJECT);

    json_node_take_object(node, object);
    return node;
}

JsonNode *colo_json(const char *first, ...)
{
    JsonObject *object = json_object_new();
    const char *name;
    va_list args;

    va_start(args, first);
    for (name = first; name; name = va_arg(args, const char *)) {
        JsonNode *value;

        g_assert(name[0] && name[1] == ':');
        value = take_value(name[0], args);
        if (value) {
            json_object_set_member(object, name + 2, value);
        }
    }
    va_end(args);
    return object_node(object);
}

JsonNode *colo_json_command(const char *execute, JsonNode *arguments)
{
    return colo_json("s:execute", execute, "o:arguments", arguments, NULL);
}

JsonNode *colo_json_array(JsonNode *first, ...)
{
    JsonArray *array = json_array_new();
    JsonNode *node = json_node_new(JSON_NODE_ARRAY);
    JsonNode *element;
    va_list args;

    va_start(args, first);
    for (element = first; element; element = va_arg(args, JsonNode *)) {
        json_array_add_element(array, element);
    }
    va_end(args);
    json_node_take_array(node, array);
    return node;
}

JsonNode *colo_json_list(void)
{
    JsonNode *node = json_node_new(JSON_NODE_ARRAY);

    json_node_take_array(node, json_array_new());
    return node;
}

char *colo_json_text(JsonNode *node, bool is_pretty)
{
    return json_to_string(node, is_pretty);
}

JsonNode *colo_json_parse(const char *text, GError **error)
{
    JsonNode *node = json_from_string(text, error);

    if (!node && error && !*error) {
        colo_error_set(error, COLO_EXIT_FAILED, "There is no JSON in it");
    }
    return node;
}

JsonNode *colo_json_at(JsonNode *node, const char *path)
{
    g_auto(GStrv) names = g_strsplit(path, ".", -1);
    unsigned i;

    for (i = 0; node && names[i]; i++) {
        node = JSON_NODE_HOLDS_OBJECT(node)
               ? json_object_get_member(json_node_get_object(node), names[i])
               : NULL;
    }
    return node;
}

const char *colo_json_string(JsonNode *node, const char *path)
{
    JsonNode *at = colo_json_at(node, path);

    return at && json_node_get_value_type(at) == G_TYPE_STRING
           ? json_node_get_string(at) : NULL;
}

int64_t colo_json_int(JsonNode *node, const char *path)
{
    JsonNode *at = colo_json_at(node, path);

    return at && JSON_NODE_HOLDS_VALUE(at) ? json_node_get_int(at) : 0;
}

bool colo_json_bool(JsonNode *node, const char *path)
{
    JsonNode *at = colo_json_at(node, path);

    return at && JSON_NODE_HOLDS_VALUE(at) && json_node_get_boolean(at);
}

static JsonArray *array_at(JsonNode *node, const char *path)
{
    JsonNode *at = *path ? colo_json_at(node, path) : node;

    return at && JSON_NODE_HOLDS_ARRAY(at) ? json_node_get_array(at) : NULL;
}

unsigned colo_json_count(JsonNode *node, const char *path)
{
    JsonArray *array = array_at(node, path);

    return array ? json_array_get_length(array) : 0;
}

JsonNode *colo_json_element(JsonNode *node, const char *path, unsigned i)
{
    JsonArray *array = array_at(node, path);

    return array && i < json_array_get_length(array)
           ? json_array_get_element(array, i) : NULL;
}

JsonNode *colo_json_find(JsonNode *node, const char *path, const char *key,
                         const char *value)
{
    unsigned i;

    for (i = 0; i < colo_json_count(node, path); i++) {
        JsonNode *element = colo_json_element(node, path, i);

        if (!g_strcmp0(colo_json_string(element, key), value)) {
            return element;
        }
    }
    return NULL;
}
