/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ledger: numbered requests over UDP, each answered from all before it.
 *
 * "NEXT client n" -> "OK client n sum". A client's numbers begin at 1 and rise
 * by one; the sum is a checksum over all of them so far. The last number again
 * gets the last answer again: so a client repeats what was lost and still
 * nothing counts twice. Any other number is answered "ERR client last": the
 * client then knows that an acknowledged request was undone.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "crc32.h"
#include "services.h"

enum {
    CLIENTS_MAX = 64,
    NAME_MAX_BYTES = 31,
    REQUEST_MAX_BYTES = 127,
};

typedef struct Client {
    char name[NAME_MAX_BYTES + 1];
    uint64_t last;
    uint32_t sum;
} Client;

static struct {
    Client clients[CLIENTS_MAX];
    unsigned clients_count;
} ledger;

/* The client of that name, made on first use; NULL if the table is full. */
static Client *client_of(const char *name)
{
    for (unsigned i = 0; i < ledger.clients_count; i++) {
        if (!strcmp(ledger.clients[i].name, name)) {
            return &ledger.clients[i];
        }
    }
    if (ledger.clients_count == CLIENTS_MAX) {
        return NULL;
    }
    strcpy(ledger.clients[ledger.clients_count].name, name);
    return &ledger.clients[ledger.clients_count++];
}

static void advance(Client *client)
{
    struct {
        uint64_t number;
        uint32_t sum_before;
        uint32_t zero;
    } link = { client->last + 1, client->sum, 0 };

    client->sum = crc32_of(&link, sizeof(link));
    client->last++;
}

size_t ledger_datagram(const uint8_t *request, size_t size, uint8_t *reply)
{
    char line[REQUEST_MAX_BYTES + 1];
    char name[NAME_MAX_BYTES + 1];
    char *out = (char *)reply;
    uint64_t number;
    Client *client;

    if (size > REQUEST_MAX_BYTES) {
        return sprintf(out, "ERR request too long");
    }
    memcpy(line, request, size);
    line[size] = '\0';
    if (sscanf(line, "NEXT %31s %" SCNu64, name, &number) != 2) {
        return sprintf(out, "ERR usage: NEXT client number");
    }
    client = client_of(name);
    if (!client) {
        return sprintf(out, "ERR more than %d clients", CLIENTS_MAX);
    }
    if (number == client->last + 1) {
        advance(client);
    } else if (number != client->last || !number) {
        return sprintf(out, "ERR %s %" PRIu64, name, client->last);
    }
    return sprintf(out, "OK %s %" PRIu64 " %08" PRIx32, name, number,
                   client->sum);
}
