/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo-volumes: what its parts share. Each connection is one Session in one
 * thread, so calls that wait for the disk delay nobody else. All functions
 * run in the thread of their session.
 */
#ifndef COLO_VOLUMES_SERVER_H
#define COLO_VOLUMES_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
    PORT_VOLUMES = 7007,
    NAME_MAX_BYTES = 31,        /* of devices, streams, clients */
    PATH_MAX_BYTES = 160,
    WORDS_MAX = 4,              /* behind the verb */
};

typedef struct Records Records;
typedef struct Database Database;

typedef struct Session {
    FILE *output;
    Records *records;           /* of the stream last written; or NULL */
    Database *database;         /* or NULL */
} Session;

/* One answer; a session sends exactly one per command. */
void answer(Session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "OK number", or "ERR problem" if there is one. */
void answer_number(Session *session, const char *problem, uint64_t number);

/* Prints "colo-volumes: ..." with the reason in errno, and exits. */
void die(const char *what) __attribute__((noreturn));

/* Everything that has reached the disk is forgotten: reads go to the disk. */
void drop_caches(void);

/* The text for errno, "what: reason"; valid until the thread's next call. */
const char *failure(const char *what);

/* A positive number, or 0 if @word is none. */
uint64_t number_of(const char *word);

/* A name as this server takes it: letters, digits, '-', '.', '_'. */
bool is_name(const char *word);

/* volume.c: a device's file system is mounted at /volumes/DEVICE. */
void volume_path(char path[PATH_MAX_BYTES], const char *device,
                 const char *name);
bool volume_is_mounted(const char *device);
void command_mount(Session *session, char **words);
void command_umount(Session *session, char **words);
void command_fsck(Session *session, char **words);

/* records.c */
void command_record(Session *session, char **words);
void command_records(Session *session, char **words);
void records_close(Records *records);

/* database.c */
void command_database(Session *session, char **words);
void command_commit(Session *session, char **words);
void command_audit(Session *session, char **words);
void database_close(Database *database);

/* blocks.c */
void command_write(Session *session, char **words);
void command_read(Session *session, char **words);
void command_discard(Session *session, char **words);

#endif
