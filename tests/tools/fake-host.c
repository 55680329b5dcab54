/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host that is a model.
 */
#include <string.h>
#include "command.h"
#include "commands.h"
#include "domain.h"
#include "error.h"
#include "fake-host.h"
#include "fake-qemu.h"
#include "pair.h"
#include "xml.h"

/* An agent waits for so long if nothing is under way. */
enum { IDLE_MS = 1000 };

static FakeWorld *current;
static int64_t clock_ms = 1;

int64_t fake_now_ms(void)
{
    return clock_ms;
}

ColoHost *(*colo_open)(const char *uri, GError **error) = fake_open;

const char fake_domain_xml[] =
    "<domain type='kvm' id='3'><name>vm</name><uuid>" FAKE_UUID "</uuid>"
    "<memory unit='KiB'>262144</memory><vcpu>1</vcpu>"
    "<os><type arch='x86_64' machine='pc-q35-10.0'>hvm</type></os>"
    "<cpu mode='custom' match='exact'><model>qemu64</model></cpu>"
    "<devices><emulator>/opt/qemu-system-x86_64</emulator>"
    "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
    "<source file='/images/vda.img' index='2'/><backingStore/>"
    "<target dev='vda' bus='virtio'/><alias name='virtio-disk0'/></disk>"
    "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
    "<source file='/images/sda.qcow2' index='1'/>"
    "<target dev='sda' bus='sata'/><alias name='sata0-0-0'/></disk>"
    "<disk type='file' device='cdrom'><target dev='sdb' bus='sata'/>"
    "<readonly/><alias name='sata0-0-1'/></disk>"
    "<interface type='bridge'><mac address='52:54:00:00:00:01'/>"
    "<source bridge='br0'/><target dev='vnet7'/><model type='virtio'/>"
    "<driver name='qemu'/><alias name='net0'/></interface>"
    "<interface type='bridge'><mac address='52:54:00:00:00:02'/>"
    "<source bridge='br1'/><target dev='vnet8'/><model type='e1000e'/>"
    "<alias name='net1'/></interface>"
    "</devices></domain>";

static bool is_active(const FakeHost *h)
{
    return h->state == COLO_DOM_RUNNING || h->state == COLO_DOM_PAUSED;
}

/* True: the call is to fail. */
static bool count_call(FakeHost *h, const char *what, GError **error)
{
    FakeWorld *w = h->world;

    w->call_count++;
    if (w->call_count == w->crash_at) {
        fake_qemu_end(w->hosts[0], true);
        w->is_lost_then = !g_strcmp0(w->hosts[1]->phase, "lost") &&
                          is_active(w->hosts[1]);
        if (w->is_crash_unseen) {
            w->hosts[0]->state = COLO_DOM_RUNNING;
            w->hosts[0]->is_dead_unseen = true;
        }
    }
    if (w->call_count == w->end_at) {
        fake_qemu_end(w->hosts[1], false);
    }
    if (!w->fail_at || w->call_count < w->fail_at ||
        (w->call_count > w->fail_at && !w->is_dead_from_then)) {
        return false;
    }
    if (!w->failed) {
        w->failed = g_strdup_printf("%s at %s", what, h->name);
    }
    colo_error_set(error, COLO_EXIT_FAILED, "told to fail");
    return true;
}

static bool is_it(FakeHost *h, const char *domain)
{
    g_autofree char *uuid = g_strdup_printf("<uuid>%s</uuid>", domain);
    g_autofree char *name = g_strdup_printf("<name>%s</name>", domain);

    return h->xml && (strstr(h->xml, uuid) || strstr(h->xml, name));
}

static bool need(FakeHost *h, const char *domain, GError **error)
{
    if (!is_it(h, domain)) {
        colo_error_set(error, COLO_EXIT_NO_DOMAIN, "no domain '%s'", domain);
        return false;
    }
    return true;
}

static void drop(ColoHost *host)
{
    ((FakeHost *)host)->ref_count--;
}

static bool info(ColoHost *host, ColoHostInfo *info, GError **error)
{
    FakeHost *h = (FakeHost *)host;

    if (count_call(h, "info", error)) {
        return false;
    }
    info->uri = g_strdup_printf("test:%s", h->name);
    info->name = g_strdup(h->name);
    info->version = g_strdup("9.0.0");
    info->free_bytes = 1ULL << 30;
    info->has_storage = h->has_storage;
    return true;
}

static char *name(ColoHost *host)
{
    return g_strdup(((FakeHost *)host)->name);
}

