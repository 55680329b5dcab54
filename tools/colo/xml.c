/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Domain XML by XPath.
 */
#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>
#include "error.h"
#include "xml.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlXPathContext, xmlXPathFreeContext)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlXPathObject, xmlXPathFreeObject)

/* libxml2 has its own allocator; what leaves here is GLib's. */
static char *take(xmlChar *text)
{
    char *copy = g_strdup((char *)text);

    if (text) {
        xmlFree(text);
    }
    return copy;
}

xmlDoc *colo_xml_parse(const char *text, GError **error)
{
    xmlDoc *doc = xmlReadMemory(text, strlen(text), NULL, NULL,
                                XML_PARSE_NONET | XML_PARSE_NOERROR |
                                XML_PARSE_NOWARNING | XML_PARSE_NOBLANKS);

    if (!doc) {
        colo_error_set(error, COLO_EXIT_FAILED, "It is not well-formed XML");
    }
    return doc;
}

xmlNode *colo_xml_root(xmlDoc *doc)
{
    return xmlDocGetRootElement(doc);
}

char *colo_xml_text(xmlDoc *doc)
{
    xmlBuffer *buffer = xmlBufferCreate();
    char *text;

    xmlNodeDump(buffer, doc, colo_xml_root(doc), 0, 1);
    text = g_strconcat((const char *)xmlBufferContent(buffer), "\n", NULL);
    xmlBufferFree(buffer);
    return text;
}

char *colo_xml_node_text(xmlNode *node)
{
    xmlBuffer *buffer = xmlBufferCreate();
    char *text;

    xmlNodeDump(buffer, node->doc, node, 0, 0);
    text = g_strdup((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    return text;
}

static xmlXPathObject *evaluate(xmlNode *at, const char *path)
{
    g_autoptr(xmlXPathContext) context = xmlXPathNewContext(at->doc);

    xmlXPathRegisterNs(context, BAD_CAST "qemu", BAD_CAST COLO_XML_QEMU_NS);
    xmlXPathRegisterNs(context, BAD_CAST "colo", BAD_CAST COLO_XML_NS);
    context->node = at;
    return xmlXPathEval(BAD_CAST path, context);
}

GPtrArray *colo_xml_nodes(xmlNode *at, const char *path)
{
    g_autoptr(xmlXPathObject) result = evaluate(at, path);
    GPtrArray *nodes = g_ptr_array_new();
    int i;

    if (result && result->nodesetval) {
        for (i = 0; i < result->nodesetval->nodeNr; i++) {
            g_ptr_array_add(nodes, result->nodesetval->nodeTab[i]);
        }
    }
    return nodes;
}

char *colo_xml_get(xmlNode *at, const char *path)
{
    g_autoptr(GPtrArray) nodes = colo_xml_nodes(at, path);

    if (!nodes->len) {
        return NULL;
    }
    return take(xmlNodeGetContent(g_ptr_array_index(nodes, 0)));
}

bool colo_xml_has(xmlNode *at, const char *path)
{
    g_autoptr(GPtrArray) nodes = colo_xml_nodes(at, path);

    return nodes->len;
}

uint64_t colo_xml_get_uint(xmlNode *at, const char *path, uint64_t fallback)
{
    g_autofree char *text = colo_xml_get(at, path);
    guint64 value;

    if (!text || !g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, &value,
                                             NULL)) {
        return fallback;
    }
    return value;
}

void colo_xml_remove(xmlNode *at, const char *path)
{
    g_autoptr(GPtrArray) nodes = colo_xml_nodes(at, path);
    unsigned i;

    /* From the end, so that what lies inside goes before what is around it. */
    for (i = nodes->len; i-- > 0;) {
        xmlNode *node = g_ptr_array_index(nodes, i);

        if (node->type == XML_ATTRIBUTE_NODE) {
            xmlRemoveProp((xmlAttr *)node);
        } else {
            xmlUnlinkNode(node);
            xmlFreeNode(node);
        }
    }
}

void colo_xml_set(xmlNode *node, const char *attribute, const char *value)
{
    xmlSetProp(node, BAD_CAST attribute, BAD_CAST value);
}

char *colo_xml_attribute(xmlNode *node, const char *attribute)
{
    return take(xmlGetProp(node, BAD_CAST attribute));
}

xmlNode *colo_xml_child(xmlNode *node, const char *name)
{
    g_autoptr(GPtrArray) nodes = colo_xml_nodes(node, name);

    return nodes->len ? g_ptr_array_index(nodes, 0)
                      : xmlNewChild(node, NULL, BAD_CAST name, NULL);
}
