/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What COLO has to know of a libvirt domain, read from its XML.
 *
 * What cannot be protected is a table of XPath expressions: each match is
 * refused by its name, with what the user can do about it.
 */
#include "domain.h"
#include "error.h"
#include "xml.h"

/* @what and @name: a match is called "WHAT NAME" where it has a name. */
static const struct {
    const char *path;
    const char *what;
    const char *name;
    const char *why;
    const char *remedy;
} obstacle_table[] = {
    { "/domain/devices/hostdev", "host device", "alias/@name",
      "hardware that is passed through cannot be copied to another host",
      "remove it from the domain, e.g. with virsh detach-device" },
    { "/domain/devices/interface[@type='hostdev' or @type='vdpa']",
      "interface", "mac/@address",
      "frames of a card that is passed through do not pass QEMU",
      "give the domain an interface of type bridge, network or ethernet" },
    { "/domain/devices/interface[@type='vhostuser']", "interface",
      "mac/@address", "frames of vhost-user do not pass QEMU",
      "give the domain an interface of type bridge, network or ethernet" },
    { "/domain/devices/interface[@type='user']", "interface", "mac/@address",
      "the state of its user mode network stays in the host that dies",
      "give the domain an interface of type bridge, network or ethernet" },
    { "/domain/devices/interface/driver[@queues > 1]/..", "interface",
      "mac/@address", "it has more than one queue",
      "remove queues= of its <driver> and start the domain again" },
    { "/domain/devices/filesystem", "file system", "target/@dir",
      "what is shared with the host is not copied to another host",
      "remove it from the domain, or mount over the network in the guest" },
    { "/domain/devices/memory[@model='virtio-mem']", "memory device",
      "alias/@name", "virtio-mem discards guest memory while it runs",
      "give the domain plain memory or a dimm" },
    { "/domain/devices/memory[@model='nvdimm' or @model='virtio-pmem']",
      "memory device", "alias/@name",
      "writes to persistent memory are not replicated",
      "give the domain a disk instead" },
    { "/domain/devices/shmem", "shared memory", "@name",
      "other processes write to it unseen", "remove it from the domain" },
    { "/domain/devices/vsock", "vsock", "cid/@address",
      "its frames do not pass QEMU", "remove it from the domain" },
    { "/domain/devices/tpm", "TPM", "@model",
      "the state of the emulator is not part of a checkpoint",
      "remove it from the domain" },
    { "/domain/devices/redirdev", "USB redirection", "alias/@name",
      "the redirected device stays with the host that dies",
      "remove it from the domain" },
    { "/domain/devices/smartcard", "smartcard", "@mode",
      "the card stays with the host that dies", "remove it from the domain" },
    { "/domain/devices/video[model/@type='qxl']", "video card", "model/@type",
      "its state cannot be loaded while it is in use",
      "use <model type='virtio'/> or 'vga' and start the domain again" },
    { "/domain/devices/*[self::serial or self::parallel or self::console or "
      "self::channel][@type='dev']", "host port", "source/@path",
      "hardware that is passed through cannot be copied to another host",
      "use a pty or a unix socket" },
    { "/domain/launchSecurity", "memory encryption", "@type",
      "encrypted memory cannot be copied", "remove <launchSecurity>" },
    { "/domain/cpu[@migratable='off']", "processor model", "@mode",
      "it has features that cannot be migrated",
      "remove migratable='off' of <cpu> and start the domain again" },
    { "/domain/cpu/feature[@name='invtsc'][@policy='require']",
      "processor feature", "@name", "it cannot be migrated",
      "remove it from <cpu> and start the domain again" },
    { "/domain/devices/disk[@type='nvme' or @type='vhostuser' or "
      "@type='vhostvdpa']", "disk", "target/@dev",
      "its requests do not pass QEMU's block layer",
      "use a disk of type file, block, volume or network" },
    { "/domain/devices/disk[@device='lun']", "disk", "target/@dev",
      "SCSI commands are passed to the hardware", "use device='disk'" },
    { "/domain/devices/disk[transient]", "disk", "target/@dev",
      "a transient disk is lost with its host", "remove <transient/>" },
    { "/domain/devices/disk/mirror/..", "disk", "target/@dev",
      "a block job is under way on it",
      "let it end, or end it with virsh blockjob --abort" },
};

