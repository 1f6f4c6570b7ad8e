// SPDX-License-Identifier: Apache-2.0

/* Metrics of cgroup v1. A controller that is not there, or loses a file while we read, leaves its part empty:
 * upstream ignores what does not exist. */

#include "base/fs.h"
#include "base/util.h"
#include "cgroup/cgroup-private.h"
#include "cgroups/v1/metrics.pb-c.h"
#include "message.h"
#include <string.h>
#include <unistd.h>

typedef Io__Containerd__Cgroups__V1__Metrics Metrics;
typedef Io__Containerd__Cgroups__V1__MemoryStat MemoryStat;
typedef Io__Containerd__Cgroups__V1__MemoryEntry MemoryEntry;
typedef Io__Containerd__Cgroups__V1__MemoryOomControl MemoryOomControl;
typedef Io__Containerd__Cgroups__V1__CPUUsage CPUUsage;
typedef Io__Containerd__Cgroups__V1__Throttle Throttle;
typedef Io__Containerd__Cgroups__V1__BlkIOEntry BlkIOEntry;
typedef Io__Containerd__Cgroups__V1__BlkIOStat BlkIOStat;
typedef Io__Containerd__Cgroups__V1__RdmaEntry RdmaEntry;
typedef Io__Containerd__Cgroups__V1__HugetlbStat HugetlbStat;

#define NEW(type, descriptor)                                                                                \
	({                                                                                                   \
		type *p_ = arena_alloc(arena, sizeof *p_);                                                   \
		api_init(&(descriptor), p_);                                                                 \
		p_;                                                                                          \
	})

#define MEM(field, key)                                                                                      \
	{                                                                                                    \
		key, offsetof(MemoryStat, field)                                                             \
	}
static const CgField memory_fields[] = {
        MEM(cache, "cache"),
        MEM(rss, "rss"),
        MEM(rss_huge, "rss_huge"),
        MEM(mapped_file, "mapped_file"),
        MEM(dirty, "dirty"),
        MEM(writeback, "writeback"),
        MEM(pg_pg_in, "pgpgin"),
        MEM(pg_pg_out, "pgpgout"),
        MEM(pg_fault, "pgfault"),
        MEM(pg_maj_fault, "pgmajfault"),
        MEM(inactive_anon, "inactive_anon"),
        MEM(active_anon, "active_anon"),
        MEM(inactive_file, "inactive_file"),
        MEM(active_file, "active_file"),
        MEM(unevictable, "unevictable"),
        MEM(hierarchical_memory_limit, "hierarchical_memory_limit"),
        MEM(hierarchical_swap_limit, "hierarchical_memsw_limit"),
        MEM(total_cache, "total_cache"),
        MEM(total_rss, "total_rss"),
        MEM(total_rss_huge, "total_rss_huge"),
        MEM(total_mapped_file, "total_mapped_file"),
        MEM(total_dirty, "total_dirty"),
        MEM(total_writeback, "total_writeback"),
        MEM(total_pg_pg_in, "total_pgpgin"),
        MEM(total_pg_pg_out, "total_pgpgout"),
        MEM(total_pg_fault, "total_pgfault"),
        MEM(total_pg_maj_fault, "total_pgmajfault"),
        MEM(total_inactive_anon, "total_inactive_anon"),
        MEM(total_active_anon, "total_active_anon"),
        MEM(total_inactive_file, "total_inactive_file"),
        MEM(total_active_file, "total_active_file"),
        MEM(total_unevictable, "total_unevictable"),
};
static const CgField oom_fields[] = {{"oom_kill_disable", offsetof(MemoryOomControl, oom_kill_disable)},
                                     {"under_oom", offsetof(MemoryOomControl, under_oom)},
                                     {"oom_kill", offsetof(MemoryOomControl, oom_kill)}};
static const CgField throttle_fields[] = {{"nr_periods", offsetof(Throttle, periods)},
                                          {"nr_throttled", offsetof(Throttle, throttled_periods)},
                                          {"throttled_time", offsetof(Throttle, throttled_time)}};
