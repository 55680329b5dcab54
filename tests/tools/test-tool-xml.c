/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Domain XML: what is read from it, what is refused by name, what the other
 * host gets; and the pair in its metadata.
 */
#include <string.h>
#include "domain.h"
#include "error.h"
#include "fake-host.h"
#include "peer-xml.h"
#include "xml.h"

static void test_domain(void)
{
    g_autoptr(ColoDomain) d = colo_domain_parse(fake_domain_xml, NULL);
    const ColoDisk *disk;
    const ColoNic *nic;

    g_assert_cmpstr(d->name, ==, "vm");
    g_assert_cmpstr(d->uuid, ==, FAKE_UUID);
    g_assert_cmpstr(d->machine, ==, "pc-q35-10.0");
    g_assert_cmpuint(d->memory_kib, ==, 262144);
    g_assert_cmpstr(d->cpu_mode, ==, "custom");
    g_assert_nonnull(strstr(d->cpu, "<model>qemu64</model>"));
    g_assert_cmpuint(d->obstacles->len, ==, 0);
    g_assert_cmpuint(d->disks->len, ==, 3);
    disk = colo_domain_disk(d, "sda");
    g_assert_cmpstr(disk->format, ==, "qcow2");
    g_assert_cmpstr(disk->source, ==, "/images/sda.qcow2");
    g_assert_true(colo_disk_is_written(disk));
    g_assert_false(colo_disk_is_written(colo_domain_disk(d, "sdb")));
    g_assert_null(colo_domain_disk(d, "vdz"));
    nic = colo_domain_nic(d, "52:54:00:00:00:01");
    g_assert_cmpstr(nic->alias, ==, "net0");
    g_assert_cmpstr(nic->source, ==, "br0");
    g_assert_cmpuint(nic->queue_count, ==, 1);
}

static void test_bad_xml(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(colo_domain_parse("<domain>", &error));
    g_assert_nonnull(error);
}

/* One element in <devices>, and what it is called when it is refused. */
static void test_obstacles(void)
{
    static const struct {
        const char *element;
        const char *what;   /* NULL: fine */
    } cases[] = {
        { "<hostdev mode='subsystem'><alias name='hostdev0'/></hostdev>",
          "host device hostdev0" },
        { "<interface type='hostdev'><mac address='m'/></interface>",
          "interface m" },
        { "<interface type='vhostuser'><mac address='m'/></interface>",
          "interface m" },
        { "<interface type='user'><mac address='m'/></interface>",
          "interface m" },
        { "<interface type='bridge'><mac address='m'/>"
          "<driver queues='4'/></interface>", "interface m" },
        { "<interface type='bridge'><mac address='m'/>"
          "<driver queues='1'/></interface>", NULL },
        { "<filesystem type='mount'><target dir='tag'/></filesystem>",
          "file system tag" },
        { "<memory model='virtio-mem'><alias name='ua-m'/></memory>",
          "memory device ua-m" },
        { "<memory model='dimm'><alias name='dimm0'/></memory>", NULL },
        { "<shmem name='s'/>", "shared memory s" },
        { "<vsock model='virtio'><cid auto='no' address='3'/></vsock>",
          "vsock 3" },
        { "<tpm model='tpm-crb'/>", "TPM tpm-crb" },
        { "<redirdev bus='usb'><alias name='redir0'/></redirdev>",
          "USB redirection redir0" },
        { "<video><model type='qxl'/></video>", "video card qxl" },
        { "<video><model type='virtio'/></video>", NULL },
        { "<serial type='dev'><source path='/dev/ttyS0'/></serial>",
          "host port /dev/ttyS0" },
        { "<serial type='pty'/>", NULL },
        { "<disk type='nvme' device='disk'><target dev='vdx'/></disk>",
          "disk vdx" },
        { "<disk type='block' device='lun'><target dev='sdx'/></disk>",
          "disk sdx" },
        { "<disk type='file'><target dev='vdx'/><transient/></disk>",
          "disk vdx" },
        { "<disk type='file'><target dev='vdx'/><mirror/></disk>",
          "disk vdx" },
        { "<rng model='virtio'/>", NULL },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(GStrv) parts = g_strsplit(fake_domain_xml, "</devices>", 2);
        g_autofree char *xml = g_strconcat(parts[0], cases[i].element,
                                           "</devices>", parts[1], NULL);
        g_autoptr(ColoDomain) d = colo_domain_parse(xml, NULL);
        const ColoObstacle *obstacle;

        g_test_message("%s", cases[i].element);
        g_assert_cmpuint(d->obstacles->len, ==, cases[i].what ? 1 : 0);
        if (cases[i].what) {
            obstacle = g_ptr_array_index(d->obstacles, 0);
            g_assert_cmpstr(obstacle->what, ==, cases[i].what);
            g_assert_true(*obstacle->why && *obstacle->remedy);
        }
    }
}

