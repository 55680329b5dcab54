/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Feeds one colo-compare through its chardevs and measures what comes out.
 *
 *     feed tcp|udp FLOWS PAYLOAD WINDOW WARM_MS MEASURE_MS PID
 *          PRIMARY_FD SECONDARY_FD OUT_FD
 *
 * PID is QEMU's, the last three are connected sockets. Both guests send the
 * same frames, round robin over the flows. At most WINDOW frames are
 * between what was fed and what came out, so that no queue gets near its
 * limit. Frames are copies of one template per flow with a new number and its
 * checksum; they are written in large pieces from one thread, which must not
 * be what is measured: its own share of a processor is part of the answer.
 *
 * Prints one JSON object. At the end it waits for all that it fed: every
 * frame has to come out, of its length, once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    LENGTH_BYTES = 4, ETH_BYTES = 14, IP_BYTES = 20, TCP_BYTES = 20,
    UDP_BYTES = 8, FLOWS_MAX = 20000, PAYLOAD_MAX = 1400,
    BUFFER_BYTES = 256 * 1024, DRAIN_LIMIT_S = 10,
};

typedef struct Flow {
    uint8_t frame[LENGTH_BYTES + ETH_BYTES + IP_BYTES + TCP_BYTES +
                  PAYLOAD_MAX];
    uint32_t bytes;            /* of .frame that are used */
    uint32_t first;            /* number of the first frame with payload */
    uint32_t fixed_sum;        /* of the checksum, all but the number */
} Flow;

/* What is on its way into one chardev. */
typedef struct Side {
    int fd;
    uint64_t made;             /* frames put into .data since the start */
    size_t have, sent;
    uint8_t data[BUFFER_BYTES];
} Side;

typedef struct Output {
    int fd;
    uint64_t frames, bytes;
    uint32_t left;             /* bytes of the frame that is coming */
    uint32_t head_have;
    uint8_t head[LENGTH_BYTES];
} Output;

static struct {
    bool tcp;
    uint32_t flows, payload, window, warm_ms, measure_ms;
    int pid;
} plan;

static Flow *flows;
static Side sides[2];
static Output output;
static uint64_t last_frame;    /* none is made from here on */

static void die(const char *what)
{
    fprintf(stderr, "feed: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* -------------------------------------------------------------- frames */

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = v >> 8;
    p[1] = v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v);
}

static uint32_t sum(const uint8_t *p, size_t size)
{
    uint32_t total = 0;

    for (size_t i = 0; i + 1 < size; i += 2) {
        total += p[i] << 8 | p[i + 1];
    }
    return size & 1 ? total + (p[size - 1] << 8) : total;
}

static uint16_t fold(uint32_t total)
{
    while (total >> 16) {
        total = (total & 0xffff) + (total >> 16);
    }
    return ~total;
}

static uint32_t l4_header_bytes(void)
{
    return plan.tcp ? TCP_BYTES : UDP_BYTES;
}

static void make_ip(uint8_t *ip, uint32_t l4_bytes)
{
    static const uint8_t ends[] = { 10, 0, 7, 2, 10, 0, 7, 1 };

    ip[0] = 0x45;
    put16(ip + 2, IP_BYTES + l4_bytes);
    ip[8] = 64;
    ip[9] = plan.tcp ? IPPROTO_TCP : IPPROTO_UDP;
    memcpy(ip + 12, ends, sizeof(ends));
    put16(ip + 10, 0);
    put16(ip + 10, fold(sum(ip, IP_BYTES)));
}

/* Flow @n from the guest's port 80 (or 53) to a port of its own. */
static void make_flow(Flow *f, uint32_t n)
{
    static const uint8_t eth[] = {
        0x52, 0x54, 0, 7, 0, 1, 0x52, 0x54, 0, 7, 0, 2, 8, 0,
    };
    uint32_t l4_bytes = l4_header_bytes() + plan.payload;
    uint8_t *ip = f->frame + LENGTH_BYTES + ETH_BYTES;
    uint8_t *l4 = ip + IP_BYTES;

    put32(f->frame, ETH_BYTES + IP_BYTES + l4_bytes);
    memcpy(f->frame + LENGTH_BYTES, eth, sizeof(eth));
    make_ip(ip, l4_bytes);
    put16(l4, plan.tcp ? 80 : 53);
    put16(l4 + 2, 20000 + n);
    if (plan.tcp) {
        put32(l4 + 8, 77777 + n);
        l4[12] = TCP_BYTES / 4 << 4;
        l4[13] = 0x18;                          /* PSH ACK */
        put16(l4 + 14, 65535);
    } else {
        put16(l4 + 4, l4_bytes);
    }
    for (uint32_t i = 0; i < plan.payload; i++) {
        l4[l4_header_bytes() + i] = i * 31 + n;
    }
    f->bytes = LENGTH_BYTES + ETH_BYTES + IP_BYTES + l4_bytes;
    f->first = 1000 + 7 * n;
    if (!plan.tcp) {
        put32(l4 + UDP_BYTES, 0);               /* the number's place */
    }
    f->fixed_sum = sum(ip + 12, 8) + (plan.tcp ? IPPROTO_TCP : IPPROTO_UDP) +
                   l4_bytes + sum(l4, l4_bytes);
}

