/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo: protects libvirt domains against the loss of their host.
 *
 * Finds the command, runs it, and turns how it ended into text or JSON and an
 * exit status.
 */
#include <locale.h>
#include <stdio.h>
#include "cancel.h"
#include "command.h"
#include "error.h"
#include "host-libvirt.h"

static ColoCommandFn *const commands[COLO_CMD__MAX] = {
    [COLO_CMD_PROTECT] = colo_protect,
    [COLO_CMD_STATUS] = colo_status,
    [COLO_CMD_UNPROTECT] = colo_unprotect,
    [COLO_CMD_FAILOVER] = colo_failover,
    [COLO_CMD_CHECKPOINT] = colo_checkpoint,
    [COLO_CMD_SET] = colo_set,
    [COLO_CMD_TOP] = colo_top,
    [COLO_CMD_AGENT] = colo_agent,
    [COLO_CMD_XML] = colo_xml,
    [COLO_CMD_LOGS] = colo_logs,
    [COLO_CMD_DOCTOR] = colo_doctor,
    [COLO_CMD_REPAIR] = colo_repair,
};

ColoHost *(*colo_open)(const char *uri, GError **error) = colo_host_open;

static int print(char *text)
{
    fputs(text, stdout);
    g_free(text);
    return COLO_EXIT_DONE;
}

static int usage_error(const char *format, const char *word)
{
    fputs("error: ", stderr);
    fprintf(stderr, format, word);
    fputs("\nerror: colo help lists the commands\n", stderr);
    return COLO_EXIT_USAGE;
}

static int help(const char *topic)
{
    ColoCommandId id;

    if (!topic) {
        return print(colo_options_overview());
    }
    if (!strcmp(topic, "manual")) {
        return print(colo_options_manual());
    }
    if (!strcmp(topic, "completion")) {
        return print(colo_options_completion());
    }
    id = colo_options_command(topic);
    return id == COLO_CMD__MAX
           ? usage_error("there is no command '%s'", topic)
           : print(colo_options_help(id));
}

static JsonNode *error_json(const GError *error)
{
    g_auto(GStrv) lines = g_strsplit(error->message, "\n", -1);
    JsonNode *list = colo_json_list();
    unsigned i;

    for (i = 0; lines[i]; i++) {
        json_array_add_string_element(json_node_get_array(list), lines[i]);
    }
    return colo_json("o:error", colo_json(
                         "o:lines", list,
                         "i:exit", (int64_t)colo_error_exit(error), NULL),
                     NULL);
}

/* One object on the standard output, whatever happened. */
static void print_json(JsonNode *result, const GError *error)
{
    g_autoptr(JsonNode) node = result ? json_node_ref(result)
                                      : error_json(error);
    g_autofree char *text = NULL;

    if (result && error && JSON_NODE_HOLDS_OBJECT(node)) {
        g_autoptr(JsonNode) failure = error_json(error);

        json_object_set_member(json_node_get_object(node), "error",
                               json_node_copy(colo_json_at(failure,
                                                           "error")));
    }
    text = colo_json_text(node, true);
    puts(text);
}

static bool wants_help(char **argv)
{
    return g_strv_contains((const char *const *)argv, "--help") ||
           g_strv_contains((const char *const *)argv, "-h");
}

static int run(ColoCommandId id, char **argv)
{
    g_auto(ColoOptions) options = {};
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonNode) result = NULL;

    if (wants_help(argv)) {
        return help(colo_options_name(id));
    }
    if (colo_options_parse(&options, id, argv, &error)) {
        colo_host_setup(colo_cancel_setup());
        commands[id](&options, &result, &error);
    }
    if (options.json && (result || error)) {
        print_json(result, error);
    }
    if (error) {
        g_autofree char *text = colo_error_text(error);

        fputs(text, stderr);
    }
    return colo_error_exit(error);
}

int main(int argc, char **argv)
{
    const char *word = argv[1];
    ColoCommandId id;

    setlocale(LC_ALL, "");
    g_set_prgname("colo");
    if (argc < 2) {
        g_autofree char *text = colo_options_overview();

        fputs(text, stderr);
        return COLO_EXIT_USAGE;
    }
    if (!strcmp(word, "--help") || !strcmp(word, "-h") ||
        !strcmp(word, "help")) {
        return help(argv[2]);
    }
    if (!strcmp(word, "--version")) {
        puts("colo " COLO_VERSION);
        return COLO_EXIT_DONE;
    }
    id = colo_options_command(word);
    if (id == COLO_CMD__MAX) {
        return usage_error("there is no command '%s'", word);
    }
    return run(id, argv + 2);
}
