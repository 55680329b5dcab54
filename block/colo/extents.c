/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: runs of bytes of a disk, and where their contents are kept.
 *
 * A balanced tree of extents, ordered by their offsets. Since they do not
 * overlap, an extent may be cut or grown in place: its order among the others
 * stays. Each operation looks at the neighbours of one place, so all it needs
 * of the tree is the extent before a place and the one behind it; a search
 * that never says "found" and remembers the best it met gives both.
 */
#include <glib.h>
#include "colo/extents.h"

struct ColoExtents {
    GTree *tree;               /* of ColoExtent, key and value in one */
    uint64_t bytes;
};

/* A place to search, and the best extent met on the way to it. */
typedef struct Search {
    uint64_t offset;
    ColoExtent *best;
} Search;

static gint compare(gconstpointer a, gconstpointer b,
                    gpointer opaque G_GNUC_UNUSED)
{
    const ColoExtent *x = a, *y = b;

    return (x->offset > y->offset) - (x->offset < y->offset);
}

ColoExtents *colo_extents_new(void)
{
    ColoExtents *m = g_new0(ColoExtents, 1);

    m->tree = g_tree_new_full(compare, NULL, g_free, NULL);
    return m;
}

void colo_extents_free(ColoExtents *m)
{
    if (m) {
        g_tree_unref(m->tree);
        g_free(m);
    }
}

uint64_t colo_extents_count(const ColoExtents *m)
{
    return g_tree_nnodes(m->tree);
}

uint64_t colo_extents_bytes(const ColoExtents *m)
{
    return m->bytes;
}

/* For g_tree_search(): > 0 sends it to the right, < 0 to the left. */
static gint step_before(gconstpointer key, gconstpointer opaque)
{
    Search *s = (Search *)opaque;
    ColoExtent *e = (ColoExtent *)key;

    if (e->offset > s->offset) {
        return -1;
    }
    s->best = e;
    return 1;
}

static gint step_after(gconstpointer key, gconstpointer opaque)
{
    Search *s = (Search *)opaque;
    ColoExtent *e = (ColoExtent *)key;

    if (e->offset < s->offset) {
        return 1;
    }
    s->best = e;
    return -1;
}

/* The last extent that begins at @offset or before. */
static ColoExtent *find_before(const ColoExtents *m, uint64_t offset)
{
    Search s = { .offset = offset };

    g_tree_search(m->tree, step_before, &s);
    return s.best;
}

/* The first extent that begins at @offset or later. */
static ColoExtent *find_after(const ColoExtents *m, uint64_t offset)
{
    Search s = { .offset = offset };

    g_tree_search(m->tree, step_after, &s);
    return s.best;
}

/* The first extent that has a byte at or after @offset. */
static ColoExtent *find(const ColoExtents *m, uint64_t offset)
{
    ColoExtent *e = find_before(m, offset);

    return e && e->offset + e->size > offset ? e : find_after(m, offset);
}

static void cut_head(ColoExtent *e, uint64_t bytes)
{
    e->offset += bytes;
    e->where += bytes;
    e->size -= bytes;
}

bool colo_extents_next(const ColoExtents *m, uint64_t offset,
                       ColoExtent *found)
{
    const ColoExtent *e = find(m, offset);

    if (!e) {
        return false;
    }
    *found = *e;
    if (e->offset < offset) {
        cut_head(found, offset - e->offset);
    }
    return true;
}

bool colo_extents_at(const ColoExtents *m, uint64_t offset, uint64_t size,
                     ColoExtent *found, uint64_t *hole)
{
    ColoExtent e;

    g_assert(size > 0);
    if (!colo_extents_next(m, offset, &e)) {
        *hole = size;
        return false;
    }
    if (e.offset > offset) {
        *hole = MIN(size, e.offset - offset);
        return false;
    }
    e.size = MIN(size, e.size);
    *found = e;
    return true;
}

static void insert(ColoExtents *m, const ColoExtent *e)
{
    ColoExtent *copy = g_new(ColoExtent, 1);

    *copy = *e;
    g_tree_insert(m->tree, copy, NULL);
}

/* Does @b follow @a on the disk and in the store? */
static bool touch(const ColoExtent *a, const ColoExtent *b)
{
    return a && b && a->offset + a->size == b->offset &&
           a->where + a->size == b->where;
}

void colo_extents_add(ColoExtents *m, const ColoExtent *e)
{
    ColoExtent *before = find_before(m, e->offset);
    ColoExtent *after = find_after(m, e->offset);

    g_assert(e->size > 0 && e->size <= 1ull << 63 &&
             e->offset <= (1ull << 63) - e->size);
    g_assert(!before || before->offset + before->size <= e->offset);
    g_assert(!after || e->offset + e->size <= after->offset);
    m->bytes += e->size;
    if (touch(before, e)) {
        before->size += e->size;
        if (touch(before, after)) {
            before->size += after->size;
            g_tree_remove(m->tree, after);
        }
    } else if (touch(e, after)) {
        after->offset = e->offset;
        after->where = e->where;
        after->size += e->size;
    } else {
        insert(m, e);
    }
}

/* Uncover what @e has before @end, from @offset on; it has something. */
static void remove_from(ColoExtents *m, ColoExtent *e, uint64_t offset,
                        uint64_t end)
{
    uint64_t from = MAX(e->offset, offset);
    uint64_t to = MIN(e->offset + e->size, end);
    ColoExtent tail = *e;

    m->bytes -= to - from;
    cut_head(&tail, to - e->offset);
    if (e->offset < from) {
        e->size = from - e->offset;
        if (tail.size > 0) {
            insert(m, &tail);
        }
    } else if (tail.size > 0) {
        *e = tail;
    } else {
        g_tree_remove(m->tree, e);
    }
}

void colo_extents_remove(ColoExtents *m, uint64_t offset, uint64_t size)
{
    uint64_t end = offset + size;
    ColoExtent *e;

    g_assert(end >= offset);
    if (size == 0) {
        return;
    }
    while ((e = find(m, offset)) && e->offset < end) {
        remove_from(m, e, offset, end);
    }
}