static const struct {
    const char *path;
    const char *what;
} file_table[] = {
    { "/domain/os/kernel", "kernel" },
    { "/domain/os/initrd", "initrd" },
    { "/domain/os/dtb", "device tree" },
    { "/domain/devices/disk[@device='cdrom' or readonly]/source/@file",
      "image" },
};

static void file_free(gpointer opaque)
{
    ColoFile *file = opaque;

    g_free(file->path);
    g_free(file);
}

static void disk_free(gpointer opaque)
{
    ColoDisk *disk = opaque;

    g_free(disk->target);
    g_free(disk->alias);
    g_free(disk->device);
    g_free(disk->type);
    g_free(disk->source);
    g_free(disk->format);
    g_free(disk->bus);
    g_free(disk);
}

static void nic_free(gpointer opaque)
{
    ColoNic *nic = opaque;

    g_free(nic->alias);
    g_free(nic->mac);
    g_free(nic->type);
    g_free(nic->source);
    g_free(nic->target);
    g_free(nic->model);
    g_free(nic->driver);
    g_free(nic);
}

static void obstacle_free(gpointer opaque)
{
    ColoObstacle *obstacle = opaque;

    g_free(obstacle->what);
    g_free(obstacle->why);
    g_free(obstacle->remedy);
    g_free(obstacle);
}

void colo_domain_free(ColoDomain *domain)
{
    if (!domain) {
        return;
    }
    g_free(domain->name);
    g_free(domain->uuid);
    g_free(domain->type);
    g_free(domain->emulator);
    g_free(domain->machine);
    g_free(domain->arch);
    g_free(domain->cpu);
    g_free(domain->cpu_mode);
    g_ptr_array_unref(domain->disks);
    g_ptr_array_unref(domain->nics);
    g_ptr_array_unref(domain->files);
    g_ptr_array_unref(domain->obstacles);
    g_free(domain);
}

static char *get_or(xmlNode *at, const char *path, const char *fallback)
{
    char *text = colo_xml_get(at, path);

    return text ? text : g_strdup(fallback);
}

static void add_disk(ColoDomain *domain, xmlNode *at)
{
    ColoDisk *disk = g_new0(ColoDisk, 1);

    disk->target = colo_xml_get(at, "target/@dev");
    disk->alias = colo_xml_get(at, "alias/@name");
    disk->device = get_or(at, "@device", "disk");
    disk->type = get_or(at, "@type", "file");
    disk->source = colo_xml_get(at, "source/@file | source/@dev | "
                                "source/@name | source/@volume");
    disk->format = get_or(at, "driver/@type", "raw");
    disk->bus = colo_xml_get(at, "target/@bus");
    disk->is_readonly = colo_xml_has(at, "readonly");
    g_ptr_array_add(domain->disks, disk);
}

static void add_nic(ColoDomain *domain, xmlNode *at)
{
    ColoNic *nic = g_new0(ColoNic, 1);

    nic->alias = colo_xml_get(at, "alias/@name");
    nic->mac = colo_xml_get(at, "mac/@address");
    nic->type = colo_xml_get(at, "@type");
    nic->source = colo_xml_get(at, "source/@bridge | source/@network | "
                               "source/@dev");
    nic->target = colo_xml_get(at, "target/@dev");
    nic->model = colo_xml_get(at, "model/@type");
    nic->driver = colo_xml_get(at, "driver/@name");
    nic->queue_count = colo_xml_get_uint(at, "driver/@queues", 1);
    g_ptr_array_add(domain->nics, nic);
}

static void add_obstacle(ColoDomain *domain, unsigned row, xmlNode *at)
{
    ColoObstacle *obstacle = g_new0(ColoObstacle, 1);
    g_autofree char *name = colo_xml_get(at, obstacle_table[row].name);

    obstacle->what = g_strdup_printf("%s%s%s", obstacle_table[row].what,
                                     name ? " " : "", name ? name : "");
    obstacle->why = g_strdup(obstacle_table[row].why);
    obstacle->remedy = g_strdup(obstacle_table[row].remedy);
    g_ptr_array_add(domain->obstacles, obstacle);
}

