/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line: the table, and what reads a command line by it.
 */
#include "error.h"
#include "options-table.h"

#define BIT(id) (1u << COLO_CMD_##id)
#define OFFSET(field) G_STRUCT_OFFSET(ColoOptions, field)

enum {
    CONNECTED = BIT(PROTECT) | BIT(STATUS) | BIT(UNPROTECT) | BIT(FAILOVER) |
                BIT(CHECKPOINT) | BIT(SET) | BIT(TOP) | BIT(AGENT) |
                BIT(XML) | BIT(LOGS) | BIT(DOCTOR) | BIT(REPAIR),
    MAPPED = BIT(PROTECT) | BIT(XML),
};

const ColoCommandText colo_command_table[COLO_CMD__MAX] = {
    [COLO_CMD_PROTECT] = { "protect", COLO_DOMAIN_NEEDED,
        "Protect a running domain with a secondary on another host" },
    [COLO_CMD_STATUS] = { "status", COLO_DOMAIN_OPTIONAL,
        "Tell whether domains are protected, and what to do if not" },
    [COLO_CMD_UNPROTECT] = { "unprotect", COLO_DOMAIN_NEEDED,
        "End the protection; the domain goes on where it runs" },
    [COLO_CMD_FAILOVER] = { "failover", COLO_DOMAIN_NEEDED,
        "Go on at one side when the other is gone, or move there" },
    [COLO_CMD_CHECKPOINT] = { "checkpoint", COLO_DOMAIN_NEEDED,
        "Bring the secondary to the primary's exact state now" },
    [COLO_CMD_SET] = { "set", COLO_DOMAIN_NEEDED,
        "Change intervals and limits of a protected domain" },
    [COLO_CMD_TOP] = { "top", COLO_DOMAIN_OPTIONAL,
        "Watch protected domains live" },
    [COLO_CMD_AGENT] = { "agent", COLO_DOMAIN_NONE,
        "Take over by itself when a primary's process has died" },
    [COLO_CMD_XML] = { "xml", COLO_DOMAIN_NEEDED,
        "Print domain XML and monitor commands to do it by hand" },
    [COLO_CMD_LOGS] = { "logs", COLO_DOMAIN_NEEDED,
        "Print what both sides say of their protection, in order" },
    [COLO_CMD_DOCTOR] = { "doctor", COLO_DOMAIN_OPTIONAL,
        "Collect what a report of a problem needs" },
    [COLO_CMD_REPAIR] = { "repair", COLO_DOMAIN_OPTIONAL,
        "Undo what an interrupted command has left" },
    [COLO_CMD_HELP] = { "help", COLO_DOMAIN_NONE,
        "Explain a command: colo help [COMMAND|manual|completion]" },
};