static const CgField usage_fields[] = {{"user", offsetof(CPUUsage, user)},
                                       {"system", offsetof(CPUUsage, kernel)}};

static bool stat_memory_entry(const char *dir, const char *module, MemoryEntry *e)
{
	const struct {
		const char *name;
		uint64_t *value;
	} files[] = {{"usage_in_bytes", &e->usage},
	             {"max_usage_in_bytes", &e->max},
	             {"failcnt", &e->failcnt},
	             {"limit_in_bytes", &e->limit}};
	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autofree char *name = g_strconcat("memory.", module, files[i].name, NULL);
		if (!cg_read_u64(dir, name, 0, files[i].value))
			return false;
	}
	return true;
}

static void stat_memory(const char *dir, Arena *arena, Metrics *m)
{
	char *text;
	if (!cg_read(dir, "memory.stat", arena, &text))
		return;
	MemoryStat *s = NEW(MemoryStat, io__containerd__cgroups__v1__memory_stat__descriptor);
	MemoryEntry **const entries[] = {&s->usage, &s->swap, &s->kernel, &s->kernel_tcp};
	static const char *const modules[] = {"", "memsw.", "kmem.", "kmem.tcp."};
	for (unsigned i = 0; i < G_N_ELEMENTS(entries); i++)
		*entries[i] = NEW(MemoryEntry, io__containerd__cgroups__v1__memory_entry__descriptor);
	cg_parse_fields(text, memory_fields, G_N_ELEMENTS(memory_fields), s);
	m->memory = s;
	if (!cg_read(dir, "memory.oom_control", arena, &text))
		return;
	m->memory_oom_control =
	        NEW(MemoryOomControl, io__containerd__cgroups__v1__memory_oom_control__descriptor);
	cg_parse_fields(text, oom_fields, G_N_ELEMENTS(oom_fields), m->memory_oom_control);
	for (unsigned i = 0; i < G_N_ELEMENTS(modules); i++)
		if (!stat_memory_entry(dir, modules[i], *entries[i]))
			return;
}

static void stat_cpuacct(const char *dir, Arena *arena, CPUUsage *u)
{
	char *text;
	if (!cg_read(dir, "cpuacct.stat", arena, &text))
		return;
	cg_parse_fields(text, usage_fields, G_N_ELEMENTS(usage_fields), u);
	uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
	u->user = u->user * 1000000000 / hz;
	u->kernel = u->kernel * 1000000000 / hz;
	cg_read_u64(dir, "cpuacct.usage", 0, &u->total);
	if (!cg_read(dir, "cpuacct.usage_percpu", arena, &text))
		return;
	g_auto(GStrv) parts = g_strsplit(g_strstrip(text), " ", -1);
	u->per_cpu = arena_alloc_n(arena, g_strv_length(parts) + 1, sizeof(uint64_t));
	for (char **p = parts; *p != NULL && cg_parse_u64(*p, &u->per_cpu[u->n_per_cpu]); p++)
		u->n_per_cpu++;
}

/* "/dev/sda" of 8:0; the first name counts. */
static const char *device_name(char *const *partitions, uint64_t major, uint64_t minor, Arena *arena)
{
	for (; *partitions != NULL; partitions++) {
		unsigned long long ma, mi, blocks;
		char name[64];
		if (sscanf(*partitions, "%llu %llu %llu %63s", &ma, &mi, &blocks, name) == 4 && ma == major &&
		    mi == minor)
			return arena_printf(arena, "/dev/%s", name);
	}
	return "";
}