/* The answer to a client's SYN; a flow begins with it. */
static size_t put_syn(const Flow *f, uint8_t *out)
{
    uint8_t *ip = out + LENGTH_BYTES + ETH_BYTES;
    uint8_t *l4 = ip + IP_BYTES;

    memcpy(out, f->frame, LENGTH_BYTES + ETH_BYTES + IP_BYTES + TCP_BYTES);
    put32(out, ETH_BYTES + IP_BYTES + TCP_BYTES);
    make_ip(ip, TCP_BYTES);
    put32(l4 + 4, f->first - 1);
    l4[13] = 0x12;                              /* SYN ACK */
    put16(l4 + 16, 0);
    put16(l4 + 16, fold(sum(ip + 12, 8) + IPPROTO_TCP + TCP_BYTES +
                        sum(l4, TCP_BYTES)));
    return LENGTH_BYTES + ETH_BYTES + IP_BYTES + TCP_BYTES;
}

/* Frame number @n of all; its bytes. */
static size_t put_frame(uint64_t n, uint8_t *out)
{
    const Flow *f = &flows[n % plan.flows];
    uint64_t round = n / plan.flows;
    uint8_t *l4 = out + LENGTH_BYTES + ETH_BYTES + IP_BYTES;
    uint32_t number;

    if (plan.tcp && round == 0) {
        return put_syn(f, out);
    }
    number = plan.tcp ? f->first + (round - 1) * plan.payload : round;
    memcpy(out, f->frame, f->bytes);
    put32(plan.tcp ? l4 + 4 : l4 + UDP_BYTES, number);
    put16(plan.tcp ? l4 + 16 : l4 + 6,
          fold(f->fixed_sum + (number >> 16) + (number & 0xffff)));
    return f->bytes;
}

static uint64_t bytes_of(uint64_t frames)
{
    uint64_t syns = !plan.tcp ? 0
                    : frames < plan.flows ? frames : plan.flows;

    return frames * flows[0].bytes - syns * plan.payload;
}

/* ------------------------------------------------------------- moving */

static void fill(Side *s)
{
    uint64_t limit = output.frames + plan.window;

    if (s->have > s->sent) {
        return;
    }
    s->have = s->sent = 0;
    if (limit > last_frame) {
        limit = last_frame;
    }
    while (s->made < limit && s->have + sizeof(flows[0].frame) <=
                              sizeof(s->data)) {
        s->have += put_frame(s->made++, s->data + s->have);
    }
}

static bool feed(Side *s)
{
    ssize_t n;

    fill(s);
    if (s->have == s->sent) {
        return false;
    }
    n = send(s->fd, s->data + s->sent, s->have - s->sent,
             MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        die("a chardev was closed");
    }
    s->sent += n > 0 ? n : 0;
    return n > 0;
}

static void count(const uint8_t *data, size_t size)
{
    Output *o = &output;

    o->bytes += size;
    while (size > 0) {
        size_t n = o->left;

        if (n == 0) {
            o->head[o->head_have++] = *data++;
            size--;
            if (o->head_have == LENGTH_BYTES) {
                uint32_t length;

                memcpy(&length, o->head, sizeof(length));
                o->left = ntohl(length);
                o->head_have = 0;
            }
            continue;
        }
        n = n < size ? n : size;
        data += n;
        size -= n;
        o->left -= n;
        o->frames += o->left == 0;
    }
}

static bool collect(void)
{
    static uint8_t data[BUFFER_BYTES];
    ssize_t n = recv(output.fd, data, sizeof(data), MSG_DONTWAIT);

    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        die("outdev was closed");
    }
    if (n > 0) {
        count(data, n);
    }
    return n > 0;
}

static void wait_for_work(void)
{
    struct pollfd fds[3] = { { .fd = output.fd, .events = POLLIN } };

    for (int i = 0; i < 2; i++) {
        bool some = sides[i].have > sides[i].sent;

        fds[i + 1] = (struct pollfd) {
            .fd = sides[i].fd, .events = some ? POLLOUT : 0,
        };
    }
    if (poll(fds, 3, 100) < 0 && errno != EINTR) {
        die("poll");
    }
}

