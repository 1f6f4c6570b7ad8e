// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * container_*: what cgroups count, as Prometheus metrics with upstream's names, units and labels
 * (core/metrics/cgroups/{v1,v2}), and the packed io.containerd.cgroups.v{1,2}.Metrics of a task that both the
 * metrics and Tasks.Metrics are made of.
 *
 * Where the shim is ours (containerd-shim-runc-v2, whoever built it) the daemon reads the files itself. What
 * another runtime counts only its shim knows: it is asked in the background, and a scrape shows what it
 * answered last, so that no scrape waits for a shim. Thread-safe.
 */

#include "base/arena.h"
#include "loop/metrics.h"
#include "runtime/tasks.h"

typedef struct CgroupMonitor CgroupMonitor;
/* stats_timeout_ns: for a shim that is asked. Tasks must outlive the monitor. */
CgroupMonitor *cgroup_monitor_new(Tasks *tasks, int64_t stats_timeout_ns);
void cgroup_monitor_set_timeout(CgroupMonitor *monitor, int64_t stats_timeout_ns);
/* After the last collect; answers of shims that come later are dropped. */
void cgroup_monitor_free(CgroupMonitor *monitor);
/* A MetricCollect; data: CgroupMonitor. */
void cgroup_monitor_collect(MetricWriter *writer, void *monitor);

/* The task's metrics by our own reading; false: the shim must be asked (it is not ours, or the group is not
 * known or gone). In the arena; the type's name is static. */
bool cgroup_read_shim(Shim *shim, Arena *arena, const char **ret_type, uint8_t **ret_data, size_t *ret_len);

/* The samples of one packed Metrics; an unknown type or garbage gives none. */
void cgroup_metrics_write(MetricWriter *writer, const char *id, const char *ns, const char *type,
                          const uint8_t *data, size_t len);
