/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk images on a host, near or far, through libvirt's storage driver.
 *
 * The driver knows directories as pools. If the directory of an image is no
 * pool, one is made for as long as it is looked at, which leaves nothing
 * behind.
 */
#include "host-libvirt.h"
#include "xml.h"

typedef struct Place {
    virStoragePoolPtr pool;
    char *name;             /* of the image in it */
    bool is_ours;
} Place;

static void place_clear(Place *place)
{
    if (place->pool && place->is_ours) {
        virStoragePoolDestroy(place->pool);
    }
    colo_libvirt_free_pool(place->pool);
    g_free(place->name);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Place, place_clear)

static char *pool_xml(const char *directory)
{
    g_autofree char *uuid = g_uuid_string_random();

    return g_markup_printf_escaped(
        "<pool type='dir'><name>colo-%s</name>"
        "<target><path>%s</path></target></pool>", uuid, directory);
}

static bool find_place(ColoHost *host, const char *path, Place *place,
                       GError **error)
{
    virConnectPtr connection = colo_libvirt(host)->connection;
    g_autofree char *directory = g_path_get_dirname(path);
    g_autofree char *xml = pool_xml(directory);

    place->name = g_path_get_basename(path);
    place->pool = virStoragePoolLookupByTargetPath(connection, directory);
    if (place->pool && virStoragePoolIsActive(place->pool) > 0) {
        virStoragePoolRefresh(place->pool, 0);
        return true;
    }
    g_clear_pointer(&place->pool, colo_libvirt_free_pool);
    place->pool = virStoragePoolCreateXML(connection, xml, 0);
    if (!place->pool) {
        colo_libvirt_failed(error);
        colo_error_what(error, "The directory %s cannot be used there",
                        directory);
        return false;
    }
    place->is_ours = true;
    return true;
}

static void read_volume(virStorageVolPtr found, ColoVolume *volume)
{
    char *text = virStorageVolGetXMLDesc(found, 0);
    g_autoptr(xmlDoc) doc = text ? colo_xml_parse(text, NULL) : NULL;
    xmlNode *root = doc ? colo_xml_root(doc) : NULL;

    free(text);
    if (root) {
        volume->size_bytes = colo_xml_get_uint(root, "/volume/capacity", 0);
        volume->format = colo_xml_get(root, "/volume/target/format/@type");
    }
}

bool colo_libvirt_volume(ColoHost *host, const char *path,
                         ColoVolume *volume, GError **error)
{
    g_auto(Place) place = {};
    g_auto(ColoVolumeRef) found = NULL;

    *volume = (ColoVolume) {};
    if (!find_place(host, path, &place, error)) {
        return false;
    }
    found = virStorageVolLookupByName(place.pool, place.name);
    if (!found && virGetLastErrorCode() != VIR_ERR_NO_STORAGE_VOL) {
        return colo_libvirt_failed(error);
    }
    if (found) {
        volume->is_there = true;
        read_volume(found, volume);
    }
    return true;
}

bool colo_libvirt_volume_create(ColoHost *host, const char *path,
                                const char *format, uint64_t size_bytes,
                                GError **error)
{
    g_auto(Place) place = {};
    g_auto(ColoVolumeRef) made = NULL;
    g_autofree char *xml = NULL;

    if (!find_place(host, path, &place, error)) {
        return false;
    }
    xml = g_markup_printf_escaped(
        "<volume><name>%s</name><capacity>%" G_GUINT64_FORMAT "</capacity>"
        "<allocation>0</allocation><target><format type='%s'/></target>"
        "</volume>", place.name, size_bytes, format);
    made = virStorageVolCreateXML(place.pool, xml, 0);
    return made ? true : colo_libvirt_failed(error);
}

bool colo_libvirt_volume_delete(ColoHost *host, const char *path,
                                GError **error)
{
    g_auto(Place) place = {};
    g_auto(ColoVolumeRef) found = NULL;

    if (!find_place(host, path, &place, error)) {
        return false;
    }
    found = virStorageVolLookupByName(place.pool, place.name);
    if (!found) {
        return virGetLastErrorCode() == VIR_ERR_NO_STORAGE_VOL ||
               colo_libvirt_failed(error);
    }
    return virStorageVolDelete(found, 0) == 0 || colo_libvirt_failed(error);
}
