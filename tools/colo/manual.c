/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The manual page, the overview and the shell's completion, from the table of
 * the command line.
 */
#include "options-table.h"

static const struct {
    int status;
    const char *text;
} exits[] = {
    { 0, "Done." },
    { 1, "It failed, and was undone." },
    { 2, "The command line is wrong." },
    { 3, "libvirt cannot be reached." },
    { 4, "There is no such domain." },
    { 5, "A pre-flight check failed; nothing was done." },
    { 6, "Refused: the guest might run twice." },
    { 7, "Something is left half-done: run colo repair." },
    { 8, "Interrupted by the user, and undone." },
};

static const struct {
    const char *name;
    const char *text;
} places[] = {
    { "COLO_STATE_DIR", "Directory of journals; by default /var/lib/colo, for "
      "users ~/.local/state/colo." },
    { "LIBVIRT_DEFAULT_URI", "What is connected to without --from." },
};

static const char about[] =
    "A protected domain runs on two hosts at once. Every request from the "
    "network reaches both; an answer leaves only when both have given it, or "
    "when the second has been brought to the first one's exact state. When "
    "either host dies, the other goes on: nothing that was acknowledged is "
    "lost, and no connection breaks.";

static const char examples[] =
    "  colo protect vm1 --to qemu+ssh://b.example.org/system\n"
    "  colo status vm1\n"
    "  colo failover vm1 --connect qemu+ssh://b.example.org/system\n";

char *colo_options_overview(void)
{
    GString *text = g_string_new(
        "Usage: colo COMMAND [OPTION...] [DOMAIN]\n\n"
        "Protects running libvirt domains against the loss of their host.\n\n"
        "Commands:\n");
    unsigned id;

    for (id = 0; id < COLO_CMD__MAX; id++) {
        g_string_append_printf(text, "  %-11s %s\n",
                               colo_command_table[id].name,
                               colo_command_table[id].summary);
    }
    g_string_append_printf(text,
        "\nExamples:\n%s\n"
        "colo help COMMAND explains one; colo --version tells the version.\n",
        examples);
    return g_string_free(text, FALSE);
}

static void append_escaped(GString *roff, const char *text)
{
    for (; *text; text++) {
        if (*text == '-' || *text == '\\') {
            g_string_append_c(roff, '\\');
        }
        g_string_append_c(roff, *text);
    }
}

static void append_item(GString *roff, const char *title, const char *text)
{
    g_string_append(roff, ".TP\n\\fB");
    append_escaped(roff, title);
    g_string_append(roff, "\\fR\n");
    append_escaped(roff, text);
    g_string_append_c(roff, '\n');
}

static void append_option(GString *roff, const ColoOptionText *row)
{
    g_autofree char *letter = row->letter
        ? g_strdup_printf("-%c, ", row->letter) : g_strdup("");
    g_autofree char *title = g_strdup_printf(
        "%s--%s%s%s", letter, row->name, row->value ? " " : "",
        row->value ? row->value : "");

    append_item(roff, title, row->text);
}

/* Options that every command but help takes are told once. */
static bool is_common(const ColoOptionText *row)
{
    return !(~row->commands & ((1u << COLO_CMD_HELP) - 1));
}

static void append_command(GString *roff, unsigned id)
{
    static const char *const domains[] = { "", " [DOMAIN]", " DOMAIN" };
    const ColoCommandText *command = &colo_command_table[id];
    const ColoOptionText *row;

    g_string_append_printf(roff, ".SS %s%s\n", command->name,
                           domains[command->domain]);
    append_escaped(roff, command->summary);
    g_string_append(roff, ".\n");
    for (row = colo_option_table; row->commands; row++) {
        if (row->commands & (1u << id) && !is_common(row)) {
            append_option(roff, row);
        }
    }
}

char *colo_options_manual(void)
{
    GString *roff = g_string_new(
        ".\\\" SPDX-License-Identifier: GPL-2.0-or-later\n"
        ".\\\" Made by `colo help manual`.\n"
        ".TH COLO 1 \"\" \"COLO for QEMU\" \"User Commands\"\n"
        ".SH NAME\n"
        "colo \\- protect libvirt domains against the loss of their host\n"
        ".SH SYNOPSIS\n.B colo\n\\fICOMMAND\\fR [\\fIOPTION\\fR...] "
        "[\\fIDOMAIN\\fR]\n.SH DESCRIPTION\n");
    const ColoOptionText *row;
    unsigned i;

    append_escaped(roff, about);
    g_string_append(roff, "\n.SH COMMANDS\n");
    for (i = 0; i < COLO_CMD__MAX; i++) {
        append_command(roff, i);
    }
    g_string_append(roff, ".SH COMMON OPTIONS\n");
    for (row = colo_option_table; row->commands; row++) {
        if (is_common(row)) {
            append_option(roff, row);
        }
    }
    g_string_append(roff, ".SH EXIT STATUS\n");
    for (i = 0; i < G_N_ELEMENTS(exits); i++) {
        g_autofree char *number = g_strdup_printf("%d", exits[i].status);

        append_item(roff, number, exits[i].text);
    }
    g_string_append(roff, ".SH ENVIRONMENT\n");
    for (i = 0; i < G_N_ELEMENTS(places); i++) {
        append_item(roff, places[i].name, places[i].text);
    }
    g_string_append(roff, ".SH EXAMPLES\n.nf\n");
    append_escaped(roff, examples);
    g_string_append(roff, ".fi\n.SH SEE ALSO\n.BR virsh (1)\n");
    return g_string_free(roff, FALSE);
}

static void append_words(GString *text, unsigned id)
{
    const ColoOptionText *row;

    g_string_append_printf(text, "    %s) words=\"",
                           colo_command_table[id].name);
    for (row = colo_option_table; row->commands; row++) {
        if (row->commands & (1u << id)) {
            g_string_append_printf(text, "--%s ", row->name);
        }
    }
    g_string_append(text, "\" ;;\n");
}

char *colo_options_completion(void)
{
    GString *text = g_string_new(
        "# bash completion for colo, made by `colo help completion`\n"
        "_colo()\n{\n"
        "    local word=${COMP_WORDS[COMP_CWORD]} words=\n"
        "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words=\"");
    unsigned id;

    for (id = 0; id < COLO_CMD__MAX; id++) {
        g_string_append_printf(text, "%s ", colo_command_table[id].name);
    }
    g_string_append(text,
        "\"\n    elif [ \"${word#-}\" = \"$word\" ]; then\n"
        "        words=$(virsh -q list --all --name 2> /dev/null)\n"
        "    else\n    case ${COMP_WORDS[1]} in\n");
    for (id = 0; id < COLO_CMD_HELP; id++) {
        append_words(text, id);
    }
    g_string_append(text,
        "    esac\n    fi\n"
        "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\n"
        "complete -F _colo colo\n");
    return g_string_free(text, FALSE);
}
