/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bank in an SQLite database: base.db of a volume.
 *
 * COMMIT client n is one transaction: an entry (client, n) and the transfer
 * that it stands for between two accounts. Accounts, amount and note follow
 * from client and n. It is acknowledged after the commit, with synchronous =
 * EXTRA: it is on the disk. With FULL the end of a rollback journal need not
 * be, and a power failure takes back the newest commit. Sessions share the
 * database and wait for each other.
 *
 * The audit: SQLite's own integrity check; each entry of the client up to the
 * last acknowledged one, as it must be, and none beyond the one that was under
 * way; no money was made or lost, and each account holds what the entries say.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

enum {
    ACCOUNTS_COUNT = 32,
    START_BALANCE = 1000000,
    AMOUNT_MAX = 1000,
    NOTE_BYTES = 600,
    BUSY_LIMIT_MS = 30000,
};

struct Database {
    sqlite3 *handle;
    char problem[256];
};

/* What entry (client, number) says. */
typedef struct Entry {
    int source;
    int target;
    int amount;
    char note[NOTE_BYTES + 1];
} Entry;

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS account"
    " (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS entry"
    " (client TEXT NOT NULL, number INTEGER NOT NULL,"
    "  source INTEGER NOT NULL, target INTEGER NOT NULL,"
    "  amount INTEGER NOT NULL, note TEXT NOT NULL,"
    "  PRIMARY KEY (client, number));"
    "CREATE INDEX IF NOT EXISTS entry_source ON entry (source, amount);"
    "CREATE INDEX IF NOT EXISTS entry_target ON entry (target, amount);";

static Entry entry_of(const char *client, uint64_t number)
{
    uint64_t word = number * 0x9e3779b97f4a7c15u;
    Entry entry;

    for (; *client; client++) {
        word = (word ^ (uint8_t)*client) * 1099511628211u;
    }
    word ^= word >> 29;
    entry.source = word % ACCOUNTS_COUNT;
    entry.target = (entry.source + 1 + word / 64 % (ACCOUNTS_COUNT - 1)) %
                   ACCOUNTS_COUNT;
    entry.amount = 1 + word / 4096 % AMOUNT_MAX;
    for (int i = 0; i < NOTE_BYTES; i++) {
        word = word * 6364136223846793005u + 1442695040888963407u;
        entry.note[i] = 'a' + (word >> 33) % 26;
    }
    entry.note[number % NOTE_BYTES] = '\0';
    return entry;
}

/* -- SQLite, with problems as texts ------------------------------------ */

static const char *complain(Database *base, const char *what)
{
    snprintf(base->problem, sizeof(base->problem), "%s: %s", what,
             sqlite3_errmsg(base->handle));
    return base->problem;
}

static const char *execute(Database *base, const char *sql)
{
    if (sqlite3_exec(base->handle, sql, NULL, NULL, NULL) != SQLITE_OK) {
        return complain(base, sql);
    }
    return NULL;
}

/* The statement with its parameters; or NULL. */
static sqlite3_stmt *prepare(Database *base, const char *sql,
                             const char *client, uint64_t number)
{
    sqlite3_stmt *statement = NULL;

    if (sqlite3_prepare_v2(base->handle, sql, -1, &statement, NULL) !=
        SQLITE_OK) {
        return NULL;
    }
    if (client) {
        sqlite3_bind_text(statement, 1, client, -1, SQLITE_TRANSIENT);
        sqlite3_bind_int64(statement, 2, number);
    }
    return statement;
}

/* The first column of the first row goes to @value. NULL or a reason. */
static const char *ask(Database *base, const char *sql, const char *client,
                       uint64_t number, int64_t *value)
{
    sqlite3_stmt *statement = prepare(base, sql, client, number);
    const char *problem = NULL;

    if (!statement || sqlite3_step(statement) != SQLITE_ROW) {
        problem = complain(base, sql);
    } else {
        *value = sqlite3_column_int64(statement, 0);
    }
    sqlite3_finalize(statement);
    return problem;
}