static void for_each(ColoDomain *domain, xmlNode *root, const char *path,
                     void (*add)(ColoDomain *, xmlNode *))
{
    g_autoptr(GPtrArray) nodes = colo_xml_nodes(root, path);
    unsigned i;

    for (i = 0; i < nodes->len; i++) {
        add(domain, g_ptr_array_index(nodes, i));
    }
}

static void find_obstacles(ColoDomain *domain, xmlNode *root)
{
    unsigned row, i;

    for (row = 0; row < G_N_ELEMENTS(obstacle_table); row++) {
        g_autoptr(GPtrArray) nodes =
            colo_xml_nodes(root, obstacle_table[row].path);

        for (i = 0; i < nodes->len; i++) {
            add_obstacle(domain, row, g_ptr_array_index(nodes, i));
        }
    }
}

static void find_files(ColoDomain *domain, xmlNode *root)
{
    unsigned row, i;

    for (row = 0; row < G_N_ELEMENTS(file_table); row++) {
        g_autoptr(GPtrArray) nodes = colo_xml_nodes(root,
                                                    file_table[row].path);

        for (i = 0; i < nodes->len; i++) {
            ColoFile *file = g_new0(ColoFile, 1);

            file->what = file_table[row].what;
            file->path = colo_xml_get(g_ptr_array_index(nodes, i), ".");
            g_ptr_array_add(domain->files, file);
        }
    }
}

/* <cpu> as libvirt's functions that compare processors take it. */
static char *cpu_text(xmlNode *root)
{
    g_autoptr(GPtrArray) nodes = colo_xml_nodes(root, "/domain/cpu");

    return nodes->len ? colo_xml_node_text(g_ptr_array_index(nodes, 0))
                      : NULL;
}

ColoDomain *colo_domain_parse(const char *xml, GError **error)
{
    g_autoptr(xmlDoc) doc = colo_xml_parse(xml, error);
    ColoDomain *domain;
    xmlNode *root;

    if (!doc) {
        colo_error_what(error, "The XML of the domain cannot be read");
        return NULL;
    }
    root = colo_xml_root(doc);
    domain = g_new0(ColoDomain, 1);
    domain->disks = g_ptr_array_new_with_free_func(disk_free);
    domain->nics = g_ptr_array_new_with_free_func(nic_free);
    domain->files = g_ptr_array_new_with_free_func(file_free);
    domain->obstacles = g_ptr_array_new_with_free_func(obstacle_free);
    domain->name = get_or(root, "/domain/name", "");
    domain->uuid = get_or(root, "/domain/uuid", "");
    domain->type = get_or(root, "/domain/@type", "");
    domain->emulator = get_or(root, "/domain/devices/emulator", "");
    domain->machine = get_or(root, "/domain/os/type/@machine", "");
    domain->arch = get_or(root, "/domain/os/type/@arch", "");
    domain->cpu = cpu_text(root);
    domain->cpu_mode = colo_xml_get(root, "/domain/cpu/@mode");
    domain->memory_kib = colo_xml_get_uint(root, "/domain/memory", 0);
    domain->vcpu_count = colo_xml_get_uint(root, "/domain/vcpu", 1);
    domain->iothread_count = colo_xml_get_uint(root, "/domain/iothreads", 0);
    for_each(domain, root, "/domain/devices/disk", add_disk);
    for_each(domain, root, "/domain/devices/interface", add_nic);
    find_files(domain, root);
    find_obstacles(domain, root);
    return domain;
}

const ColoDisk *colo_domain_disk(const ColoDomain *domain, const char *target)
{
    unsigned i;

    for (i = 0; i < domain->disks->len; i++) {
        const ColoDisk *disk = g_ptr_array_index(domain->disks, i);

        if (!g_strcmp0(disk->target, target)) {
            return disk;
        }
    }
    return NULL;
}

const ColoNic *colo_domain_nic(const ColoDomain *domain, const char *mac)
{
    unsigned i;

    for (i = 0; i < domain->nics->len; i++) {
        const ColoNic *nic = g_ptr_array_index(domain->nics, i);

        if (nic->mac && mac && !g_ascii_strcasecmp(nic->mac, mac)) {
            return nic;
        }
    }
    return NULL;
}

bool colo_disk_is_written(const ColoDisk *disk)
{
    return disk->source && !disk->is_readonly &&
           strcmp(disk->device, "cdrom");
}
