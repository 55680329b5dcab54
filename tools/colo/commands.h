/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every monitor command that `colo` gives, in one place, and the names that
 * it gives to what it puts into QEMU.
 *
 * Each function makes a new command, to be freed with json_node_unref().
 */
#ifndef COLO_TOOL_COMMANDS_H
#define COLO_TOOL_COMMANDS_H

#include "json.h"

/* Names in QEMU; each needs g_free(). */
char *colo_name_disk(const char *target);         /* the replication node */
char *colo_name_copy(const char *target);         /* its peer's disk */
char *colo_name_export(const char *target);
char *colo_name_link(unsigned nic);               /* chardev, primary */
char *colo_name_compare(unsigned nic);
char *colo_name_peer_link(unsigned nic);          /* chardev, secondary */
char *colo_name_rewriter(unsigned nic);

JsonNode *colo_command(const char *execute);

/* Memory and devices. */
JsonNode *colo_command_capability(const char *name, bool on);
JsonNode *colo_command_listen(const char *address, unsigned port);
JsonNode *colo_command_migrate(const char *address, unsigned port);
JsonNode *colo_command_interval(uint32_t interval_ms);
JsonNode *colo_command_downtime(uint32_t limit_ms);
JsonNode *colo_command_bandwidth(uint64_t bytes_per_s);
JsonNode *colo_command_events(bool on);           /* one per checkpoint */
JsonNode *colo_command_parameter(const char *name, int64_t value);

/* Disks. */
/* @directory: for what does not fit into the buffer; NULL: QEMU's own. */
JsonNode *colo_command_disk_insert(const char *target, const char *below,
                                   bool is_shared, uint64_t buffer_bytes,
                                   const char *directory);
JsonNode *colo_command_disk_remove(const char *target);
JsonNode *colo_command_disk_connect(const char *target, const char *address,
                                    unsigned port);
JsonNode *colo_command_disk_attach(const char *target, const char *sync,
                                   const char *base, uint64_t bytes_per_s);
JsonNode *colo_command_disk_serve(const char *address, unsigned port);
JsonNode *colo_command_disk_export(const char *target, const char *node);

/* Network. */
JsonNode *colo_command_net_listen(unsigned nic, const char *address,
                                  unsigned port);
JsonNode *colo_command_net_connect(unsigned nic, const char *address,
                                   unsigned port);
JsonNode *colo_command_net_compare(unsigned nic, const char *netdev);
JsonNode *colo_command_net_rewrite(unsigned nic, const char *netdev);
/* One that listens, or one that connects again and again. */
JsonNode *colo_command_chardev(const char *id, bool is_server,
                               const char *address, unsigned port);
JsonNode *colo_command_chardev_remove(const char *id);

/*
 * All of COLO out of QEMU; @is_survivor: but for what its connections need,
 * and what makes the next protection of it a quick one.
 */
JsonNode *colo_command_clean_up(bool is_survivor);

/* Cut the connection of a node or chardev, so that nothing waits for it. */
JsonNode *colo_command_yank(JsonNode *instances);

#endif