static const char *open_accounts(Database *base)
{
    char sql[128];
    const char *problem = execute(base, "BEGIN IMMEDIATE");

    if (!problem) {
        problem = execute(base, schema);
    }
    for (int id = 0; id < ACCOUNTS_COUNT && !problem; id++) {
        snprintf(sql, sizeof(sql), "INSERT OR IGNORE INTO account"
                 " VALUES (%d, %d)", id, START_BALANCE);
        problem = execute(base, sql);
    }
    return problem ? problem : execute(base, "COMMIT");
}

void database_close(Database *base)
{
    if (base) {
        sqlite3_close(base->handle);
        free(base);
    }
}

void command_database(Session *session, char **words)
{
    Database *base = calloc(1, sizeof(*base));
    char path[PATH_MAX_BYTES], sql[64];
    const char *problem;

    if (!base || !volume_is_mounted(words[0]) ||
        (strcmp(words[1], "delete") && strcmp(words[1], "wal"))) {
        answer(session, "ERR not mounted, or the journal not delete or wal");
        free(base);
        return;
    }
    database_close(session->database);
    session->database = base;
    volume_path(path, words[0], "base.db");
    if (sqlite3_open(path, &base->handle) != SQLITE_OK) {
        answer(session, "ERR %s", complain(base, path));
        return;
    }
    sqlite3_busy_timeout(base->handle, BUSY_LIMIT_MS);
    snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s", words[1]);
    problem = execute(base, sql);
    if (!problem) {
        problem = execute(base, "PRAGMA synchronous = EXTRA");
    }
    if (!problem) {
        problem = open_accounts(base);
    }
    if (problem) {
        answer(session, "ERR %s", problem);
    } else {
        answer(session, "OK");
    }
}

/* -- transactions ------------------------------------------------------ */

static const char *insert_entry(Database *base, const char *client,
                                uint64_t number, const Entry *entry)
{
    const char *sql = "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)";
    sqlite3_stmt *statement = prepare(base, sql, client, number);
    const char *problem = NULL;

    if (!statement) {
        return complain(base, sql);
    }
    sqlite3_bind_int(statement, 3, entry->source);
    sqlite3_bind_int(statement, 4, entry->target);
    sqlite3_bind_int(statement, 5, entry->amount);
    sqlite3_bind_text(statement, 6, entry->note, -1, SQLITE_STATIC);
    if (sqlite3_step(statement) != SQLITE_DONE) {
        problem = complain(base, sql);
    }
    sqlite3_finalize(statement);
    return problem;
}

static const char *transfer(Database *base, const Entry *entry)
{
    char sql[160];

    snprintf(sql, sizeof(sql),
             "UPDATE account SET balance = balance - %d WHERE id = %d;"
             "UPDATE account SET balance = balance + %d WHERE id = %d",
             entry->amount, entry->source, entry->amount, entry->target);
    return execute(base, sql);
}

void command_commit(Session *session, char **words)
{
    Database *base = session->database;
    uint64_t number = number_of(words[1]);
    const char *problem;
    Entry entry;

    if (!base || !number) {
        answer(session, "ERR no DATABASE, or no number");
        return;
    }
    entry = entry_of(words[0], number);
    problem = execute(base, "BEGIN IMMEDIATE");
    if (!problem) {
        problem = insert_entry(base, words[0], number, &entry);
    }
    if (!problem) {
        problem = transfer(base, &entry);
    }
    if (!problem) {
        problem = execute(base, "COMMIT");
    }
    if (problem && !sqlite3_get_autocommit(base->handle)) {
        sqlite3_exec(base->handle, "ROLLBACK", NULL, NULL, NULL);
    }
    answer_number(session, problem, number);
}

/* -- the audit --------------------------------------------------------- */

