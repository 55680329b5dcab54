/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * linkrelay: an Ethernet cable with faults, between two taps.
 *
 *   linkrelay CLIENT_TAP BRIDGE_TAP SEED [VLAN_TAP VLAN_ID]
 *
 * Creates the taps and carries each frame from one to the other. What enters
 * by VLAN_TAP is tagged (802.1Q) before it takes the same way, and what comes
 * with that tag leaves by VLAN_TAP without it: thus the client has a VLAN where
 * its kernel has no driver for one, and the cable carries tagged frames.
 *
 * On its way a frame may be lost, doubled, held back so that later ones
 * overtake it, and every frame takes the link's delay and its turn at the
 * link's rate. Which frame meets which fault depends on the seed and on the
 * number of the frame in its direction only; which frame has that number
 * depends on the traffic.
 *
 * Each direction is a heap of frames ordered by the time at which they are due;
 * frames that are due at the same time leave in the order of arrival. A
 * direction that holds QUEUE_FRAMES drops what comes, as a full switch does,
 * and counts it apart.
 *
 * Commands are lines on stdin, answered by one line of JSON on stdout:
 *   set NAME VALUE   for both directions; the faults are
 *       loss, duplicate, reorder   frames per million
 *       delay-us, reorder-us       every frame; a held back one in addition
 *       rate-kbit                  0: as fast as it can
 *   stats            counters of both directions since the start
 * The end of stdin ends it, and with it the taps.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum {
    QUEUE_FRAMES = 4096,
    FRAME_MAX_BYTES = 65536 + 64,
    MACS_BYTES = 12,
    TAG_BYTES = 4,
    TAG_TYPE = 0x8100,
    VLAN_ID_MASK = 0xfff,
    FRAMES_PER_TURN = 64,
    LINE_BYTES = 128,
    MILLION = 1000000,
};

#define NS_PER_US 1000u
#define NS_PER_S 1000000000u

typedef struct Frame {
    uint64_t due_ns;
    uint64_t number;            /* of arrival, breaks ties */
    size_t size;
    uint8_t bytes[];
} Frame;

/* Names as in `set`; the order is that of fault_names. */
typedef struct Faults {
    uint64_t loss;
    uint64_t duplicate;
    uint64_t reorder;
    uint64_t delay_us;
    uint64_t reorder_us;
    uint64_t rate_kbit;
} Faults;

static const char *const fault_names[] = {
    "loss", "duplicate", "reorder", "delay-us", "reorder-us", "rate-kbit",
};

typedef struct Counters {
    uint64_t arrived;
    uint64_t delivered;
    uint64_t lost;
    uint64_t doubled;
    uint64_t reordered;
    uint64_t overflowed;
} Counters;

typedef struct Direction {
    const char *name;
    int from_fd;
    int to_fd;
    bool untags;                /* towards the client, and it has a VLAN */
    uint64_t seed;
    uint64_t free_ns;           /* when the link has sent what it was given */
    Counters counters;
    size_t count;
    Frame *heap[QUEUE_FRAMES];
} Direction;

static Faults faults;
static int vlan_fd = -1;
static unsigned vlan_id;

