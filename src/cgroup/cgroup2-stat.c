// SPDX-License-Identifier: Apache-2.0

/* Metrics of cgroup v2. */

#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "cgroup/cgroup-private.h"
#include "cgroups/v2/metrics.pb-c.h"
#include "message.h"
#include <stdlib.h>
#include <string.h>

typedef Io__Containerd__Cgroups__V2__Metrics Metrics;
typedef Io__Containerd__Cgroups__V2__CPUStat CPUStat;
typedef Io__Containerd__Cgroups__V2__MemoryStat MemoryStat;
typedef Io__Containerd__Cgroups__V2__MemoryEvents MemoryEvents;
typedef Io__Containerd__Cgroups__V2__PSIStats PSIStats;
typedef Io__Containerd__Cgroups__V2__PSIData PSIData;
typedef Io__Containerd__Cgroups__V2__IOEntry IOEntry;
typedef Io__Containerd__Cgroups__V2__RdmaEntry RdmaEntry;
typedef Io__Containerd__Cgroups__V2__HugeTlbStat HugeTlbStat;

#define NEW(type, descriptor)                                                                                \
	({                                                                                                   \
		type *p_ = arena_alloc(arena, sizeof *p_);                                                   \
		api_init(&(descriptor), p_);                                                                 \
		p_;                                                                                          \
	})

#define CPU(field)                                                                                           \
	{                                                                                                    \
#field, offsetof(CPUStat, field)                                                             \
	}
static const CgField cpu_fields[] = {CPU(usage_usec), CPU(user_usec),    CPU(system_usec),
                                     CPU(nr_periods), CPU(nr_throttled), CPU(throttled_usec),
                                     CPU(nr_bursts),  CPU(burst_usec)};
#define MEM(field)                                                                                           \
	{                                                                                                    \
#field, offsetof(MemoryStat, field)                                                          \
	}
static const CgField memory_fields[] = {
        MEM(anon),
        MEM(file),
        MEM(kernel_stack),
        MEM(slab),
        MEM(sock),
        MEM(shmem),
        MEM(file_mapped),
        MEM(file_dirty),
        MEM(file_writeback),
        MEM(anon_thp),
        MEM(inactive_anon),
        MEM(active_anon),
        MEM(inactive_file),
        MEM(active_file),
        MEM(unevictable),
        MEM(slab_reclaimable),
        MEM(slab_unreclaimable),
        MEM(pgfault),
        MEM(pgmajfault),
        MEM(workingset_refault),
        MEM(workingset_activate),
        MEM(workingset_nodereclaim),
        MEM(pgrefill),
        MEM(pgscan),
        MEM(pgsteal),
        MEM(pgactivate),
        MEM(pgdeactivate),
        MEM(pglazyfree),
        MEM(pglazyfreed),
        MEM(thp_fault_alloc),
        MEM(thp_collapse_alloc),
};
#define EVENT(field)                                                                                         \
	{                                                                                                    \
#field, offsetof(MemoryEvents, field)                                                        \
	}
static const CgField event_fields[] = {EVENT(low), EVENT(high),     EVENT(max),
                                       EVENT(oom), EVENT(oom_kill), EVENT(oom_group_kill)};

/* "avg10=0.00 avg60=0.00 avg300=0.00 total=0" */
static PSIData *parse_psi(const char *text, Arena *arena)
{
	PSIData *d = NEW(PSIData, io__containerd__cgroups__v2__psidata__descriptor);
	g_auto(GStrv) parts = g_strsplit(text, " ", -1);
	for (char **p = parts; *p != NULL; p++) {
		char *value = strchr(*p, '=');
		if (value == NULL)
			continue;
		*value++ = '\0';
		if (strcmp(*p, "avg10") == 0)
			d->avg10 = g_ascii_strtod(value, NULL);
		else if (strcmp(*p, "avg60") == 0)
			d->avg60 = g_ascii_strtod(value, NULL);
		else if (strcmp(*p, "avg300") == 0)
			d->avg300 = g_ascii_strtod(value, NULL);
		else if (strcmp(*p, "total") == 0)
			cg_parse_u64(value, &d->total);
	}
	return d;
}

/* NULL where the kernel does not count it. */
static PSIStats *read_psi(const char *dir, const char *name, Arena *arena)
{
	char *text;
	if (!cg_read(dir, name, arena, &text))
		return NULL;
	PSIStats *s = NEW(PSIStats, io__containerd__cgroups__v2__psistats__descriptor);
	for (char *line; (line = strsep(&text, "\n")) != NULL;) {
		if (g_str_has_prefix(line, "some "))
			s->some = parse_psi(line + 5, arena);
		else if (g_str_has_prefix(line, "full "))
			s->full = parse_psi(line + 5, arena);
	}
	return s;
}

static CPUStat *stat_cpu(const char *dir, Arena *arena)
{
	CPUStat *s = NEW(CPUStat, io__containerd__cgroups__v2__cpustat__descriptor);
	char *text;
	if (!cg_read(dir, "cpu.stat", arena, &text))
		return s;
	cg_parse_fields(text, cpu_fields, G_N_ELEMENTS(cpu_fields), s);
	s->psi = read_psi(dir, "cpu.pressure", arena);
	return s;
}

