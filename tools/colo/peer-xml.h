/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Domain XML for the other host, and for after a failover.
 */
#ifndef COLO_TOOL_PEER_XML_H
#define COLO_TOOL_PEER_XML_H

#include "maps.h"
#include "pair.h"

/*
 * The secondary's XML from the primary's migratable XML: the same machine,
 * with the names of the other host. Caller frees.
 */
char *colo_peer_xml(const char *xml, const ColoMap *disks,
                    const ColoMap *networks, const ColoPair *pair,
                    GError **error);

/*
 * The same under another name and UUID, without disks: started and thrown
 * away, it shows if the other host could run it.
 */
char *colo_probe_xml(const char *peer_xml, const char *uuid, GError **error);

/* A survivor's XML to define: nothing in it is left of COLO but the pair. */
char *colo_survivor_xml(const char *xml, const ColoPair *pair,
                        GError **error);

#endif