static ColoPair *some_pair(void)
{
    ColoPair *pair = colo_pair_new(COLO_ROLE_SECONDARY);

    pair->session = g_strdup("s");
    pair->peer = g_strdup("qemu+ssh://a/system?x=1&y='2'");
    pair->since = g_strdup("2026-01-02T03:04:05Z");
    pair->is_persistent = true;
    pair->migrate_port = 1;
    pair->disk_port = 2;
    pair->net_port = 65535;
    pair->nic_count = 2;
    colo_pair_add_disk(pair, "vda", "libvirt-1-format", false);
    colo_pair_add_disk(pair, "vdb", NULL, true);
    return pair;
}

static void assert_pair(const ColoPair *pair)
{
    const ColoPairDisk *disk;

    g_assert_cmpint(pair->role, ==, COLO_ROLE_SECONDARY);
    g_assert_cmpstr(pair->peer, ==, "qemu+ssh://a/system?x=1&y='2'");
    g_assert_cmpstr(pair->since, ==, "2026-01-02T03:04:05Z");
    g_assert_true(pair->is_persistent && !pair->is_autostarted);
    g_assert_cmpuint(pair->net_port, ==, 65535);
    g_assert_cmpuint(pair->nic_count, ==, 2);
    g_assert_cmpuint(pair->disks->len, ==, 2);
    disk = g_ptr_array_index(pair->disks, 0);
    g_assert_cmpstr(disk->base, ==, "libvirt-1-format");
    disk = g_ptr_array_index(pair->disks, 1);
    g_assert_true(disk->is_shared && !disk->base);
}

static void test_pair(void)
{
    g_autoptr(ColoPair) pair = some_pair();
    g_autofree char *xml = colo_pair_to_xml(pair);
    g_autoptr(ColoPair) back = colo_pair_parse(xml, NULL);
    g_autoptr(ColoPair) copy = colo_pair_copy(back);

    assert_pair(back);
    assert_pair(copy);
}

static void test_bad_pair(void)
{
    static const char *const cases[] = {
        "", "<pair/>", "<pair role='none'/>", "<pair role='king'/>",
        "<pear role='primary'/>", "<pair role='primary'>",
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(colo_pair_parse(cases[i], &error));
        g_assert_nonnull(error);
    }
}

static char *make_peer(const char *disk_map, const char *net_map)
{
    g_autoptr(ColoMap) disks = colo_map_new();
    g_autoptr(ColoMap) networks = colo_map_new();
    g_autoptr(ColoPair) pair = some_pair();

    g_assert_true(!disk_map || colo_map_add(disks, "", disk_map, NULL));
    g_assert_true(!net_map || colo_map_add(networks, "", net_map, NULL));
    return colo_peer_xml(fake_domain_xml, disks, networks, pair, NULL);
}

static void assert_count(const char *xml, const char *path, unsigned count)
{
    g_autoptr(xmlDoc) doc = colo_xml_parse(xml, NULL);
    g_autoptr(GPtrArray) nodes = colo_xml_nodes(colo_xml_root(doc), path);

    g_test_message("%s", path);
    g_assert_cmpuint(nodes->len, ==, count);
}

