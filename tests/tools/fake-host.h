/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host that is a model: libvirt and QEMU as far as `colo` uses them.
 *
 * It keeps what the commands put into it, refuses what QEMU would refuse, and
 * can be told to fail at the n-th call. What it holds can be written down as
 * text, so that a test sees whether everything is as it was before.
 */
#ifndef TESTS_TOOLS_FAKE_HOST_H
#define TESTS_TOOLS_FAKE_HOST_H

#include "host.h"

typedef struct FakeHost FakeHost;

/* Counts the calls of all hosts that share it. */
typedef struct FakeWorld {
    unsigned call_count;
    unsigned fail_at;           /* that call fails; 0: none */
    bool is_dead_from_then;     /* ... and all later ones, as if killed */
    char *failed;               /* what it was */
    unsigned crash_at;          /* before that call host a's QEMU crashes */
    unsigned end_at;            /* ... and that one host b's is ended */
    bool is_crash_unseen;       /* ... and libvirt does not know yet */
    bool is_lost_then;          /* ... and then b was able to go on */
    FakeHost *hosts[2];
    GQueue events;              /* ColoHostEvent, for whoever waits */
    unsigned idle_left;         /* 0: waiting never ends; else so many times
                                 * with nothing under way, then the
                                 * connection is closed */
    void (*half_way)(struct FakeWorld *world);  /* when half are left */
} FakeWorld;

struct FakeHost {
    ColoHost host;
    FakeWorld *world;
    FakeHost *peer;
    const char *name;
    ColoDomState state;
    bool is_persistent;
    bool is_autostarted;
    bool is_crashed;
    char *xml;                  /* of the domain; NULL: absent */
    char *pair;                 /* metadata */
    char *version;              /* of QEMU */
    GHashTable *things;         /* nodes, chardevs, ...: "chardev colo-link0" */
    GHashTable *volumes;        /* path -> size as text */
    GHashTable *taken_ports;    /* port as text -> its owner */
    GHashTable *attached;       /* replication node -> waits to be in sync */
    JsonObject *parameters;
    bool has_x_colo;
    bool has_storage;           /* its libvirt has that driver */
    const char *migration;
    const char *phase;          /* as query-colo tells it */
    const char *cause;
    bool is_secondary;
    unsigned waits_left;        /* until a migration becomes lockstep */
    bool is_dead_unseen;        /* its process; libvirt does not know yet */
    bool is_process_watched;
    bool is_remote;             /* ... which is not possible */
    bool is_merging;            /* a disk, after a takeover */
    const char *refused;        /* that command of its monitor */
    unsigned refused_left;      /* ... so many times */
    void (*on_refusal)(FakeWorld *world);
    unsigned settling_left;     /* a survivor's network cards; so many looks */
    void (*on_settling)(FakeWorld *world);
    unsigned release_left;      /* until a survivor lets go of things */
    unsigned ref_count;
};

/* Two hosts, domain "vm" running on the first one, with @xml. */
void fake_world_init(FakeWorld *world, const char *xml);
void fake_world_clear(FakeWorld *world);

/* For colo_open: "test:a" and "test:b" of the world used last. */
ColoHost *fake_open(const char *uri, GError **error);

/* For colo_now_ms: time passes only while somebody waits. */
int64_t fake_now_ms(void);

/* Something happens on that host; @data is JSON or NULL. */
void fake_world_post(FakeWorld *world, unsigned host, ColoEventKind kind,
                     const char *name, const char *data, bool is_crash);

/* Everything both hosts hold, sorted. Caller frees. */
char *fake_world_text(const FakeWorld *world);

/* An ordinary domain: two disks, a CD drive, two network cards. */
extern const char fake_domain_xml[];

#define FAKE_UUID "8e1d8f2c-0f5e-4b86-9a59-0d6a2f3a1c11"

#endif
