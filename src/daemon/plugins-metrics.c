// SPDX-License-Identifier: Apache-2.0

/*
 * metrics.v1.grpc-prometheus, monitor.task.v1.cgroups, and the metrics of the process itself. Source:
 * upstream plugins/server/grpc/metrics.go and core/metrics; process_* are client_golang's.
 */

#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "daemon/builtins.h"
#include "daemon/grpc-metrics.h"
#include "revision.h"
#include "services/cgroup-metrics.h"
#include "transfer/transfer.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define SHIM_STATS "io.containerd.timeout.metrics.shimstats"

/* ---- metrics.v1.grpc-prometheus: the instance is what the servers count with ---- */

static bool grpc_init(PluginInit *init, void **ret, GError **error)
{
	GrpcMetrics *metrics = grpc_metrics_new(conf_bool(plugin_config(init), "grpc_histogram"));

	grpc_metrics_publish(metrics);
	*ret = metrics;
	return true;
}

static void grpc_close(void *instance)
{
	grpc_metrics_free(instance);
}

const PluginRegistration plugin_metrics_grpc = {
        .type = PLUGIN_METRICS,
        .id = "grpc-prometheus",
        .requires = (const char *const[]){PLUGIN_GRPC, NULL},
        .init = grpc_init,
        .close = grpc_close,
};

/* ---- monitor.task.v1.cgroups ---- */

typedef struct {
	CgroupMonitor *monitor;
	unsigned collector; // 0: no_prometheus
} TaskMonitor;

static bool monitor_init(PluginInit *init, void **ret, GError **error)
{
	Tasks *tasks = plugin_get_by_id(init, PLUGIN_RUNTIME, "task", error);

	if (tasks == NULL)
		return false;
	TaskMonitor *m = g_new0(TaskMonitor, 1);
	m->monitor = cgroup_monitor_new(tasks, plugin_timeout(init, SHIM_STATS));
	if (!conf_bool(plugin_config(init), "no_prometheus"))
		m->collector = metrics_add(cgroup_monitor_collect, m->monitor);
	plugin_add_platform(init, platform_default_text());
	*ret = m;
	return true;
}

static void monitor_close(void *instance)
{
	TaskMonitor *m = instance;

	metrics_remove(m->collector);
	cgroup_monitor_free(m->monitor);
	g_free(m);
}

static bool monitor_reload(void *instance, const PluginReload *fresh, GError **error)
{
	TaskMonitor *m = instance;
	bool off = conf_bool(fresh->view, "no_prometheus");

	cgroup_monitor_set_timeout(m->monitor, config_timeout(fresh->config, SHIM_STATS));
	if (off && m->collector != 0) {
		metrics_remove(m->collector);
		m->collector = 0;
	} else if (!off && m->collector == 0) {
		m->collector = metrics_add(cgroup_monitor_collect, m->monitor);
	}
	return true;
}

const PluginRegistration plugin_task_monitor = {
        .type = PLUGIN_TASK_MONITOR,
        .id = "cgroups",
        .requires = (const char *const[]){PLUGIN_EVENT, PLUGIN_RUNTIME, NULL},
        .init = monitor_init,
        .close = monitor_close,
        .reload = monitor_reload,
        .reload_keys = (const char *const[]){"no_prometheus", NULL},
        .reload_top_keys = (const char *const[]){"timeouts." SHIM_STATS, NULL},
};

/* ---- the process ---- */

static double seconds_of(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	if (dir == NULL)
		return 0;
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n > 3 ? n - 3 : 0; // ".", ".." and the directory itself
}

static void put(MetricWriter *w, const char *name, const char *help, MetricKind kind, double value)
{
	metric_family(w, name, help, kind);
	metric_sample(w, value, NULL);
}

/* Seconds since the epoch at which the machine started. */
static double boot_time(void)
{
	g_autofree char *text = NULL;
	size_t len;
	uint64_t seconds = 0;
	const char *line =
	        file_read("/proc/stat", 4 << 20, &text, &len, NULL) ? strstr(text, "\nbtime ") : NULL;

	return line != NULL && sscanf(line, " btime %" G_GUINT64_FORMAT, &seconds) == 1 ? (double)seconds : 0;
}

static void put_memory(MetricWriter *w)
{
	g_autofree char *text = NULL;
	size_t len;
	uint64_t started, size;
	int64_t pages;

	if (!file_read("/proc/self/stat", 4096, &text, &len, NULL))
		return;
	// From the third field on: state, 18 numbers, start time, size, resident pages.
	const char *after = strrchr(text, ')');
	if (after == NULL ||
	    sscanf(after,
	           ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
	           "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT,
	           &started, &size, &pages) != 3)
		return;
	put(w, "process_virtual_memory_bytes", "Virtual memory size in bytes.", METRIC_GAUGE, (double)size);
	put(w, "process_resident_memory_bytes", "Resident memory size in bytes.", METRIC_GAUGE,
	    (double)pages * (double)sysconf(_SC_PAGESIZE));
	put(w, "process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
	    METRIC_GAUGE, boot_time() + (double)started / (double)sysconf(_SC_CLK_TCK));
}

void process_metrics_collect(MetricWriter *writer, void *data)
{
	struct rusage usage;
	struct rlimit limit;

	metric_family(writer, "containerd_build_info_total", "containerd build information", METRIC_COUNTER);
	metric_sample(writer, 1, "version", "v" CTRD_VERSION, "revision", CTRD_REVISION, NULL);
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		put(writer, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.",
		    METRIC_COUNTER, seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
	put(writer, "process_open_fds", "Number of open file descriptors.", METRIC_GAUGE, count_fds());
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		put(writer, "process_max_fds", "Maximum number of open file descriptors.", METRIC_GAUGE,
		    (double)limit.rlim_cur);
	put_memory(writer);
	put(writer, "containerd_transfer_fetched_bytes_total", "Bytes of content fetched from registries.",
	    METRIC_COUNTER, (double)transfer_fetched_bytes());
}
