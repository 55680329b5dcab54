/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo top: protected domains live, in a terminal.
 *
 * Looks once in a while and draws what it saw, or prints it as one line of
 * JSON. What counts from the beginning is shown as what it was since the last
 * look.
 */
#include <curses.h>
#include <stdio.h>
#include "cancel.h"
#include "command.h"
#include "error.h"
#include "live.h"
#include "side.h"
#include "spark.h"
#include "units.h"

enum { LOOK_MS = 1000, LOOK_LIMIT_MS = 2000, SPARK_WIDTH = 40, LINES_EACH = 8 };

typedef struct Row {
    ColoSpark pause;        /* us */
    ColoSpark dirty;        /* bytes per second */
    ColoSpark hold;         /* bytes held */
    uint64_t last_sent;
    int64_t last_ms;
} Row;

typedef struct Top {
    const ColoOptions *options;
    ColoHost *host;
    GHashTable *rows;       /* domain -> Row */
} Top;

static Row *row_of(Top *top, const char *domain)
{
    Row *row = g_hash_table_lookup(top->rows, domain);

    if (!row) {
        row = g_new0(Row, 1);
        g_hash_table_insert(top->rows, g_strdup(domain), row);
    }
    return row;
}

static void note(Row *row, const ColoReport *r, int64_t now_ms)
{
    if (row->last_ms && now_ms > row->last_ms &&
        r->total_sent_bytes >= row->last_sent) {
        colo_spark_add(&row->dirty, 1000.0 *
                       (r->total_sent_bytes - row->last_sent) /
                       (now_ms - row->last_ms));
    }
    colo_spark_add(&row->pause, r->pause_last_us);
    colo_spark_add(&row->hold, r->held_bytes);
    row->last_sent = r->total_sent_bytes;
    row->last_ms = now_ms;
}

/* What is to be told of one domain. */
typedef struct Look {
    ColoView *view;         /* NULL: see .problem */
    GError *problem;
    char *text;             /* of its verdict */
    Row *row;
    const ColoReport *report;   /* the primary's; NULL: none */
} Look;

static void look_clear(Look *look)
{
    g_clear_pointer(&look->view, colo_view_free);
    g_clear_error(&look->problem);
    g_clear_pointer(&look->text, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Look, look_clear)

static Look look_at(Top *top, const char *name)
{
    Look look = { .row = row_of(top, name) };
    const ColoSide *primary;

    look.view = colo_view_new(top->options->from, top->options->to, name,
                              LOOK_LIMIT_MS, &look.problem);
    if (!look.view) {
        return look;
    }
    look.text = colo_verdict_text(&look.view->verdict);
    primary = look.view->verdict.primary;
    look.report = primary ? primary->report : NULL;
    if (look.report) {
        note(look.row, look.report, colo_now_ms());
    }
    return look;
}

/* ------------------------------------------------------------- drawing */

/* Frees @value. */
static void draw_spark(int y, const char *name, const ColoSpark *spark,
                       char *value)
{
    g_autofree char *owned = value;
    g_autofree char *bars = colo_spark_text(spark, SPARK_WIDTH);

    mvprintw(y, 2, "%-10s %s  %s", name, bars, owned);
}

static double newest(const ColoSpark *spark)
{
    return spark->count ? spark->values[spark->count - 1] : 0;
}

static void draw_numbers(int y, const ColoReport *r, const Row *row)
{
    g_autofree char *rate = colo_units_bytes(newest(&row->dirty));
    g_autofree char *longest = colo_units_us(r->longest_hold_us);

    mvprintw(y, 2, "epoch %" PRIu64 ", %" PRIu64 " checkpoints, "
             "%" PRIu64 " of them by mismatch", r->epoch,
             r->checkpoint_count, r->reason_counts[1]);
    draw_spark(y + 1, "pause", &row->pause, colo_units_us(r->pause_last_us));
    draw_spark(y + 2, "sent", &row->dirty, g_strdup_printf("%s/s", rate));
    draw_spark(y + 3, "held", &row->hold, g_strdup_printf(
        "%" PRIu64 " frames, longest %s", r->held_frames, longest));
}

static void draw_domain(Top *top, const char *name, int y)
{
    g_auto(Look) look = look_at(top, name);

    attron(A_BOLD);
    mvprintw(y, 0, "%s", name);
    attroff(A_BOLD);
    if (!look.view) {
        mvprintw(y, 20, "%s", look.problem->message);
        return;
    }
    attron(look.view->verdict.is_protected ? A_NORMAL : A_REVERSE);
    mvprintw(y, 20, "%s", look.text);
    attroff(A_REVERSE);
    if (look.report) {
        draw_numbers(y + 1, look.report, look.row);
    }
    if (look.view->verdict.remedy) {
        mvprintw(y + 5, 2, "%s", look.view->verdict.remedy);
    }
}

static GPtrArray *names_of(Top *top)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) all = NULL;
    unsigned i;

    if (top->options->domain) {
        g_ptr_array_add(names, g_strdup(top->options->domain));
        return names;
    }
    all = colo_host_domains(top->host, NULL);
    for (i = 0; all && i < all->len; i++) {
        const char *name = g_ptr_array_index(all, i);
        g_autoptr(ColoPair) pair = colo_host_pair(top->host, name, NULL);

        if (pair) {
            g_ptr_array_add(names, g_strdup(name));
        }
    }
    return names;
}

