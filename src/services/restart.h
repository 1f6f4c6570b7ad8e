// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The restart monitor: keeps the tasks of labelled containers in the state that their labels ask for. Source:
 *upstream core/runtime/restart and plugins/restart.
 *
 *	containerd.io/restart.status              "running" or "stopped": what shall be
 *	containerd.io/restart.policy              no, always (also: absent), on-failure[:n], unless-stopped
 *	containerd.io/restart.count               how often it was started here; written by the monitor
 *	containerd.io/restart.loguri              where a started task writes
 *	containerd.io/restart.explicitly-stopped  "true": unless-stopped leaves it alone
 *
 * Every interval all containers with the first label are looked at. Unlike upstream's, each change runs on a
 *worker of its own, so that a container that hangs delays no other; a shim that gives no answer is left alone
 *(upstream takes it for gone and counts a start that fails); and a task that ends within 10 s of its start,
 *or cannot be started, is tried again after the interval twice, and then after twice the time each time, up
 *to 5 minutes.
 */

#include "loop/pool.h"
#include "runtime/tasks.h"
#include "store/meta.h"

#define RESTART_STATUS "containerd.io/restart.status"
#define RESTART_POLICY "containerd.io/restart.policy"
#define RESTART_COUNT "containerd.io/restart.count"
#define RESTART_LOG_URI "containerd.io/restart.loguri"
#define RESTART_EXPLICITLY_STOPPED "containerd.io/restart.explicitly-stopped"

typedef struct {
	MetaDb *db;
	Tasks *tasks;
	GHashTable *snapshotters; // name -> Snapshotter*
	Pool *pool;
	int64_t interval_ns, state_timeout_ns;
} RestartConfig;

typedef struct RestartMonitor RestartMonitor;
/* Copies config; what it names must outlive the monitor. NULL where there is no thread. */
RestartMonitor *restart_monitor_start(const RestartConfig *config, GError **error);
/* From the next look on; 0: 10 s. Any thread. */
void restart_monitor_set_interval(RestartMonitor *monitor, int64_t interval_ns, int64_t state_timeout_ns);
/* Cancels what is under way and waits for it. */
void restart_monitor_free(RestartMonitor *monitor);

/* ---- the rules, for tests ---- */

/* Whether a task that is not running shall be started. exit_status: 0 where there is no task. Errors (false)
 * as upstream's: `restart policy "x" not supported`, `restart policy "always" not support max retry count`,
 * `invalid max retry count: x`. */
bool restart_is_wanted(GHashTable *labels, uint32_t exit_status, GError **error);
/* How long after the last start the next one may come; failures: starts in a row that did not last. */
int64_t restart_delay(unsigned failures, int64_t interval_ns);