static void stat_blkio_file(const char *dir, const char *name, char *const *partitions, Arena *arena,
                            size_t *ret_n, BlkIOEntry ***ret)
{
	char *text;
	if (!cg_read(dir, name, arena, &text))
		return;
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	*ret = arena_alloc_n(arena, g_strv_length(lines) + 1, sizeof **ret);
	for (char **line = lines; *line != NULL; line++) {
		// "8:0 Read 4096", "8:0 12" or "Total 4096"
		g_auto(GStrv) f = g_strsplit_set(*line, " :", -1);
		guint n = g_strv_length(f);
		uint64_t major, minor, value;
		if ((n != 3 && n != 4) || !parse_u64(f[0], &major) || !parse_u64(f[1], &minor) ||
		    !parse_u64(f[n - 1], &value))
			continue;
		BlkIOEntry *e = NEW(BlkIOEntry, io__containerd__cgroups__v1__blk_ioentry__descriptor);
		e->op = n == 4 ? arena_strdup(arena, f[2]) : "";
		e->device = device_name(partitions, major, minor, arena);
		e->major = major;
		e->minor = minor;
		e->value = value;
		(*ret)[(*ret_n)++] = e;
	}
}

static void stat_blkio(const char *dir, Arena *arena, Metrics *m)
{
	BlkIOStat *s = NEW(BlkIOStat, io__containerd__cgroups__v1__blk_iostat__descriptor);
	m->blkio = s;
	char *text;
	cg_read("/proc", "partitions", arena, &text);
	g_auto(GStrv) partitions = g_strsplit(text, "\n", -1);
	const struct {
		const char *name;
		size_t *n;
		BlkIOEntry ***entries;
	} cfq[] = {
	        {"blkio.sectors_recursive", &s->n_sectors_recursive, &s->sectors_recursive},
	        {"blkio.io_service_bytes_recursive", &s->n_io_service_bytes_recursive,
	         &s->io_service_bytes_recursive},
	        {"blkio.io_serviced_recursive", &s->n_io_serviced_recursive, &s->io_serviced_recursive},
	        {"blkio.io_queued_recursive", &s->n_io_queued_recursive, &s->io_queued_recursive},
	        {"blkio.io_service_time_recursive", &s->n_io_service_time_recursive,
	         &s->io_service_time_recursive},
	        {"blkio.io_wait_time_recursive", &s->n_io_wait_time_recursive, &s->io_wait_time_recursive},
	        {"blkio.io_merged_recursive", &s->n_io_merged_recursive, &s->io_merged_recursive},
	        {"blkio.time_recursive", &s->n_io_time_recursive, &s->io_time_recursive},
	};
	size_t total = 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(cfq); i++) {
		stat_blkio_file(dir, cfq[i].name, partitions, arena, cfq[i].n, cfq[i].entries);
		total += *cfq[i].n;
	}
	if (total > 0)
		return;
	// Without the CFQ scheduler only the throttling layer counts.
	s->n_io_serviced_recursive = s->n_io_service_bytes_recursive = 0;
	stat_blkio_file(dir, "blkio.throttle.io_serviced", partitions, arena, &s->n_io_serviced_recursive,
	                &s->io_serviced_recursive);
	stat_blkio_file(dir, "blkio.throttle.io_service_bytes", partitions, arena,
	                &s->n_io_service_bytes_recursive, &s->io_service_bytes_recursive);
}

typedef struct {
	Arena *arena;
	RdmaEntry **entries;
	size_t n, max;
} RdmaList;

static void on_rdma(const char *device, uint32_t handles, uint32_t objects, void *data)
{
	RdmaList *l = data;
	Arena *arena = l->arena;
	if (l->n == l->max)
		return;
	RdmaEntry *e = NEW(RdmaEntry, io__containerd__cgroups__v1__rdma_entry__descriptor);
	e->device = arena_strdup(arena, device);
	e->hca_handles = handles;
	e->hca_objects = objects;
	l->entries[l->n++] = e;
}