static bool find(ColoHost *host, const char *domain, ColoDomStatus *status,
                 GError **error)
{
    FakeHost *h = (FakeHost *)host;

    *status = (ColoDomStatus) { .state = COLO_DOM_ABSENT };
    if (count_call(h, "find", error)) {
        return false;
    }
    if (is_it(h, domain)) {
        status->state = h->state;
        status->is_crashed = h->is_crashed;
        status->name = g_strdup("vm");
        g_strlcpy(status->uuid, FAKE_UUID, sizeof(status->uuid));
    }
    return true;
}

static bool definition(ColoHost *host, const char *domain,
                       ColoDomStatus *status, GError **error)
{
    FakeHost *h = (FakeHost *)host;

    if (count_call(h, "definition", error) || !need(h, domain, error)) {
        return false;
    }
    status->is_persistent = h->is_persistent;
    status->is_autostarted = h->is_autostarted;
    return true;
}

static char *xml(ColoHost *host, const char *domain, ColoXmlKind kind,
                 GError **error)
{
    FakeHost *h = (FakeHost *)host;

    if (count_call(h, "xml", error) || !need(h, domain, error)) {
        return NULL;
    }
    return g_strdup(h->xml);
}

static JsonNode *monitor(ColoHost *host, const char *domain,
                         JsonNode *command, GError **error)
{
    FakeHost *h = (FakeHost *)host;

    if (count_call(h, colo_json_string(command, "execute"), error) ||
        !need(h, domain, error)) {
        return NULL;
    }
    if (!is_active(h) || h->is_dead_unseen) {
        colo_error_set(error, COLO_EXIT_FAILED, "domain is not running");
        return NULL;
    }
    return fake_qemu_run(h, command, error);
}

static bool create_paused(ColoHost *host, const char *text, GError **error)
{
    FakeHost *h = (FakeHost *)host;
    g_autoptr(ColoDomain) domain = colo_domain_parse(text, error);
    g_autoptr(xmlDoc) doc = colo_xml_parse(text, error);
    g_autoptr(GPtrArray) pair = NULL;
    unsigned i;

    if (count_call(h, "create", error)) {
        return false;
    }
    g_assert_nonnull(domain);
    if (is_active(h)) {
        colo_error_set(error, COLO_EXIT_FAILED, "already active");
        return false;
    }
    for (i = 0; i < domain->disks->len; i++) {
        const ColoDisk *disk = g_ptr_array_index(domain->disks, i);

        if (disk->source &&
            !g_hash_table_contains(h->volumes, disk->source)) {
            colo_error_set(error, COLO_EXIT_FAILED, "no file %s",
                           disk->source);
            return false;
        }
    }
    g_free(h->xml);
    h->xml = g_strdup(text);
    pair = colo_xml_nodes(colo_xml_root(doc), "/domain/metadata/colo:pair");
    if (pair->len) {
        g_free(h->pair);
        h->pair = colo_xml_node_text(g_ptr_array_index(pair, 0));
    }
    fake_qemu_start(h, COLO_DOM_PAUSED);
    return true;
}

static bool destroy(ColoHost *host, const char *domain, GError **error)
{
    FakeHost *h = (FakeHost *)host;

    if (count_call(h, "destroy", error)) {
        return false;
    }
    if (is_it(h, domain) && is_active(h)) {
        fake_qemu_end(h, false);
    }
    return true;
}

static bool resume(ColoHost *host, const char *domain, GError **error)
{
    FakeHost *h = (FakeHost *)host;

    if (count_call(h, "resume", error) || !need(h, domain, error)) {
        return false;
    }
    h->state = COLO_DOM_RUNNING;
    return true;
}

static bool define(ColoHost *host, const char *text, GError **error)
{
    FakeHost *h = (FakeHost *)host;

    if (count_call(h, "define", error)) {
        return false;
    }
    g_assert_null(strstr(text, "-incoming"));
    h->is_persistent = true;
    return true;
}

static bool set_autostart(ColoHost *host, const char *domain, bool on,
                          GError **error)
{
    FakeHost *h = (FakeHost *)host;

    if (count_call(h, "autostart", error) || !need(h, domain, error)) {
        return false;
    }
    g_assert_true(h->is_persistent);
    h->is_autostarted = on;
    return true;
}

static char *metadata(ColoHost *host, const char *domain, GError **error)
{
    FakeHost *h = (FakeHost *)host;

    if (count_call(h, "metadata", error) || !need(h, domain, error)) {
        return NULL;
    }
    return g_strdup(h->pair);
}