static const char *check_integrity(Database *base)
{
    sqlite3_stmt *statement = prepare(base, "PRAGMA integrity_check", NULL, 0);
    const char *problem = NULL;

    if (!statement || sqlite3_step(statement) != SQLITE_ROW) {
        problem = complain(base, "integrity_check");
    } else if (strcmp((const char *)sqlite3_column_text(statement, 0), "ok")) {
        snprintf(base->problem, sizeof(base->problem), "integrity_check: %s",
                 (const char *)sqlite3_column_text(statement, 0));
        problem = base->problem;
    }
    sqlite3_finalize(statement);
    return problem;
}

static bool entry_is(sqlite3_stmt *row, const char *client, uint64_t number)
{
    Entry entry = entry_of(client, number);

    return (uint64_t)sqlite3_column_int64(row, 0) == number &&
           sqlite3_column_int(row, 1) == entry.source &&
           sqlite3_column_int(row, 2) == entry.target &&
           sqlite3_column_int(row, 3) == entry.amount &&
           !strcmp((const char *)sqlite3_column_text(row, 4), entry.note);
}

/* Entries 1 to @last, in this order, with nothing missing or between. */
static const char *check_entries(Database *base, const char *client,
                                 uint64_t last)
{
    const char *sql = "SELECT number, source, target, amount, note FROM entry"
                      " WHERE client = ? AND number <= ? ORDER BY number";
    sqlite3_stmt *statement = prepare(base, sql, client, last);
    const char *problem = NULL;
    uint64_t number = 1;

    if (!statement) {
        return complain(base, sql);
    }
    for (; number <= last && !problem; number++) {
        if (sqlite3_step(statement) != SQLITE_ROW ||
            !entry_is(statement, client, number)) {
            snprintf(base->problem, sizeof(base->problem),
                     "entry %llu of %s is missing or wrong",
                     (unsigned long long)number, client);
            problem = base->problem;
        }
    }
    sqlite3_finalize(statement);
    return problem;
}

static const char *check_none_beyond(Database *base, const char *client,
                                     uint64_t last)
{
    int64_t count = 0;
    const char *problem = ask(base, "SELECT count(*) FROM entry WHERE"
                              " client = ? AND number > ?", client, last + 1,
                              &count);

    return problem || !count ? problem : "there are entries never asked for";
}

/* Accounts that do not hold what their entries say; the total with them. */
static const char *check_balances(Database *base)
{
    int64_t wrong = 0, total = 0;
    char sql[320];
    const char *problem;

    snprintf(sql, sizeof(sql), "SELECT count(*) FROM account WHERE balance !="
             " %d - (SELECT total(amount) FROM entry WHERE source = id)"
             " + (SELECT total(amount) FROM entry WHERE target = id)",
             START_BALANCE);
    problem = ask(base, sql, NULL, 0, &wrong);
    if (!problem) {
        problem = ask(base, "SELECT sum(balance) FROM account", NULL, 0,
                      &total);
    }
    if (!problem && (wrong ||
                     total != (int64_t)ACCOUNTS_COUNT * START_BALANCE)) {
        snprintf(base->problem, sizeof(base->problem),
                 "%lld accounts hold a wrong balance, %lld in all",
                 (long long)wrong, (long long)total);
        problem = base->problem;
    }
    return problem;
}

void command_audit(Session *session, char **words)
{
    Database *base = session->database;
    uint64_t last = number_of(words[1]);
    const char *problem;

    if (!base || !last) {
        answer(session, "ERR no DATABASE, or no number");
        return;
    }
    drop_caches();
    sqlite3_db_release_memory(base->handle);
    problem = check_integrity(base);
    if (!problem) {
        problem = check_entries(base, words[0], last);
    }
    if (!problem) {
        problem = check_none_beyond(base, words[0], last);
    }
    if (!problem) {
        problem = check_balances(base);
    }
    answer_number(session, problem, last);
}
