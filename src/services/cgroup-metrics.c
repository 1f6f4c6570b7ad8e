// SPDX-License-Identifier: Apache-2.0
#include "services/cgroup-metrics.h"
#include "base/util.h"
#include "cgroups/v1/metrics.pb-c.h"
#include "cgroups/v2/metrics.pb-c.h"
#include "message.h"
#include <string.h>

typedef Io__Containerd__Cgroups__V1__Metrics V1Metrics;
typedef Io__Containerd__Cgroups__V2__Metrics V2Metrics;

/* One number: one or two pointers to follow from the message, then the field. A NULL pointer is no sample. */
typedef struct {
	const char *name, *help;
	size_t at, in; // in 0: the field is in the first
	size_t field;
} Field;

#define V1(name, help, a, A, f)                                                                              \
	{                                                                                                    \
		name, help, offsetof(V1Metrics, a), 0, offsetof(Io__Containerd__Cgroups__V1__##A, f)         \
	}
#define V1_IN(name, help, a, A, b, B, f)                                                                     \
	{                                                                                                    \
		name, help, offsetof(V1Metrics, a), offsetof(Io__Containerd__Cgroups__V1__##A, b),           \
		        offsetof(Io__Containerd__Cgroups__V1__##B, f)                                        \
	}
#define V2(name, help, a, A, f)                                                                              \
	{                                                                                                    \
		name, help, offsetof(V2Metrics, a), 0, offsetof(Io__Containerd__Cgroups__V2__##A, f)         \
	}

static const Field v1_fields[] = {
        V1("container_pids_limit", "The limit to the number of pids allowed", pids, PidsStat, limit),
        V1("container_pids_current", "The current number of pids", pids, PidsStat, current),
        V1_IN("container_cpu_total_nanoseconds", "The total cpu time", cpu, CPUStat, usage, CPUUsage, total),
        V1_IN("container_cpu_kernel_nanoseconds", "The total kernel cpu time", cpu, CPUStat, usage, CPUUsage,
              kernel),
        V1_IN("container_cpu_user_nanoseconds", "The total user cpu time", cpu, CPUStat, usage, CPUUsage,
              user),
        V1_IN("container_cpu_throttle_periods_total", "The total cpu throttle periods", cpu, CPUStat,
              throttling, Throttle, periods),
        V1_IN("container_cpu_throttled_periods_total", "The total cpu throttled periods", cpu, CPUStat,
              throttling, Throttle, throttled_periods),
        V1_IN("container_cpu_throttled_time_nanoseconds", "The total cpu throttled time", cpu, CPUStat,
              throttling, Throttle, throttled_time),
        V1("container_memory_cache_bytes", "The cache amount used", memory, MemoryStat, cache),
        V1("container_memory_rss_bytes", "The rss amount used", memory, MemoryStat, rss),
        V1("container_memory_rss_huge_bytes", "The rss_huge amount used", memory, MemoryStat, rss_huge),
        V1("container_memory_mapped_file_bytes", "The mapped_file amount used", memory, MemoryStat,
           mapped_file),
        V1("container_memory_dirty_bytes", "The dirty amount", memory, MemoryStat, dirty),
        V1("container_memory_writeback_bytes", "The writeback amount", memory, MemoryStat, writeback),
        V1("container_memory_pgpgin_bytes", "The pgpgin amount", memory, MemoryStat, pg_pg_in),
        V1("container_memory_pgpgout_bytes", "The pgpgout amount", memory, MemoryStat, pg_pg_out),
        V1("container_memory_pgfault_bytes", "The pgfault amount", memory, MemoryStat, pg_fault),
        V1("container_memory_pgmajfault_bytes", "The pgmajfault amount", memory, MemoryStat, pg_maj_fault),
        V1("container_memory_inactive_anon_bytes", "The inactive_anon amount", memory, MemoryStat,
           inactive_anon),
        V1("container_memory_active_anon_bytes", "The active_anon amount", memory, MemoryStat, active_anon),
        V1("container_memory_inactive_file_bytes", "The inactive_file amount", memory, MemoryStat,
           inactive_file),
        V1("container_memory_active_file_bytes", "The active_file amount", memory, MemoryStat, active_file),
        V1("container_memory_unevictable_bytes", "The unevictable amount", memory, MemoryStat, unevictable),
        V1("container_memory_hierarchical_memory_limit_bytes", "The hierarchical_memory_limit amount", memory,
           MemoryStat, hierarchical_memory_limit),
        V1("container_memory_hierarchical_memsw_limit_bytes", "The hierarchical_memsw_limit amount", memory,
           MemoryStat, hierarchical_swap_limit),
        V1("container_memory_total_cache_bytes", "The total_cache amount used", memory, MemoryStat,
           total_cache),
        V1("container_memory_total_rss_bytes", "The total_rss amount used", memory, MemoryStat, total_rss),
        V1("container_memory_total_rss_huge_bytes", "The total_rss_huge amount used", memory, MemoryStat,
           total_rss_huge),
        V1("container_memory_total_mapped_file_bytes", "The total_mapped_file amount used", memory,
           MemoryStat, total_mapped_file),
        V1("container_memory_total_dirty_bytes", "The total_dirty amount", memory, MemoryStat, total_dirty),
        V1("container_memory_total_writeback_bytes", "The total_writeback amount", memory, MemoryStat,
           total_writeback),
        V1("container_memory_total_pgpgin_bytes", "The total_pgpgin amount", memory, MemoryStat,
           total_pg_pg_in),
        V1("container_memory_total_pgpgout_bytes", "The total_pgpgout amount", memory, MemoryStat,
           total_pg_pg_out),
        V1("container_memory_total_pgfault_bytes", "The total_pgfault amount", memory, MemoryStat,
           total_pg_fault),
        V1("container_memory_total_pgmajfault_bytes", "The total_pgmajfault amount", memory, MemoryStat,
           total_pg_maj_fault),
        V1("container_memory_total_inactive_anon_bytes", "The total_inactive_anon amount", memory, MemoryStat,
           total_inactive_anon),
        V1("container_memory_total_active_anon_bytes", "The total_active_anon amount", memory, MemoryStat,
           total_active_anon),
        V1("container_memory_total_inactive_file_bytes", "The total_inactive_file amount", memory, MemoryStat,
           total_inactive_file),
        V1("container_memory_total_active_file_bytes", "The total_active_file amount", memory, MemoryStat,
           total_active_file),
        V1("container_memory_total_unevictable_bytes", "The total_unevictable amount", memory, MemoryStat,
           total_unevictable),
        V1_IN("container_memory_usage_failcnt_total", "The usage failcnt", memory, MemoryStat, usage,
              MemoryEntry, failcnt),
        V1_IN("container_memory_usage_limit_bytes", "The memory limit", memory, MemoryStat, usage,
              MemoryEntry, limit),
        V1_IN("container_memory_usage_max_bytes", "The memory maximum usage", memory, MemoryStat, usage,
              MemoryEntry, max),
        V1_IN("container_memory_usage_usage_bytes", "The memory usage", memory, MemoryStat, usage,
              MemoryEntry, usage),
        V1_IN("container_memory_swap_failcnt_total", "The swap failcnt", memory, MemoryStat, swap,
              MemoryEntry, failcnt),
        V1_IN("container_memory_swap_limit_bytes", "The swap limit", memory, MemoryStat, swap, MemoryEntry,
              limit),
        V1_IN("container_memory_swap_max_bytes", "The swap maximum usage", memory, MemoryStat, swap,
              MemoryEntry, max),
        V1_IN("container_memory_swap_usage_bytes", "The swap usage", memory, MemoryStat, swap, MemoryEntry,
              usage),
        V1_IN("container_memory_kernel_failcnt_total", "The kernel failcnt", memory, MemoryStat, kernel,
              MemoryEntry, failcnt),
        V1_IN("container_memory_kernel_limit_bytes", "The kernel limit", memory, MemoryStat, kernel,
              MemoryEntry, limit),
        V1_IN("container_memory_kernel_max_bytes", "The kernel maximum usage", memory, MemoryStat, kernel,
              MemoryEntry, max),
        V1_IN("container_memory_kernel_usage_bytes", "The kernel usage", memory, MemoryStat, kernel,
              MemoryEntry, usage),
        V1_IN("container_memory_kerneltcp_failcnt_total", "The kerneltcp failcnt", memory, MemoryStat,
              kernel_tcp, MemoryEntry, failcnt),
        V1_IN("container_memory_kerneltcp_limit_bytes", "The kerneltcp limit", memory, MemoryStat, kernel_tcp,
              MemoryEntry, limit),
        V1_IN("container_memory_kerneltcp_max_bytes", "The kerneltcp maximum usage", memory, MemoryStat,
              kernel_tcp, MemoryEntry, max),
        V1_IN("container_memory_kerneltcp_usage_bytes", "The kerneltcp usage", memory, MemoryStat, kernel_tcp,
              MemoryEntry, usage),
};

static const Field v2_fields[] = {
        V2("container_pids_limit", "The limit to the number of pids allowed (cgroup v2)", pids, PidsStat,
           limit),
        V2("container_pids_current", "The current number of pids (cgroup v2)", pids, PidsStat, current),
        V2("container_cpu_usage_usec_microseconds", "Total cpu usage (cgroup v2)", cpu, CPUStat, usage_usec),
        V2("container_cpu_user_usec_microseconds", "Current cpu usage in user space (cgroup v2)", cpu,
           CPUStat, user_usec),
        V2("container_cpu_system_usec_microseconds", "Current cpu usage in kernel space (cgroup v2)", cpu,
           CPUStat, system_usec),
        V2("container_cpu_nr_periods_total", "Current cpu number of periods (only if controller is enabled)",
           cpu, CPUStat, nr_periods),
        V2("container_cpu_nr_throttled_total",
           "Total number of times tasks have been throttled (only if controller is enabled)", cpu, CPUStat,
           nr_throttled),
        V2("container_cpu_throttled_usec_microseconds",
           "Total time duration for which tasks have been throttled. (only if controller is enabled)", cpu,
           CPUStat, throttled_usec),
        V2("container_memory_usage_bytes", "Current memory usage (cgroup v2)", memory, MemoryStat, usage),
        V2("container_memory_usage_limit_bytes", "Current memory usage limit (cgroup v2)", memory, MemoryStat,
           usage_limit),
        V2("container_memory_swap_usage_bytes", "Current swap usage (cgroup v2)", memory, MemoryStat,
           swap_usage),
        V2("container_memory_swap_limit_bytes", "Current swap usage limit (cgroup v2)", memory, MemoryStat,
           swap_limit),
        V2("container_memory_file_mapped_bytes", "The file_mapped amount", memory, MemoryStat, file_mapped),
        V2("container_memory_file_dirty_bytes", "The file_dirty amount", memory, MemoryStat, file_dirty),
        V2("container_memory_file_writeback_bytes", "The file_writeback amount", memory, MemoryStat,
           file_writeback),
        V2("container_memory_pgactivate_bytes", "The pgactivate amount", memory, MemoryStat, pgactivate),
        V2("container_memory_pgdeactivate_bytes", "The pgdeactivate amount", memory, MemoryStat,
           pgdeactivate),
        V2("container_memory_pgfault_bytes", "The pgfault amount", memory, MemoryStat, pgfault),
        V2("container_memory_pgmajfault_bytes", "The pgmajfault amount", memory, MemoryStat, pgmajfault),
        V2("container_memory_pglazyfree_bytes", "The pglazyfree amount", memory, MemoryStat, pglazyfree),
        V2("container_memory_pgrefill_bytes", "The pgrefill amount", memory, MemoryStat, pgrefill),
        V2("container_memory_pglazyfreed_bytes", "The pglazyfreed amount", memory, MemoryStat, pglazyfreed),
        V2("container_memory_pgscan_bytes", "The pgscan amount", memory, MemoryStat, pgscan),
        V2("container_memory_pgsteal_bytes", "The pgsteal amount", memory, MemoryStat, pgsteal),
        V2("container_memory_inactive_anon_bytes", "The inactive_anon amount", memory, MemoryStat,
           inactive_anon),
        V2("container_memory_active_anon_bytes", "The active_anon amount", memory, MemoryStat, active_anon),
        V2("container_memory_inactive_file_bytes", "The inactive_file amount", memory, MemoryStat,
           inactive_file),
        V2("container_memory_active_file_bytes", "The active_file amount", memory, MemoryStat, active_file),
        V2("container_memory_unevictable_bytes", "The unevictable amount", memory, MemoryStat, unevictable),
        V2("container_memory_anon_bytes", "The anon amount", memory, MemoryStat, anon),
        V2("container_memory_file_bytes", "The file amount", memory, MemoryStat, file),
        V2("container_memory_kernel_stack_bytes", "The kernel_stack amount", memory, MemoryStat,
           kernel_stack),
        V2("container_memory_slab_bytes", "The slab amount", memory, MemoryStat, slab),
        V2("container_memory_sock_bytes", "The sock amount", memory, MemoryStat, sock),
        V2("container_memory_shmem_bytes", "The shmem amount", memory, MemoryStat, shmem),
        V2("container_memory_anon_thp_bytes", "The anon_thp amount", memory, MemoryStat, anon_thp),
        V2("container_memory_slab_reclaimable_bytes", "The slab_reclaimable amount", memory, MemoryStat,
           slab_reclaimable),
        V2("container_memory_slab_unreclaimable_bytes", "The slab_unreclaimable amount", memory, MemoryStat,
           slab_unreclaimable),
        V2("container_memory_workingset_refault_bytes", "The workingset_refault amount", memory, MemoryStat,
           workingset_refault),
        V2("container_memory_workingset_activate_bytes", "The workingset_activate amount", memory, MemoryStat,
           workingset_activate),
        V2("container_memory_workingset_nodereclaim_bytes", "The workingset_nodereclaim amount", memory,
           MemoryStat, workingset_nodereclaim),
        V2("container_memory_thp_fault_alloc_bytes", "The thp_fault_alloc amount", memory, MemoryStat,
           thp_fault_alloc),
        V2("container_memory_thp_collapse_alloc_bytes", "The thp_collapse_alloc amount", memory, MemoryStat,
           thp_collapse_alloc),
        V2("container_memory_oom_total", "The number of times a container has received an oom event",
           memory_events, MemoryEvents, oom),
};

typedef struct {
	MetricWriter *writer;
	const char *id, *ns;
} Target;

static void put(const Target *t, const char *name, const char *help, double value)
{
	metric_family(t->writer, name, help, METRIC_GAUGE);
	metric_sample(t->writer, value, "container_id", t->id, "namespace", t->ns, NULL);
}

static void put_fields(const Target *t, const void *message, const Field *fields, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const Field *f = &fields[i];
		const char *at = *(const char *const *)(const void *)((const char *)message + f->at);

		if (at != NULL && f->in != 0)
			at = *(const char *const *)(const void *)(at + f->in);
		if (at != NULL)
			put(t, f->name, f->help, (double)*(const uint64_t *)(const void *)(at + f->field));
	}
}

/* ---- v1: what there is for each cpu, device, page size ---- */

static void put_cpus(const Target *t, const V1Metrics *m)
{
	if (m->cpu == NULL || m->cpu->usage == NULL)
		return;
	metric_family(t->writer, "container_per_cpu_nanoseconds", "The total cpu time per cpu", METRIC_GAUGE);
	for (size_t i = 0; i < m->cpu->usage->n_per_cpu; i++) {
		g_autofree char *cpu = g_strdup_printf("%zu", i);

		metric_sample(t->writer, (double)m->cpu->usage->per_cpu[i], "container_id", t->id,
		              "namespace", t->ns, "cpu", cpu, NULL);
	}
}

static void put_blkio(const Target *t, const char *name, const char *help,
                      Io__Containerd__Cgroups__V1__BlkIOEntry *const *entries, size_t n)
{
	metric_family(t->writer, name, help, METRIC_GAUGE);
	for (size_t i = 0; i < n; i++) {
		const Io__Containerd__Cgroups__V1__BlkIOEntry *e = entries[i];
		g_autofree char *major = g_strdup_printf("%" G_GUINT64_FORMAT, e->major);
		g_autofree char *minor = g_strdup_printf("%" G_GUINT64_FORMAT, e->minor);

		metric_sample(t->writer, (double)e->value, "container_id", t->id, "namespace", t->ns, "op",
		              e->op, "device", e->device, "major", major, "minor", minor, NULL);
	}
}

static void put_all_blkio(const Target *t, const Io__Containerd__Cgroups__V1__BlkIOStat *b)
{
#define BLKIO(field, unit, text)                                                                             \
	put_blkio(t, "container_blkio_" #field "_" unit, "The blkio " text, b->field, b->n_##field)
	BLKIO(io_merged_recursive, "total", "io merged recursive");
	BLKIO(io_queued_recursive, "total", "io queued recursive");
	BLKIO(io_service_bytes_recursive, "bytes", "io service bytes recursive");
	BLKIO(io_service_time_recursive, "total", "io service time recursive");
	BLKIO(io_serviced_recursive, "total", "io serviced recursive");
	BLKIO(io_time_recursive, "total", "io time recursive");
	BLKIO(sectors_recursive, "total", "sectors recursive");
}

static void put_page(const Target *t, const char *name, const char *help, const char *page, uint64_t value)
{
	metric_family(t->writer, name, help, METRIC_GAUGE);
	metric_sample(t->writer, (double)value, "container_id", t->id, "namespace", t->ns, "page", page,
	              NULL);
}

static void put_v1(const Target *t, const V1Metrics *m)
{
	put_fields(t, m, v1_fields, G_N_ELEMENTS(v1_fields));
	put_cpus(t, m);
	if (m->blkio != NULL)
		put_all_blkio(t, m->blkio);
	for (size_t i = 0; i < m->n_hugetlb; i++) {
		const Io__Containerd__Cgroups__V1__HugetlbStat *h = m->hugetlb[i];

		put_page(t, "container_hugetlb_usage_bytes", "The hugetlb usage", h->pagesize, h->usage);
		put_page(t, "container_hugetlb_failcnt_total", "The hugetlb failcnt", h->pagesize,
		         h->failcnt);
		put_page(t, "container_hugetlb_max_bytes", "The hugetlb maximum usage", h->pagesize, h->max);
	}
	if (m->memory_oom_control == NULL)
		return;
	metric_family(t->writer, "container_memory_oom_total",
	              "The number of times a container has received an oom event", METRIC_COUNTER);
	metric_sample(t->writer, (double)m->memory_oom_control->oom_kill, "container_id", t->id, "namespace",
	              t->ns, NULL);
}

/* ---- v2 ---- */

static void put_v2(const Target *t, const V2Metrics *m)
{
	static const struct {
		const char *name, *help;
		size_t field;
	} io[] = {
#define IO(field, unit, text)                                                                                \
	{"container_io_" #field "_" unit, text, offsetof(Io__Containerd__Cgroups__V2__IOEntry, field)}
	        IO(rbytes, "bytes", "IO bytes read"),
	        IO(wbytes, "bytes", "IO bytes written"),
	        IO(rios, "total", "Number of read IOs"),
	        IO(wios, "total", "Number of write IOs"),
	};

	put_fields(t, m, v2_fields, G_N_ELEMENTS(v2_fields));
	for (size_t i = 0; m->io != NULL && i < m->io->n_usage; i++) {
		const Io__Containerd__Cgroups__V2__IOEntry *e = m->io->usage[i];
		g_autofree char *major = g_strdup_printf("%" G_GUINT64_FORMAT, e->major);
		g_autofree char *minor = g_strdup_printf("%" G_GUINT64_FORMAT, e->minor);

		for (size_t j = 0; j < G_N_ELEMENTS(io); j++) {
			metric_family(t->writer, io[j].name, io[j].help, METRIC_GAUGE);
			metric_sample(
			        t->writer,
			        (double)*(const uint64_t *)(const void *)((const char *)e + io[j].field),
			        "container_id", t->id, "namespace", t->ns, "major", major, "minor", minor,
			        NULL);
		}
	}
}

void cgroup_metrics_write(MetricWriter *writer, const char *id, const char *ns, const char *type,
                          const uint8_t *data, size_t len)
{
	const Target t = {.writer = writer, .id = id, .ns = ns};

	if (strcmp(type, "io.containerd.cgroups.v1.Metrics") == 0) {
		autopb V1Metrics *m =
		        api_unpack(&io__containerd__cgroups__v1__metrics__descriptor, NULL, data, len, NULL);
		if (m != NULL)
			put_v1(&t, m);
	} else if (strcmp(type, "io.containerd.cgroups.v2.Metrics") == 0) {
		autopb V2Metrics *m =
		        api_unpack(&io__containerd__cgroups__v2__metrics__descriptor, NULL, data, len, NULL);
		if (m != NULL)
			put_v2(&t, m);
	}
}