static bool set_metadata(ColoHost *host, const char *domain, const char *text,
                         GError **error)
{
    FakeHost *h = (FakeHost *)host;

    if (count_call(h, "set-metadata", error) || !need(h, domain, error)) {
        return false;
    }
    g_free(h->pair);
    h->pair = g_strdup(text);
    return true;
}

static GPtrArray *domains(ColoHost *host, GError **error)
{
    FakeHost *h = (FakeHost *)host;
    GPtrArray *names;

    if (count_call(h, "domains", error)) {
        return NULL;
    }
    names = g_ptr_array_new_with_free_func(g_free);
    if (h->xml) {
        g_ptr_array_add(names, g_strdup("vm"));
    }
    return names;
}

static bool volume(ColoHost *host, const char *path, ColoVolume *volume,
                   GError **error)
{
    FakeHost *h = (FakeHost *)host;
    const char *size = g_hash_table_lookup(h->volumes, path);

    *volume = (ColoVolume) {};
    if (count_call(h, "volume", error)) {
        return false;
    }
    if (!h->has_storage) {
        colo_error_set(error, COLO_EXIT_FAILED, "no storage driver");
        return false;
    }
    volume->is_there = size;
    volume->size_bytes = size ? g_ascii_strtoull(size, NULL, 10) : 0;
    return true;
}

static bool volume_create(ColoHost *host, const char *path,
                          const char *format, uint64_t size_bytes,
                          GError **error)
{
    FakeHost *h = (FakeHost *)host;

    if (count_call(h, "volume-create", error)) {
        return false;
    }
    g_assert_false(g_hash_table_contains(h->volumes, path));
    g_hash_table_insert(h->volumes, g_strdup(path),
                        g_strdup_printf("%" G_GUINT64_FORMAT, size_bytes));
    return true;
}

static bool volume_delete(ColoHost *host, const char *path, GError **error)
{
    FakeHost *h = (FakeHost *)host;

    if (count_call(h, "volume-delete", error)) {
        return false;
    }
    /* What is open must not be deleted. */
    g_assert_false(is_active(h));
    g_hash_table_remove(h->volumes, path);
    return true;
}

static bool cpu_fits(ColoHost *host, const char *emulator, const char *arch,
                     const char *machine, const char *type, const char *cpu,
                     ColoCpuFit *fit, GError **error)
{
    *fit = COLO_CPU_FITS;
    return !count_call((FakeHost *)host, "cpu", error);
}

static bool watch(ColoHost *host, GError **error)
{
    return !count_call((FakeHost *)host, "watch", error);
}

static bool watch_process(ColoHost *host, const char *domain, GError **error)
{
    FakeHost *h = (FakeHost *)host;

    g_assert_cmpstr(domain, ==, "vm");
    if (h->is_remote) {
        colo_error_set(error, COLO_EXIT_FAILED, "not on this machine");
        return false;
    }
    h->is_process_watched = true;
    return true;
}

void fake_world_post(FakeWorld *world, unsigned host, ColoEventKind kind,
                     const char *name, const char *data, bool is_crash)
{
    ColoHostEvent *event = g_new0(ColoHostEvent, 1);

    event->host = &world->hosts[host]->host;
    event->kind = kind;
    event->domain = kind == COLO_EVENT_CLOSED ? NULL : g_strdup("vm");
    event->name = g_strdup(name);
    event->data = data ? colo_json_parse(data, NULL) : NULL;
    event->is_crash = is_crash;
    g_queue_push_tail(&world->events, event);
}

static ColoHostEvent *wait_event(ColoHost *host, unsigned timeout_ms)
{
    FakeHost *h = (FakeHost *)host;
    FakeWorld *w = h->world;

    if (!g_queue_is_empty(&w->events)) {
        return g_queue_pop_head(&w->events);
    }
    clock_ms += timeout_ms;
    if (w->idle_left) {
        /* Others work meanwhile. */
        g_usleep(1000);
    }
    if (w->idle_left && timeout_ms >= IDLE_MS) {
        if (--w->idle_left == 75 && w->half_way) {
            w->half_way(w);
            return g_queue_pop_head(&w->events);
        }
        if (!w->idle_left) {
            /* At once, as long as no other thread is at work. */
            fake_world_post(w, h == w->hosts[1], COLO_EVENT_CLOSED, NULL,
                            NULL, false);
            return g_queue_pop_head(&w->events);
        }
    }
    fake_qemu_pass_time(h);
    if (h->peer) {
        fake_qemu_pass_time(h->peer);
    }
    return NULL;
}