static void __attribute__((noreturn)) die(const char *what)
{
    fprintf(stderr, "linkrelay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* -- chance ------------------------------------------------------------ */

/* SplitMix64: the @draw-th number of that frame of that direction. */
static uint64_t chance(const Direction *direction, unsigned draw)
{
    uint64_t word = direction->seed + direction->counters.arrived * 8 + draw;

    word *= 0x9e3779b97f4a7c15u;
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9u;
    word = (word ^ word >> 27) * 0x94d049bb133111ebu;
    return (word ^ word >> 31) % MILLION;
}

/* -- heap -------------------------------------------------------------- */

static bool before(const Frame *a, const Frame *b)
{
    return a->due_ns < b->due_ns ||
           (a->due_ns == b->due_ns && a->number < b->number);
}

static void heap_push(Direction *direction, Frame *frame)
{
    size_t at = direction->count++;

    while (at && before(frame, direction->heap[(at - 1) / 2])) {
        direction->heap[at] = direction->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    direction->heap[at] = frame;
}

static Frame *heap_pop(Direction *direction)
{
    Frame *first = direction->heap[0];
    Frame *last = direction->heap[--direction->count];
    size_t at = 0;

    for (;;) {
        size_t child = at * 2 + 1;

        if (child + 1 < direction->count &&
            before(direction->heap[child + 1], direction->heap[child])) {
            child++;
        }
        if (child >= direction->count ||
            !before(direction->heap[child], last)) {
            break;
        }
        direction->heap[at] = direction->heap[child];
        at = child;
    }
    direction->heap[at] = last;
    return first;
}

/* -- the way of a frame ------------------------------------------------ */

static void enqueue(Direction *direction, const uint8_t *bytes, size_t size,
                    uint64_t due_ns, uint64_t number)
{
    Frame *frame;

    if (direction->count == QUEUE_FRAMES) {
        direction->counters.overflowed++;
        return;
    }
    frame = malloc(sizeof(*frame) + size);
    if (!frame) {
        die("a frame");
    }
    frame->due_ns = due_ns;
    frame->number = number;
    frame->size = size;
    memcpy(frame->bytes, bytes, size);
    heap_push(direction, frame);
}

/* When the last bit of a frame that came now has left the sender. */
static uint64_t sent_ns(Direction *direction, size_t size, uint64_t now)
{
    uint64_t start = direction->free_ns > now ? direction->free_ns : now;

    if (!faults.rate_kbit) {
        return now;
    }
    direction->free_ns = start + size * 8 * MILLION / faults.rate_kbit;
    return direction->free_ns;
}

static void accept_frame(Direction *direction, const uint8_t *bytes,
                         size_t size)
{
    Counters *counters = &direction->counters;
    uint64_t number = counters->arrived++;
    uint64_t due_ns;

    if (chance(direction, 0) < faults.loss) {
        counters->lost++;
        return;
    }
    due_ns = sent_ns(direction, size, now_ns()) +
             faults.delay_us * NS_PER_US;
    if (chance(direction, 1) < faults.reorder) {
        counters->reordered++;
        due_ns += faults.reorder_us * NS_PER_US;
    }
    enqueue(direction, bytes, size, due_ns, number);
    if (chance(direction, 2) < faults.duplicate) {
        counters->doubled++;
        enqueue(direction, bytes, size, due_ns, number);
    }
}

static void read_frames(Direction *direction, int fd)
{
    static uint8_t room[TAG_BYTES + FRAME_MAX_BYTES];
    uint8_t *bytes = room + TAG_BYTES;

    for (int i = 0; i < FRAMES_PER_TURN; i++) {
        ssize_t size = read(fd, bytes, FRAME_MAX_BYTES);

        if (size <= 0) {
            return;
        }
        if (fd != vlan_fd) {
            accept_frame(direction, bytes, size);
        } else {
            memmove(room, bytes, MACS_BYTES);
            room[MACS_BYTES] = TAG_TYPE >> 8;
            room[MACS_BYTES + 1] = TAG_TYPE & 0xff;
            room[MACS_BYTES + 2] = vlan_id >> 8;
            room[MACS_BYTES + 3] = vlan_id;
            accept_frame(direction, room, size + TAG_BYTES);
        }
    }
}

static bool is_tagged(const Frame *frame)
{
    const uint8_t *tag = frame->bytes + MACS_BYTES;

    return frame->size > MACS_BYTES + TAG_BYTES &&
           (tag[0] << 8 | tag[1]) == TAG_TYPE &&
           ((tag[2] << 8 | tag[3]) & VLAN_ID_MASK) == vlan_id;
}

/* A tap takes a frame or, with its interface down, refuses it. */
static bool write_frame(const Direction *direction, Frame *frame)
{
    ssize_t size = frame->size;
    uint8_t *bytes = frame->bytes;
    int fd = direction->to_fd;

    if (direction->untags && is_tagged(frame)) {
        fd = vlan_fd;
        bytes += TAG_BYTES;
        size -= TAG_BYTES;
        memmove(bytes, frame->bytes, MACS_BYTES);
    }
    return write(fd, bytes, size) == size;
}

static void deliver_due(Direction *direction)
{
    uint64_t now = direction->count ? now_ns() : 0;

    while (direction->count && direction->heap[0]->due_ns <= now) {
        Frame *frame = heap_pop(direction);

        if (write_frame(direction, frame)) {
            direction->counters.delivered++;
        } else {
            direction->counters.overflowed++;
        }
        free(frame);
    }
}

/* -- commands ---------------------------------------------------------- */

static void print_counters(const Direction *direction)
{
    const Counters *counters = &direction->counters;

    printf("\"%s\": {\"arrived\": %" PRIu64 ", \"delivered\": %" PRIu64
           ", \"lost\": %" PRIu64 ", \"doubled\": %" PRIu64
           ", \"reordered\": %" PRIu64 ", \"overflowed\": %" PRIu64 "}",
           direction->name, counters->arrived, counters->delivered,
           counters->lost, counters->doubled, counters->reordered,
           counters->overflowed);
}

static bool set_fault(const char *name, uint64_t value)
{
    uint64_t *const places[] = {
        &faults.loss, &faults.duplicate, &faults.reorder, &faults.delay_us,
        &faults.reorder_us, &faults.rate_kbit,
    };

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (!strcmp(fault_names[i], name)) {
            *places[i] = value;
            return true;
        }
    }
    return false;
}

static void obey(const char *line, const Direction *directions)
{
    char name[LINE_BYTES];
    uint64_t value;

    if (!strncmp(line, "stats", 5)) {
        printf("{");
        print_counters(&directions[0]);
        printf(", ");
        print_counters(&directions[1]);
        printf("}\n");
    } else if (sscanf(line, "set %127s %" SCNu64, name, &value) == 2 &&
               set_fault(name, value)) {
        printf("{}\n");
    } else {
        printf("{\"error\": \"not understood\"}\n");
    }
    fflush(stdout);
}

/* -- loop -------------------------------------------------------------- */

static int open_tap(const char *name)
{
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
        die(name);
    }
    return fd;
}

/* Until the next frame is due; NULL if there is none. */
static struct timespec *time_left(const Direction *directions,
                                  struct timespec *left)
{
    uint64_t due = UINT64_MAX, now = now_ns();

    for (int i = 0; i < 2; i++) {
        if (directions[i].count && directions[i].heap[0]->due_ns < due) {
            due = directions[i].heap[0]->due_ns;
        }
    }
    if (due == UINT64_MAX) {
        return NULL;
    }
    due = due > now ? due - now : 0;
    left->tv_sec = due / NS_PER_S;
    left->tv_nsec = due % NS_PER_S;
    return left;
}

static void relay(Direction *directions)
{
    struct pollfd fds[] = {
        { .fd = directions[0].from_fd, .events = POLLIN },
        { .fd = directions[1].from_fd, .events = POLLIN },
        { .fd = STDIN_FILENO, .events = POLLIN },
        { .fd = vlan_fd, .events = POLLIN },        /* passed over if -1 */
    };
    char line[LINE_BYTES];

    for (;;) {
        struct timespec left;

        if (ppoll(fds, 4, time_left(directions, &left), NULL) < 0) {
            die("ppoll");
        }
        if (fds[0].revents) {
            read_frames(&directions[0], fds[0].fd);
        }
        if (fds[1].revents) {
            read_frames(&directions[1], fds[1].fd);
        }
        if (fds[3].revents) {
            read_frames(&directions[0], vlan_fd);
        }
        deliver_due(&directions[0]);
        deliver_due(&directions[1]);
        if (fds[2].revents) {
            if (!fgets(line, sizeof(line), stdin)) {
                return;
            }
            obey(line, directions);
        }
    }
}

int main(int argc, char **argv)
{
    static Direction directions[2] = {
        { .name = "from-client" }, { .name = "to-client" },
    };
    uint64_t seed;
    int client_fd, bridge_fd;

    if (argc != 4 && argc != 6) {
        fprintf(stderr, "usage: %s CLIENT_TAP BRIDGE_TAP SEED"
                " [VLAN_TAP VLAN_ID]\n", argv[0]);
        return 2;
    }
    /* poll() must not miss a line that stdio has read already. */
    setvbuf(stdin, NULL, _IONBF, 0);
    seed = strtoull(argv[3], NULL, 0) << 32;
    client_fd = open_tap(argv[1]);
    bridge_fd = open_tap(argv[2]);
    if (argc == 6) {
        vlan_fd = open_tap(argv[4]);
        vlan_id = atoi(argv[5]) & VLAN_ID_MASK;
        directions[1].untags = true;
    }
    directions[0].from_fd = directions[1].to_fd = client_fd;
    directions[1].from_fd = directions[0].to_fd = bridge_fd;
    directions[0].seed = seed;
    directions[1].seed = ~seed;
    printf("{}\n");
    fflush(stdout);
    relay(directions);
    return 0;
}