static void test_peer(void)
{
    g_autofree char *xml = make_peer(
        "vda=/other/x.img,sda=/dev/vg/sda", "br0=lan,br1=br9");

    assert_count(xml, "/domain/@id", 0);
    assert_count(xml, "//backingStore | //source/@index", 0);
    assert_count(xml, "//interface/target", 0);
    assert_count(xml, "//disk[@type='file']/source[@file='/other/x.img']",
                 1);
    assert_count(xml, "//disk[@type='block']/source[@dev='/dev/vg/sda']", 1);
    assert_count(xml, "//disk[@type='block']/source/@file", 0);
    assert_count(xml, "//interface/source[@bridge='lan']", 1);
    assert_count(xml, "//interface/source[@bridge='br9']", 1);
    assert_count(xml, "/domain/metadata/colo:pair[@role='secondary']/disk",
                 2);
}

/* A survivor that is protected again has all that in its XML already. */
static void test_peer_of_peer(void)
{
    g_autofree char *first = make_peer(NULL, NULL);
    g_autoptr(ColoMap) none = colo_map_new();
    g_autoptr(ColoPair) pair = some_pair();
    g_autofree char *second = colo_peer_xml(first, none, none, pair, NULL);
    g_autofree char *third = colo_peer_xml(second, none, none, pair, NULL);

    assert_count(second, "//colo:pair", 1);
    g_assert_cmpstr(third, ==, second);
}

static void test_survivor(void)
{
    g_autofree char *xml = make_peer(NULL, NULL);
    g_autoptr(ColoPair) pair = some_pair();
    g_autofree char *clean = NULL;

    pair->role = COLO_ROLE_SURVIVOR;
    clean = colo_survivor_xml(xml, pair, NULL);
    assert_count(clean, "/domain/metadata/colo:pair", 1);
    assert_count(clean, "/domain/metadata/colo:pair[@role='survivor']", 1);
}

/* -incoming goes, what else the user passes to QEMU stays. */
static void test_own_arguments(void)
{
    static const char own[] = "<qemu:arg value='-x'/><qemu:arg value='y'/>";
    unsigned is_own;

    for (is_own = 0; is_own < 2; is_own++) {
        g_auto(GStrv) parts = g_strsplit(fake_domain_xml, "</domain>", 2);
        g_autofree char *xml = g_strconcat(
            parts[0], "<qemu:commandline xmlns:qemu='" COLO_XML_QEMU_NS "'>"
            "<qemu:arg value='-incoming'/><qemu:arg value='defer'/>",
            is_own ? own : "", "</qemu:commandline></domain>", NULL);
        g_autoptr(ColoPair) pair = some_pair();
        g_autofree char *clean = colo_survivor_xml(xml, pair, NULL);

        assert_count(clean, "//qemu:arg", is_own ? 2 : 0);
        assert_count(clean, "//qemu:arg[@value='-x']", is_own);
        assert_count(clean, "//qemu:commandline", is_own);
    }
}

static void test_probe(void)
{
    g_autofree char *xml = make_peer(NULL, NULL);
    g_autofree char *probe = colo_probe_xml(
        xml, "11111111-2222-3333-4444-555555555555", NULL);

    assert_count(probe, "/domain/name[.='colo-check-11111111']", 1);
    assert_count(probe, "/domain/uuid[.='11111111-2222-3333-4444-"
                 "555555555555']", 1);
    assert_count(probe, "//disk | //metadata", 0);
    assert_count(probe, "//interface", 2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tool/domain", test_domain);
    g_test_add_func("/tool/domain/bad", test_bad_xml);
    g_test_add_func("/tool/domain/obstacles", test_obstacles);
    g_test_add_func("/tool/pair", test_pair);
    g_test_add_func("/tool/pair/bad", test_bad_pair);
    g_test_add_func("/tool/xml/peer", test_peer);
    g_test_add_func("/tool/xml/peer-of-peer", test_peer_of_peer);
    g_test_add_func("/tool/xml/survivor", test_survivor);
    g_test_add_func("/tool/xml/own-arguments", test_own_arguments);
    g_test_add_func("/tool/xml/probe", test_probe);
    return g_test_run();
}