static void pause_here(ColoHost *host, unsigned timeout_ms)
{
    FakeHost *h = (FakeHost *)host;

    clock_ms += timeout_ms;
    fake_qemu_pass_time(h);
    fake_qemu_pass_time(h->peer);
}

static const ColoHostOps fake_ops = {
    .free = drop,
    .info = info,
    .name = name,
    .find = find,
    .definition = definition,
    .xml = xml,
    .monitor = monitor,
    .create_paused = create_paused,
    .destroy = destroy,
    .resume = resume,
    .define = define,
    .set_autostart = set_autostart,
    .metadata = metadata,
    .set_metadata = set_metadata,
    .domains = domains,
    .volume = volume,
    .volume_create = volume_create,
    .volume_delete = volume_delete,
    .cpu_fits = cpu_fits,
    .watch = watch,
    .watch_process = watch_process,
    .wait = wait_event,
    .pause = pause_here,
};

/* --------------------------------------------------------------- world */

static FakeHost *host_new(FakeWorld *world, const char *name)
{
    FakeHost *h = g_new0(FakeHost, 1);

    h->host.ops = &fake_ops;
    h->world = world;
    h->name = name;
    h->version = g_strdup("10.0.13");
    h->has_storage = true;
    h->things = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    h->attached = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                        NULL);
    h->volumes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                       g_free);
    h->taken_ports = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                           g_free);
    h->parameters = json_object_new();
    return h;
}

static void host_free(FakeHost *h)
{
    g_assert_cmpuint(h->ref_count, ==, 0);
    g_free(h->xml);
    g_free(h->pair);
    g_free(h->version);
    g_hash_table_unref(h->things);
    g_hash_table_unref(h->attached);
    g_hash_table_unref(h->volumes);
    g_hash_table_unref(h->taken_ports);
    json_object_unref(h->parameters);
    g_free(h);
}

void fake_world_init(FakeWorld *world, const char *text)
{
    FakeHost *a = host_new(world, "a");
    FakeHost *b = host_new(world, "b");

    *world = (FakeWorld) {
        .hosts = { a, b }, .events = G_QUEUE_INIT,
    };
    a->peer = b;
    b->peer = a;
    a->xml = g_strdup(text);
    a->is_persistent = true;
    a->is_autostarted = true;
    fake_qemu_start(a, COLO_DOM_RUNNING);
    current = world;
}

void fake_world_clear(FakeWorld *world)
{
    g_queue_clear_full(&world->events,
                       (GDestroyNotify)colo_host_event_free);
    host_free(world->hosts[0]);
    host_free(world->hosts[1]);
    g_clear_pointer(&world->failed, g_free);
}

ColoHost *fake_open(const char *uri, GError **error)
{
    FakeHost *h = current->hosts[g_strcmp0(uri, "test:b") ? 0 : 1];

    if (count_call(h, "open", error)) {
        return NULL;
    }
    h->ref_count++;
    return &h->host;
}

static void append_keys(GString *text, const char *title, GHashTable *table)
{
    g_autoptr(GList) keys = g_list_sort(g_hash_table_get_keys(table),
                                        (GCompareFunc)strcmp);
    GList *key;

    g_string_append_printf(text, "  %s:", title);
    for (key = keys; key; key = key->next) {
        g_string_append_printf(text, " %s;", (char *)key->data);
    }
    g_string_append_c(text, '\n');
}

char *fake_world_text(const FakeWorld *world)
{
    GString *text = g_string_new(NULL);
    unsigned i;

    for (i = 0; i < 2; i++) {
        const FakeHost *h = world->hosts[i];
        g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
        g_autofree char *parameters = NULL;

        json_node_set_object(node, h->parameters);
        parameters = colo_json_text(node, false);
        g_string_append_printf(text, "%s: domain %d%s%s\n", h->name,
                               is_active(h) ? h->state : COLO_DOM_ABSENT,
                               h->is_persistent ? " persistent" : "",
                               h->is_autostarted ? " autostart" : "");
        append_keys(text, "volumes", h->volumes);
        if (is_active(h)) {
            append_keys(text, "things", h->things);
            append_keys(text, "attached", h->attached);
            g_string_append_printf(text, "  x-colo %d, phase %s\n  %s\n",
                                   h->has_x_colo,
                                   !strcmp(h->phase, "alone") ? "off"
                                                              : h->phase,
                                   parameters);
            g_string_append_printf(text, "  pair: %s\n",
                                   h->pair ? h->pair : "none");
        }
    }
    return g_string_free(text, FALSE);
}