const ColoOptionText colo_option_table[] = {
    { CONNECTED, "from", 0, G_OPTION_ARG_STRING, OFFSET(from),
      "Host on which the domain runs", "URI" },
    { CONNECTED, "connect", 'c', G_OPTION_ARG_STRING, OFFSET(from),
      "The same, as virsh calls it", "URI" },
    { CONNECTED, "to", 0, G_OPTION_ARG_STRING, OFFSET(to),
      "The other host", "URI" },
    { BIT(PROTECT), "check", 0, G_OPTION_ARG_NONE, OFFSET(check),
      "Only check whether it is possible", NULL },
    { MAPPED, "disk", 0, G_OPTION_ARG_STRING_ARRAY, OFFSET(disks),
      "Path of a disk's image there, or 'shared'", "TARGET=PATH" },
    { MAPPED, "network", 0, G_OPTION_ARG_STRING_ARRAY, OFFSET(networks),
      "Name of a bridge, network or device there", "HERE=THERE" },
    { MAPPED, "from-address", 0, G_OPTION_ARG_STRING, OFFSET(from_address),
      "Address of the primary's host for the other", "ADDRESS" },
    { MAPPED, "to-address", 0, G_OPTION_ARG_STRING, OFFSET(to_address),
      "Address of the other host for the primary's", "ADDRESS" },
    { MAPPED, "port", 0, G_OPTION_ARG_INT, OFFSET(port),
      "First TCP port to be used (default 49800)", "PORT" },
    { BIT(PROTECT) | BIT(SET), "interval", 'i', G_OPTION_ARG_INT,
      OFFSET(interval_ms), "Longest time between checkpoints", "MS" },
    { BIT(PROTECT) | BIT(SET), "memory-buffer", 0, G_OPTION_ARG_STRING,
      OFFSET(memory_buffer),
      "Most memory one checkpoint may take there; 0: no limit", "BYTES" },
    { BIT(PROTECT), "disk-buffer", 0, G_OPTION_ARG_STRING,
      OFFSET(disk_buffer),
      "Memory for disk writes there, for each disk", "BYTES" },
    { BIT(PROTECT), "speed", 0, G_OPTION_ARG_STRING, OFFSET(speed),
      "Copy disks and memory not faster than this", "BYTES/S" },
    { BIT(PROTECT), "timeout", 0, G_OPTION_ARG_INT, OFFSET(timeout_s),
      "Give up and undo after this time", "S" },
    { BIT(SET), "step-limit", 0, G_OPTION_ARG_INT, OFFSET(step_limit_ms),
      "Silence after which the peer counts as lost", "MS" },
    { BIT(SET), "checkpoint-limit", 0, G_OPTION_ARG_INT,
      OFFSET(checkpoint_limit_ms),
      "Longest checkpoint before the peer counts as lost", "MS" },
    { BIT(SET), "heartbeat", 0, G_OPTION_ARG_INT, OFFSET(heartbeat_ms),
      "Silence after which a sign of life is asked for", "MS" },
    { BIT(SET), "min-gap", 0, G_OPTION_ARG_INT, OFFSET(min_gap_ms),
      "Shortest time between two checkpoints", "MS" },
    { BIT(SET), "mismatch-gap", 0, G_OPTION_ARG_INT, OFFSET(mismatch_gap_ms),
      "The same where only the network asks for one", "MS" },
    { BIT(FAILOVER), "planned", 0, G_OPTION_ARG_NONE, OFFSET(planned),
      "Both sides live: move the guest to the secondary", NULL },
    { BIT(FAILOVER), "force", 0, G_OPTION_ARG_NONE, OFFSET(force),
      "I have made sure that the other side is off", NULL },
    { BIT(XML), "role", 0, G_OPTION_ARG_STRING, OFFSET(role),
      "Which side: primary or secondary", "ROLE" },
    { BIT(STATUS) | BIT(LOGS), "watch", 'w', G_OPTION_ARG_NONE,
      OFFSET(watch), "Go on until Ctrl-C", NULL },
    { BIT(AGENT), "once", 0, G_OPTION_ARG_NONE, OFFSET(once),
      "End after the first takeover", NULL },
    { CONNECTED, "json", 'j', G_OPTION_ARG_NONE, OFFSET(json),
      "Answer as JSON", NULL },
    { CONNECTED, "verbose", 'v', G_OPTION_ARG_NONE, OFFSET(verbose),
      "Show progress: percent, rate, time left", NULL },
    { CONNECTED, "quiet", 'q', G_OPTION_ARG_NONE, OFFSET(quiet),
      "Say nothing but errors", NULL },
    { 0 }
};

void colo_options_clear(ColoOptions *o)
{
    g_free(o->domain);
    g_free(o->from);
    g_free(o->to);
    g_free(o->from_address);
    g_free(o->to_address);
    g_strfreev(o->disks);
    g_strfreev(o->networks);
    g_free(o->role);
    g_free(o->memory_buffer);
    g_free(o->disk_buffer);
    g_free(o->speed);
    *o = (ColoOptions) {};
}

ColoCommandId colo_options_command(const char *name)
{
    unsigned id;

    for (id = 0; id < COLO_CMD__MAX; id++) {
        if (!strcmp(name, colo_command_table[id].name)) {
            break;
        }
    }
    return id;
}

