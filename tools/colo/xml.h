/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Domain XML by XPath: the little that is needed of libxml2.
 *
 * The prefixes `qemu` and `colo` are known in each expression.
 */
#ifndef COLO_TOOL_XML_H
#define COLO_TOOL_XML_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>
#include <libxml/tree.h>

#define COLO_XML_NS "urn:colo-qemu:pair:1"
#define COLO_XML_QEMU_NS "http://libvirt.org/schemas/domain/qemu/1.0"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

xmlDoc *colo_xml_parse(const char *text, GError **error);

/* The whole document, without the line that declares XML. Caller frees. */
char *colo_xml_text(xmlDoc *doc);
/* One element with what is in it. Caller frees. */
char *colo_xml_node_text(xmlNode *node);

/* Nodes below @at, in document order: array of xmlNode *, never NULL. */
GPtrArray *colo_xml_nodes(xmlNode *at, const char *path);

/* Text of the first match, NULL if there is none. Caller frees. */
char *colo_xml_get(xmlNode *at, const char *path);

bool colo_xml_has(xmlNode *at, const char *path);
uint64_t colo_xml_get_uint(xmlNode *at, const char *path, uint64_t fallback);

/* Removes every match, elements and attributes. */
void colo_xml_remove(xmlNode *at, const char *path);

xmlNode *colo_xml_root(xmlDoc *doc);
void colo_xml_set(xmlNode *node, const char *attribute, const char *value);
/* Attribute of @node itself. Caller frees. */
char *colo_xml_attribute(xmlNode *node, const char *attribute);
/* The child of that name, made if it is not there. */
xmlNode *colo_xml_child(xmlNode *node, const char *name);

#endif
