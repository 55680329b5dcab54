/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo-volumes: loads on disks that a test can check afterwards.
 *
 *   colo-volumes serve
 *
 * A text service on one port: one command per line, one line of reply, "ERR"
 * and a reason if it failed. The commands mount file systems (volume.c), write
 * numbered records into files (records.c), commit transactions of an SQLite
 * database (database.c) and write to bare disks (blocks.c). What it
 * acknowledges is on the disk. Replies depend on the commands alone, so two
 * machines in lockstep answer alike.
 *
 * `serve` returns, with the server in the background, once the port is open.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server.h"

enum {
    BACKLOG = 64,
    LINE_BYTES = 512,
    THREAD_STACK_BYTES = 512 << 10,
};

typedef struct Command {
    const char *verb;
    int words_count;
    const char *usage;
    void (*run)(Session *session, char **words);
} Command;

static const Command commands[] = {
    { "MOUNT", 1, "DEVICE", command_mount },
    { "UMOUNT", 1, "DEVICE", command_umount },
    { "FSCK", 1, "DEVICE", command_fsck },
    { "RECORD", 3, "DEVICE STREAM NUMBER", command_record },
    { "RECORDS", 3, "DEVICE STREAM LAST", command_records },
    { "DATABASE", 2, "DEVICE delete|wal", command_database },
    { "COMMIT", 2, "CLIENT NUMBER", command_commit },
    { "AUDIT", 2, "CLIENT LAST", command_audit },
    { "WRITE", 4, "DEVICE random|sequential SEED COUNT", command_write },
    { "READ", 4, "DEVICE random|sequential SEED COUNT", command_read },
    { "DISCARD", 3, "DEVICE OFFSET SIZE", command_discard },
};

void die(const char *what)
{
    fprintf(stderr, "colo-volumes: %s: %s\n", what, strerror(errno));
    exit(1);
}

const char *failure(const char *what)
{
    static __thread char text[PATH_MAX_BYTES + 64];

    snprintf(text, sizeof(text), "%s: %s", what, strerror(errno));
    return text;
}

void answer(Session *session, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(session->output, format, args);
    va_end(args);
    fputc('\n', session->output);
    fflush(session->output);
}

void answer_number(Session *session, const char *problem, uint64_t number)
{
    if (problem) {
        answer(session, "ERR %s", problem);
    } else {
        answer(session, "OK %llu", (unsigned long long)number);
    }
}

uint64_t number_of(const char *word)
{
    char *end;
    uint64_t number = strtoull(word, &end, 10);

    return isdigit((unsigned char)word[0]) && !*end ? number : 0;
}

bool is_name(const char *word)
{
    size_t size = strlen(word);

    return size && size <= NAME_MAX_BYTES && word[0] != '.' &&
           strspn(word, "abcdefghijklmnopqrstuvwxyz"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == size;
}

void drop_caches(void)
{
    int fd;

    sync();
    fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "3", 1) != 1) {
        die("drop_caches");
    }
    close(fd);
}

static void run_command(Session *session, char *line)
{
    char *words[WORDS_MAX + 1] = { NULL };
    char *rest = NULL;
    char *verb = strtok_r(line, " ", &rest);
    int count = 0;

    while (count <= WORDS_MAX && (words[count] = strtok_r(NULL, " ", &rest))) {
        count++;
    }
    for (size_t i = 0; verb && i < sizeof(commands) / sizeof(*commands); i++) {
        const Command *command = &commands[i];

        if (strcmp(verb, command->verb)) {
            continue;
        }
        /* The first word names files, or rows. */
        if (count != command->words_count || !is_name(words[0])) {
            answer(session, "ERR usage: %s %s", verb, command->usage);
        } else {
            command->run(session, words);
        }
        return;
    }
    answer(session, "ERR unknown command");
}

static void *session_run(void *opaque)
{
    int fd = (int)(intptr_t)opaque;
    Session session = { .output = fdopen(dup(fd), "w") };
    FILE *input = fdopen(fd, "r");
    char line[LINE_BYTES];

    if (!input || !session.output) {
        die("a session");
    }
    while (fgets(line, sizeof(line), input)) {
        char *end = strchr(line, '\n');

        if (!end) {
            answer(&session, "ERR line too long");
            break;
        }
        *end = '\0';
        run_command(&session, line);
    }
    records_close(session.records);
    database_close(session.database);
    fclose(session.output);
    fclose(input);
    return NULL;
}

static void accept_one(int listener, pthread_attr_t *attributes)
{
    int one = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    pthread_t thread;

    if (fd < 0) {
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    if (pthread_create(&thread, attributes, session_run,
                       (void *)(intptr_t)fd)) {
        close(fd);
    }
}

static int listen_here(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(PORT_VOLUMES) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (fd < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, BACKLOG) < 0) {
        die("the port");
    }
    return fd;
}

int main(int argc, char **argv)
{
    pthread_attr_t attributes;
    int listener;
    pid_t child;

    if (argc != 2 || strcmp(argv[1], "serve")) {
        fprintf(stderr, "usage: %s serve\n", argv[0]);
        return 1;
    }
    listener = listen_here();
    child = fork();
    if (child < 0) {
        die("fork");
    }
    if (child) {
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    for (;;) {
        accept_one(listener, &attributes);
    }
}