const char *colo_options_name(ColoCommandId id)
{
    return colo_command_table[id].name;
}

static GOptionContext *context_of(ColoOptions *options, ColoCommandId id)
{
    static const char *const places[] = {
        [COLO_DOMAIN_NONE] = "",
        [COLO_DOMAIN_OPTIONAL] = "[DOMAIN]",
        [COLO_DOMAIN_NEEDED] = "DOMAIN",
    };
    const ColoCommandText *command = &colo_command_table[id];
    GOptionContext *context = g_option_context_new(places[command->domain]);
    g_autoptr(GArray) entries = g_array_new(TRUE, TRUE,
                                            sizeof(GOptionEntry));
    const ColoOptionText *row;

    for (row = colo_option_table; row->commands; row++) {
        GOptionEntry entry = {
            .long_name = row->name,
            .short_name = row->letter,
            .arg = row->arg,
            .arg_data = (char *)options + row->offset,
            .description = row->text,
            .arg_description = row->value,
        };

        if (row->commands & (1u << id)) {
            g_array_append_val(entries, entry);
        }
    }
    g_option_context_set_summary(context, command->summary);
    g_option_context_set_help_enabled(context, FALSE);
    g_option_context_add_main_entries(
        context, (const GOptionEntry *)entries->data, NULL);
    return context;
}

/* What is left of the command line is the domain. */
static bool take_domain(ColoOptions *options, ColoCommandId id, char **argv,
                        GError **error)
{
    const ColoCommandText *command = &colo_command_table[id];
    const char *domain = argv[1];

    if (domain && !strcmp(domain, "--")) {
        argv++;
        domain = argv[1];
    }
    if (!domain && command->domain == COLO_DOMAIN_NEEDED) {
        colo_error_set(error, COLO_EXIT_USAGE, "%s needs the name of a "
                       "domain; see colo help %s", command->name,
                       command->name);
        return false;
    }
    if (domain && (command->domain == COLO_DOMAIN_NONE || argv[2])) {
        colo_error_set(error, COLO_EXIT_USAGE, "'%s' is one argument too "
                       "many; see colo help %s",
                       command->domain == COLO_DOMAIN_NONE ? domain : argv[2],
                       command->name);
        return false;
    }
    options->domain = g_strdup(domain);
    return true;
}

bool colo_options_parse(ColoOptions *options, ColoCommandId id, char **argv,
                        GError **error)
{
    g_autoptr(GOptionContext) context = NULL;
    g_autoptr(GPtrArray) all = g_ptr_array_new();
    g_autoptr(GError) why = NULL;
    g_auto(GStrv) copy = NULL;
    unsigned i;

    *options = (ColoOptions) {
        .port = 49800, .interval_ms = -1, .timeout_s = -1,
        .step_limit_ms = -1, .checkpoint_limit_ms = -1, .heartbeat_ms = -1,
        .min_gap_ms = -1, .mismatch_gap_ms = -1,
    };
    context = context_of(options, id);
    g_ptr_array_add(all, g_strdup("colo"));
    for (i = 0; argv[i]; i++) {
        g_ptr_array_add(all, g_strdup(argv[i]));
    }
    g_ptr_array_add(all, NULL);
    copy = (GStrv)g_steal_pointer(&all->pdata);
    if (!g_option_context_parse_strv(context, &copy, &why)) {
        colo_error_set(error, COLO_EXIT_USAGE, "%s", why->message);
        return false;
    }
    return take_domain(options, id, copy, error);
}

char *colo_options_help(ColoCommandId id)
{
    ColoOptions options = {};
    g_autoptr(GOptionContext) context = context_of(&options, id);
    g_autofree char *program = g_get_prgname() ? g_strdup(g_get_prgname())
                                               : NULL;
    g_autofree char *name = g_strdup_printf("colo %s",
                                            colo_command_table[id].name);
    char *text;

    g_set_prgname(name);
    text = g_option_context_get_help(context, TRUE, NULL);
    g_set_prgname(program);
    return text;
}
