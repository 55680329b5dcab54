/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A name server whose answers follow from the question alone (RFC 1035).
 *
 * With c the CRC-32 of the name in lower case, its labels joined by dots and
 * none at the end:
 *   A     10.x.y.z, the lower three bytes of c
 *   AAAA  fd00::c (RFC 3596)
 * A name that begins with "none." does not exist; another type has no record.
 * What is not a plain question gets FORMERR or NOTIMP; what is shorter than a
 * header, or itself an answer, gets nothing.
 */
#include <ctype.h>
#include <string.h>

#include "crc32.h"
#include "services.h"

enum {
    HEADER_BYTES = 12,
    NAME_MAX_BYTES = 255,
    LABEL_MAX_BYTES = 63,
    QUESTION_TAIL_BYTES = 4,        /* type and class */
    TTL_S = 60,

    FLAG_RESPONSE = 0x8000,
    FLAG_AUTHORITATIVE = 0x0400,
    FLAG_RECURSION_DESIRED = 0x0100,
    OPCODE_MASK = 0x7800,

    RCODE_FORMAT = 1,
    RCODE_NO_NAME = 3,
    RCODE_NOT_IMPLEMENTED = 4,

    TYPE_A = 1,
    TYPE_AAAA = 28,
    CLASS_IN = 1,
    NAME_OF_QUESTION = 0xc000 | HEADER_BYTES,   /* compressed name */
};

typedef struct Question {
    char name[NAME_MAX_BYTES + 1];
    unsigned type;
    unsigned class;
    size_t end;                     /* offset behind the question */
} Question;

static unsigned get16(const uint8_t *at)
{
    return at[0] << 8 | at[1];
}

static uint8_t *put16(uint8_t *at, unsigned value)
{
    at[0] = value >> 8;
    at[1] = value;
    return at + 2;
}

static uint8_t *put32(uint8_t *at, uint32_t value)
{
    return put16(put16(at, value >> 16), value);
}

/* Reads the labels at *at; the name in @name, *at behind them. */
static bool parse_name(const uint8_t *request, size_t size, size_t *at,
                       char *name)
{
    size_t used = 0;

    while (*at < size && request[*at]) {
        size_t label = request[(*at)++];

        if (label > LABEL_MAX_BYTES || *at + label > size ||
            used + label + 1 > NAME_MAX_BYTES) {
            return false;
        }
        if (used) {
            name[used++] = '.';
        }
        for (size_t i = 0; i < label; i++) {
            name[used++] = tolower(request[(*at)++]);
        }
    }
    name[used] = '\0';
    return (*at)++ < size;
}

static bool parse_question(const uint8_t *request, size_t size,
                           Question *question)
{
    size_t at = HEADER_BYTES;

    if (get16(request + 4) != 1 ||
        !parse_name(request, size, &at, question->name) ||
        at + QUESTION_TAIL_BYTES > size) {
        return false;
    }
    question->type = get16(request + at);
    question->class = get16(request + at + 2);
    question->end = at + QUESTION_TAIL_BYTES;
    return true;
}

/* Writes the record that answers the question; where it ends. */
static uint8_t *put_record(uint8_t *at, const Question *question)
{
    uint32_t crc = crc32_of(question->name, strlen(question->name));

    at = put16(at, NAME_OF_QUESTION);
    at = put16(at, question->type);
    at = put16(at, question->class);
    at = put32(at, TTL_S);
    if (question->type == TYPE_A) {
        at = put16(at, 4);
        return put32(at, 10u << 24 | (crc & 0xffffff));
    }
    at = put16(at, 16);
    at = put32(at, 0xfd000000);
    at = put32(at, 0);
    at = put32(at, 0);
    return put32(at, crc);
}

static size_t put_header(uint8_t *reply, const uint8_t *request,
                         unsigned rcode, unsigned questions,
                         unsigned answers)
{
    unsigned flags = get16(request + 2) & (OPCODE_MASK |
                                           FLAG_RECURSION_DESIRED);

    put16(reply, get16(request));
    put16(reply + 2, flags | FLAG_RESPONSE | FLAG_AUTHORITATIVE | rcode);
    put16(reply + 4, questions);
    put16(reply + 6, answers);
    put32(reply + 8, 0);
    return HEADER_BYTES;
}

size_t dns_datagram(const uint8_t *request, size_t size, uint8_t *reply)
{
    Question question;
    bool exists, known;
    uint8_t *end;

    if (size < HEADER_BYTES || get16(request + 2) & FLAG_RESPONSE) {
        return 0;
    }
    if (get16(request + 2) & OPCODE_MASK) {
        return put_header(reply, request, RCODE_NOT_IMPLEMENTED, 0, 0);
    }
    if (!parse_question(request, size, &question)) {
        return put_header(reply, request, RCODE_FORMAT, 0, 0);
    }
    exists = strncmp(question.name, "none.", 5) != 0;
    known = question.class == CLASS_IN &&
            (question.type == TYPE_A || question.type == TYPE_AAAA);
    put_header(reply, request, exists ? 0 : RCODE_NO_NAME, 1,
               exists && known);
    memcpy(reply + HEADER_BYTES, request + HEADER_BYTES,
           question.end - HEADER_BYTES);
    end = reply + question.end;
    if (exists && known) {
        end = put_record(end, &question);
    }
    return end - reply;
}