static void draw(Top *top)
{
    g_autoptr(GPtrArray) names = names_of(top);
    unsigned i;

    erase();
    mvprintw(0, 0, "colo top: %u domain%s at %s; q ends", names->len,
             names->len == 1 ? "" : "s",
             top->options->from ? top->options->from : "this host");
    for (i = 0; i < names->len && (int)(2 + i * LINES_EACH) < LINES; i++) {
        draw_domain(top, g_ptr_array_index(names, i), 2 + i * LINES_EACH);
    }
    refresh();
}

/* ---------------------------------------------------------------- JSON */

static void add_numbers(JsonObject *object, const ColoReport *r, Row *row)
{
    json_object_set_int_member(object, "epoch", r->epoch);
    json_object_set_int_member(object, "checkpoints", r->checkpoint_count);
    json_object_set_int_member(object, "mismatches", r->reason_counts[1]);
    json_object_set_int_member(object, "pause-us", r->pause_last_us);
    json_object_set_int_member(object, "sent-bytes-per-s",
                               newest(&row->dirty));
    json_object_set_int_member(object, "held-frames", r->held_frames);
    json_object_set_int_member(object, "held-bytes", r->held_bytes);
    json_object_set_int_member(object, "longest-hold-us",
                               r->longest_hold_us);
}

static JsonNode *domain_json(Top *top, const char *name)
{
    g_auto(Look) look = look_at(top, name);
    JsonNode *node;

    if (!look.view) {
        return colo_json("s:domain", name,
                         "s:problem", look.problem->message, NULL);
    }
    node = colo_json("s:domain", name,
                     "b:protected", look.view->verdict.is_protected,
                     "s:status", look.text,
                     "s:remedy", look.view->verdict.remedy, NULL);
    if (look.report) {
        add_numbers(json_node_get_object(node), look.report, look.row);
    }
    return node;
}

/* One object for each look, until Ctrl-C. */
static void print_looks(Top *top)
{
    while (!colo_cancel_asked()) {
        g_autoptr(GDateTime) now = g_date_time_new_now_utc();
        g_autofree char *time = g_date_time_format(now, "%FT%T.%fZ");
        g_autoptr(GPtrArray) names = names_of(top);
        JsonNode *list = colo_json_list();
        g_autoptr(JsonNode) look = colo_json("s:time", time,
                                             "o:domains", list, NULL);
        g_autofree char *line = NULL;
        unsigned i;

        for (i = 0; i < names->len; i++) {
            json_array_add_element(
                json_node_get_array(list),
                domain_json(top, g_ptr_array_index(names, i)));
        }
        line = colo_json_text(look, false);
        puts(line);
        fflush(stdout);
        colo_host_event_free(colo_host_wait(top->host, LOOK_MS));
    }
}

/* ------------------------------------------------------------ terminal */

/* Keys are looked at between two looks at the domains. */
static bool is_ended(void)
{
    int key;

    while ((key = getch()) != ERR) {
        if (key == 'q' || key == 'Q') {
            return true;
        }
    }
    return colo_cancel_asked();
}

static void draw_looks(Top *top)
{
    initscr();
    cbreak();
    noecho();
    curs_set(0);
    timeout(LOOK_MS);
    do {
        draw(top);
    } while (!is_ended());
    endwin();
}

bool colo_top(const ColoOptions *options, JsonNode **result, GError **error)
{
    Top top = { .options = options };

    top.host = colo_open(options->from, error);
    if (!top.host) {
        return false;
    }
    top.rows = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    if (options->json) {
        print_looks(&top);
    } else {
        draw_looks(&top);
    }
    g_hash_table_unref(top.rows);
    colo_host_free(top.host);
    return true;
}