static void stat_rdma(const char *dir, Arena *arena, Metrics *m)
{
	char *current, *max;
	if (!cg_read(dir, "rdma.current", arena, &current) || !cg_read(dir, "rdma.max", arena, &max))
		return;
	enum { MAX = 64 };
	RdmaList c = {arena, arena_alloc_n(arena, MAX, sizeof(void *)), 0, MAX};
	RdmaList l = {arena, arena_alloc_n(arena, MAX, sizeof(void *)), 0, MAX};
	cg_parse_rdma(current, on_rdma, &c);
	cg_parse_rdma(max, on_rdma, &l);
	if (c.n != l.n)
		return; // a device went away between the two
	m->rdma = NEW(Io__Containerd__Cgroups__V1__RdmaStat,
	              io__containerd__cgroups__v1__rdma_stat__descriptor);
	m->rdma->current = c.entries;
	m->rdma->n_current = c.n;
	m->rdma->limit = l.entries;
	m->rdma->n_limit = l.n;
}

static void stat_hugetlb(const char *dir, Arena *arena, Metrics *m)
{
	g_autoptr(GPtrArray) sizes = cg_huge_page_sizes();
	m->hugetlb = arena_alloc_n(arena, sizes->len + 1, sizeof(void *));
	for (guint i = 0; i < sizes->len; i++) {
		const char *size = sizes->pdata[i];
		HugetlbStat *s = NEW(HugetlbStat, io__containerd__cgroups__v1__hugetlb_stat__descriptor);
		const struct {
			const char *name;
			uint64_t *value;
		} files[] = {{"usage_in_bytes", &s->usage},
		             {"max_usage_in_bytes", &s->max},
		             {"failcnt", &s->failcnt}};
		for (unsigned k = 0; k < G_N_ELEMENTS(files); k++) {
			g_autofree char *name = g_strconcat("hugetlb.", size, ".", files[k].name, NULL);
			if (!cg_read_u64(dir, name, 0, files[k].value))
				return;
		}
		s->pagesize = arena_strdup(arena, size);
		m->hugetlb[m->n_hugetlb++] = s;
	}
}

void cgroup1_stat(const Cgroup *cgroup, Arena *arena, uint8_t **ret_data, size_t *ret_len)
{
	Metrics *m = NEW(Metrics, io__containerd__cgroups__v1__metrics__descriptor);
	m->cpu = NEW(Io__Containerd__Cgroups__V1__CPUStat, io__containerd__cgroups__v1__cpustat__descriptor);
	m->cpu->usage = NEW(CPUUsage, io__containerd__cgroups__v1__cpuusage__descriptor);
	m->cpu->throttling = NEW(Throttle, io__containerd__cgroups__v1__throttle__descriptor);
	char *const *dir = cgroup->dir;
	char *text;
	uint64_t current, limit;
	if (dir[CG_PIDS] != NULL && cg_read_u64(dir[CG_PIDS], "pids.current", 0, &current) &&
	    cg_read_u64(dir[CG_PIDS], "pids.max", 0, &limit)) {
		m->pids = NEW(Io__Containerd__Cgroups__V1__PidsStat,
		              io__containerd__cgroups__v1__pids_stat__descriptor);
		m->pids->current = current;
		m->pids->limit = limit;
	}
	if (dir[CG_CPUACCT] != NULL)
		stat_cpuacct(dir[CG_CPUACCT], arena, m->cpu->usage);
	if (dir[CG_CPU] != NULL && cg_read(dir[CG_CPU], "cpu.stat", arena, &text))
		cg_parse_fields(text, throttle_fields, G_N_ELEMENTS(throttle_fields), m->cpu->throttling);
	if (dir[CG_MEMORY] != NULL)
		stat_memory(dir[CG_MEMORY], arena, m);
	if (dir[CG_BLKIO] != NULL)
		stat_blkio(dir[CG_BLKIO], arena, m);
	if (dir[CG_RDMA] != NULL)
		stat_rdma(dir[CG_RDMA], arena, m);
	if (dir[CG_HUGETLB] != NULL)
		stat_hugetlb(dir[CG_HUGETLB], arena, m);
	*ret_data = cg_pack(m, arena, ret_len);
}
