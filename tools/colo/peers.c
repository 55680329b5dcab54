/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections to other hosts, for who must not wait for them.
 */
#include "command.h"
#include "live.h"
#include "peers.h"

enum { REOPEN_MS = 5000 };

typedef struct Peer {
    char *uri;
    ColoHost *host;             /* NULL: not connected */
    bool is_opening;
    int64_t retry_ms;
} Peer;

struct ColoPeers {
    GHashTable *table;          /* URI -> Peer */
    GAsyncQueue *answers;       /* Answer, from other threads */
    ColoPeersOpened *opened;
    void *opaque;
};

/* What a thread is given, and gives back. */
typedef struct Answer {
    GAsyncQueue *answers;
    char *uri;
    ColoHost *host;             /* NULL: it failed */
} Answer;

static void peer_free(gpointer opaque)
{
    Peer *peer = opaque;

    colo_host_free(peer->host);
    g_free(peer->uri);
    g_free(peer);
}

static void answer_free(gpointer opaque)
{
    Answer *answer = opaque;

    colo_host_free(answer->host);
    g_free(answer->uri);
    g_free(answer);
}

ColoPeers *colo_peers_new(ColoPeersOpened *opened, void *opaque)
{
    ColoPeers *peers = g_new0(ColoPeers, 1);

    peers->table = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                                         peer_free);
    peers->answers = g_async_queue_new_full(answer_free);
    peers->opened = opened;
    peers->opaque = opaque;
    return peers;
}

void colo_peers_free(ColoPeers *peers)
{
    g_hash_table_unref(peers->table);
    g_async_queue_unref(peers->answers);
    g_free(peers);
}

ColoHost *colo_peers_host(ColoPeers *peers, const char *uri)
{
    Peer *peer = g_hash_table_lookup(peers->table, uri);

    if (!peer) {
        peer = g_new0(Peer, 1);
        peer->uri = g_strdup(uri);
        g_hash_table_insert(peers->table, peer->uri, peer);
    }
    return peer->host;
}

const char *colo_peers_uri(ColoPeers *peers, const ColoHost *host)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, peers->table);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Peer *peer = value;

        if (peer->host == host) {
            return peer->uri;
        }
    }
    return NULL;
}

void colo_peers_close(ColoPeers *peers, const char *uri)
{
    Peer *peer = g_hash_table_lookup(peers->table, uri);

    g_clear_pointer(&peer->host, colo_host_free);
}

static gpointer open_thread(gpointer opaque)
{
    Answer *answer = opaque;
    GAsyncQueue *answers = answer->answers;

    answer->host = colo_open(answer->uri, NULL);
    g_async_queue_push(answers, answer);
    g_async_queue_unref(answers);
    return NULL;
}

static void begin_to_open(ColoPeers *peers, Peer *peer)
{
    Answer *answer = g_new0(Answer, 1);

    answer->answers = g_async_queue_ref(peers->answers);
    answer->uri = g_strdup(peer->uri);
    peer->is_opening = true;
    g_thread_unref(g_thread_new("open", open_thread, answer));
}

static void take_answer(ColoPeers *peers, Answer *answer)
{
    Peer *peer = g_hash_table_lookup(peers->table, answer->uri);

    peer->is_opening = false;
    peer->retry_ms = colo_now_ms() + REOPEN_MS;
    peer->host = g_steal_pointer(&answer->host);
    if (peer->host && !colo_host_watch(peer->host, NULL)) {
        g_clear_pointer(&peer->host, colo_host_free);
    }
    peers->opened(peers->opaque, peer->uri, peer->host);
}

bool colo_peers_keep(ColoPeers *peers)
{
    GHashTableIter iter;
    gpointer value;
    bool is_opening = false;
    Answer *answer;

    while ((answer = g_async_queue_try_pop(peers->answers))) {
        take_answer(peers, answer);
        answer_free(answer);
    }
    g_hash_table_iter_init(&iter, peers->table);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Peer *peer = value;

        if (!peer->host && !peer->is_opening &&
            colo_now_ms() >= peer->retry_ms) {
            begin_to_open(peers, peer);
        }
        is_opening |= peer->is_opening;
    }
    return is_opening;
}