static void move(void)
{
    bool moved = feed(&sides[0]);

    moved |= feed(&sides[1]);
    moved |= collect();
    if (!moved) {
        wait_for_work();
    }
}

/* ---------------------------------------------------------- measuring */

typedef struct Moment {
    double wall_s;
    double own_cpu_s;
    double qemu_cpu_s;
    uint64_t frames;
} Moment;

static double wall_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* User and system time of all threads; fields 14 and 15 of stat. */
static double process_cpu_s(int pid)
{
    unsigned long user = 0, kernel = 0;
    char path[64], line[1024] = "";
    const char *behind_name;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "r");
    if (!file || !fgets(line, sizeof(line), file)) {
        die(path);
    }
    fclose(file);
    behind_name = strrchr(line, ')');
    if (!behind_name ||
        sscanf(behind_name, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u"
               " %lu %lu", &user, &kernel) != 2) {
        die("/proc/PID/stat is not as expected");
    }
    return (double)(user + kernel) / sysconf(_SC_CLK_TCK);
}

static Moment now(void)
{
    struct rusage use;
    Moment m = { .wall_s = wall_s(), .frames = output.frames };

    getrusage(RUSAGE_SELF, &use);
    m.own_cpu_s = use.ru_utime.tv_sec + use.ru_stime.tv_sec +
                  (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    m.qemu_cpu_s = process_cpu_s(plan.pid);
    return m;
}

static Moment run_for(uint32_t ms)
{
    double end_s = wall_s() + ms / 1e3;

    while (wall_s() < end_s) {
        for (int i = 0; i < 16; i++) {
            move();
        }
    }
    return now();
}

/* All that was fed has to come out; false after a while without. */
static bool drain(void)
{
    double end_s = wall_s() + DRAIN_LIMIT_S;

    last_frame = sides[0].made > sides[1].made ? sides[0].made
                                               : sides[1].made;
    while (output.frames < last_frame && wall_s() < end_s) {
        move();
    }
    return output.frames == last_frame && output.left == 0 &&
           output.bytes == bytes_of(last_frame);
}

static void report(const Moment *a, const Moment *b, bool complete)
{
    double seconds = b->wall_s - a->wall_s;
    uint64_t frames = b->frames - a->frames;

    printf("{\"frames\": %llu, \"seconds\": %.3f, "
           "\"frames-per-s\": %.0f, \"qemu-cpu-us\": %.3f, "
           "\"feeder-cpu-share\": %.3f, \"complete\": %s, "
           "\"fed-frames\": %llu, \"left-frames\": %llu}\n",
           (unsigned long long)frames, seconds, frames / seconds,
           frames ? (b->qemu_cpu_s - a->qemu_cpu_s) * 1e6 / frames : 0,
           (b->own_cpu_s - a->own_cpu_s) / seconds,
           complete ? "true" : "false", (unsigned long long)last_frame,
           (unsigned long long)output.frames);
}

/* ----------------------------------------------------------- starting */

static uint32_t number(const char *text, uint32_t min, uint32_t max)
{
    char *end;
    unsigned long v = strtoul(text, &end, 10);

    if (*end || end == text || v < min || v > max) {
        fprintf(stderr, "feed: %s is not between %u and %u\n", text, min,
                max);
        exit(2);
    }
    return v;
}

static void take_arguments(char **words)
{
    plan.tcp = strcmp(words[0], "tcp") == 0;
    plan.flows = number(words[1], 1, FLOWS_MAX);
    plan.payload = number(words[2], 4, PAYLOAD_MAX);
    plan.window = number(words[3], 1, 1u << 20);
    plan.warm_ms = number(words[4], 1, 600000);
    plan.measure_ms = number(words[5], 1, 600000);
    plan.pid = number(words[6], 1, INT32_MAX);
    sides[0].fd = number(words[7], 0, INT32_MAX);
    sides[1].fd = number(words[8], 0, INT32_MAX);
    output.fd = number(words[9], 0, INT32_MAX);
}

int main(int argc, char **argv)
{
    Moment begin, end;
    bool complete;

    if (argc != 11) {
        fprintf(stderr, "usage: see the top of feed.c\n");
        return 2;
    }
    take_arguments(argv + 1);
    flows = calloc(plan.flows, sizeof(*flows));
    if (!flows) {
        die("memory");
    }
    for (uint32_t i = 0; i < plan.flows; i++) {
        make_flow(&flows[i], i);
    }
    last_frame = UINT64_MAX;
    begin = run_for(plan.warm_ms);
    end = run_for(plan.measure_ms);
    complete = drain();
    report(&begin, &end, complete);
    return complete ? 0 : 1;
}