static MemoryStat *stat_memory(const char *dir, Arena *arena)
{
	MemoryStat *s = NEW(MemoryStat, io__containerd__cgroups__v2__memory_stat__descriptor);
	char *text;
	if (!cg_read(dir, "memory.stat", arena, &text))
		return s;
	cg_parse_fields(text, memory_fields, G_N_ELEMENTS(memory_fields), s);
	cg_read_u64(dir, "memory.current", UINT64_MAX, &s->usage);
	cg_read_u64(dir, "memory.max", UINT64_MAX, &s->usage_limit);
	cg_read_u64(dir, "memory.peak", UINT64_MAX, &s->max_usage);
	cg_read_u64(dir, "memory.swap.current", UINT64_MAX, &s->swap_usage);
	cg_read_u64(dir, "memory.swap.max", UINT64_MAX, &s->swap_limit);
	cg_read_u64(dir, "memory.swap.peak", UINT64_MAX, &s->swap_max_usage);
	s->psi = read_psi(dir, "memory.pressure", arena);
	return s;
}

static void stat_io(const char *dir, Arena *arena, Metrics *m)
{
	m->io = NEW(Io__Containerd__Cgroups__V2__IOStat, io__containerd__cgroups__v2__iostat__descriptor);
	m->io->psi = read_psi(dir, "io.pressure", arena);
	char *text;
	if (!cg_read(dir, "io.stat", arena, &text))
		return;
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	m->io->usage = arena_alloc_n(arena, g_strv_length(lines) + 1, sizeof(void *));
	for (char **line = lines; *line != NULL; line++) {
		// "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6"
		g_auto(GStrv) f = g_strsplit(*line, " ", -1);
		unsigned major, minor;
		if (g_strv_length(f) < 2 || sscanf(f[0], "%u:%u", &major, &minor) != 2)
			continue;
		IOEntry *e = NEW(IOEntry, io__containerd__cgroups__v2__ioentry__descriptor);
		e->major = major;
		e->minor = minor;
		const struct {
			const char *key;
			uint64_t *value;
		} keys[] = {{"rbytes=", &e->rbytes},
		            {"wbytes=", &e->wbytes},
		            {"rios=", &e->rios},
		            {"wios=", &e->wios}};
		for (char **p = f + 1; *p != NULL; p++)
			for (unsigned k = 0; k < G_N_ELEMENTS(keys); k++)
				if (g_str_has_prefix(*p, keys[k].key))
					parse_u64(*p + strlen(keys[k].key), keys[k].value);
		m->io->usage[m->io->n_usage++] = e;
	}
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
	RdmaEntry *e = NEW(RdmaEntry, io__containerd__cgroups__v2__rdma_entry__descriptor);
	e->device = arena_strdup(arena, device);
	e->hca_handles = handles;
	e->hca_objects = objects;
	l->entries[l->n++] = e;
}

static RdmaEntry **read_rdma(const char *dir, const char *name, Arena *arena, size_t *ret_n)
{
	enum { MAX = 64 };
	RdmaList l = {arena, arena_alloc_n(arena, MAX, sizeof(void *)), 0, MAX};
	char *text;
	cg_read(dir, name, arena, &text);
	cg_parse_rdma(text, on_rdma, &l);
	*ret_n = l.n;
	return l.entries;
}

static void stat_hugetlb(const char *dir, Arena *arena, Metrics *m)
{
	g_autoptr(GPtrArray) sizes = cg_huge_page_sizes();
	m->hugetlb = arena_alloc_n(arena, sizes->len + 1, sizeof(void *));
	for (guint i = 0; i < sizes->len; i++) {
		const char *size = sizes->pdata[i];
		HugeTlbStat *s = NEW(HugeTlbStat, io__containerd__cgroups__v2__huge_tlb_stat__descriptor);
		g_autofree char *max = g_strconcat("hugetlb.", size, ".max", NULL);
		g_autofree char *current = g_strconcat("hugetlb.", size, ".current", NULL);
		g_autofree char *events = g_strconcat("hugetlb.", size, ".events", NULL);
		cg_read_u64(dir, max, UINT64_MAX, &s->max);
		cg_read_u64(dir, current, UINT64_MAX, &s->current);
		char *text;
		const CgField field = {"max", offsetof(HugeTlbStat, failcnt)};
		if (cg_read(dir, events, arena, &text))
			cg_parse_fields(text, &field, 1, s);
		s->pagesize = arena_strdup(arena, size);
		m->hugetlb[m->n_hugetlb++] = s;
	}
}

bool cgroup2_stat(const Cgroup *cgroup, Arena *arena, uint8_t **ret_data, size_t *ret_len, GError **error)
{
	const char *dir = cgroup->path;
	Metrics *m = NEW(Metrics, io__containerd__cgroups__v2__metrics__descriptor);
	m->pids = NEW(Io__Containerd__Cgroups__V2__PidsStat,
	              io__containerd__cgroups__v2__pids_stat__descriptor);
	cg_read_u64(dir, "pids.current", UINT64_MAX, &m->pids->current);
	cg_read_u64(dir, "pids.max", UINT64_MAX, &m->pids->limit);
	m->cpu = stat_cpu(dir, arena);
	m->memory = stat_memory(dir, arena);
	char *text;
	if (cg_read(dir, "memory.events", arena, &text) && *text != '\0') {
		m->memory_events = NEW(MemoryEvents, io__containerd__cgroups__v2__memory_events__descriptor);
		cg_parse_fields(text, event_fields, G_N_ELEMENTS(event_fields), m->memory_events);
	}
	stat_io(dir, arena, m);
	m->rdma = NEW(Io__Containerd__Cgroups__V2__RdmaStat,
	              io__containerd__cgroups__v2__rdma_stat__descriptor);
	m->rdma->current = read_rdma(dir, "rdma.current", arena, &m->rdma->n_current);
	m->rdma->limit = read_rdma(dir, "rdma.max", arena, &m->rdma->n_limit);
	stat_hugetlb(dir, arena, m);
	*ret_data = cg_pack(m, arena, ret_len);
	return true;
}
