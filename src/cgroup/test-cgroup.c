// SPDX-License-Identifier: Apache-2.0

/* Metrics from files as the kernel writes them. */

#include "base/fs.h"
#include "cgroup/cgroup-private.h"
#include "cgroups/v1/metrics.pb-c.h"
#include "cgroups/v2/metrics.pb-c.h"
#include "message.h"
#include "rpc/call.h"
#include <string.h>

static void put(const char *dir, const char *name, const char *text)
{
	g_autofree char *path = path_join(dir, name);
	g_assert_true(file_write_atomic(path, text, strlen(text), 0600, false, NULL));
}

static void *stat_group(const Cgroup *cgroup, const ProtobufCMessageDescriptor *type)
{
	g_autoptr(Arena) arena = arena_new();
	g_autoptr(GError) error = NULL;
	const char *name;
	uint8_t *data;
	size_t len;
	g_assert_true(cgroup_stat(cgroup, arena, &name, &data, &len, &error));
	g_assert_cmpstr(name, ==, type->name);
	void *m = api_unpack(type, NULL, data, len, &error);
	g_assert_no_error(error);
	return m;
}

static void test_v2(void)
{
	g_autofree char *dir = g_dir_make_tmp("shim-cgroup-XXXXXX", NULL);
	put(dir, "pids.current", "3\n");
	put(dir, "pids.max", "max\n");
	put(dir, "cpu.stat", "usage_usec 100\nuser_usec 60\nsystem_usec 40\nnr_bursts 2\nunknown 9\n");
	put(dir, "cpu.pressure",
	    "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 "
	    "total=1\n");
	put(dir, "memory.stat", "anon 4096\nfile 8192\nthp_collapse_alloc 1\n");
	put(dir, "memory.current", "12288\n");
	put(dir, "memory.max", "max\n");
	put(dir, "memory.events", "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 5\n");
	put(dir, "io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n259:1 rbytes=5\n");
	put(dir, "rdma.current", "mlx4_0 hca_handle=2 hca_object=2000\n");
	put(dir, "rdma.max", "mlx4_0 hca_handle=max hca_object=3000\n");
	const Cgroup cgroup = {.unified = true, .path = dir};
	autopb Io__Containerd__Cgroups__V2__Metrics *m =
	        stat_group(&cgroup, &io__containerd__cgroups__v2__metrics__descriptor);
	g_assert_cmpuint(m->pids->current, ==, 3);
	g_assert_cmpuint(m->pids->limit, ==, UINT64_MAX);
	g_assert_cmpuint(m->cpu->usage_usec, ==, 100);
	g_assert_cmpuint(m->cpu->nr_bursts, ==, 2);
	g_assert_cmpfloat(m->cpu->psi->some->avg10, ==, 1.5);
	g_assert_cmpuint(m->cpu->psi->some->total, ==, 77);
	g_assert_cmpuint(m->cpu->psi->full->total, ==, 1);
	g_assert_cmpuint(m->memory->anon, ==, 4096);
	g_assert_cmpuint(m->memory->thp_collapse_alloc, ==, 1);
	g_assert_cmpuint(m->memory->usage, ==, 12288);
	g_assert_cmpuint(m->memory->usage_limit, ==, UINT64_MAX);
	g_assert_null(m->memory->psi);
	g_assert_cmpuint(m->memory_events->oom_kill, ==, 4);
	g_assert_cmpuint(m->io->n_usage, ==, 2);
	g_assert_cmpuint(m->io->usage[0]->wios, ==, 4);
	g_assert_cmpuint(m->io->usage[1]->major, ==, 259);
	g_assert_cmpuint(m->rdma->current[0]->hca_objects, ==, 2000);
	g_assert_cmpuint(m->rdma->limit[0]->hca_handles, ==, UINT32_MAX);
	tree_remove(dir, NULL);
}

static void test_v1(void)
{
	g_autofree char *dir = g_dir_make_tmp("shim-cgroup-XXXXXX", NULL);
	put(dir, "pids.current", "3\n");
	put(dir, "pids.max", "max\n");
	put(dir, "cpuacct.stat", "user 10\nsystem 20\n");
	put(dir, "cpuacct.usage", "123456\n");
	put(dir, "cpuacct.usage_percpu", "100 23356 \n");
	put(dir, "cpu.stat", "nr_periods 1\nnr_throttled 2\nthrottled_time 3\n");
	put(dir, "memory.stat",
	    "cache 1\nrss 2\npgpgin 3\nhierarchical_memsw_limit 4\ntotal_unevictable 5\n");
	put(dir, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 6\n");
	put(dir, "memory.usage_in_bytes", "7\n");
	put(dir, "memory.max_usage_in_bytes", "8\n");
	put(dir, "memory.failcnt", "9\n");
	put(dir, "memory.limit_in_bytes", "10\n");
	put(dir, "blkio.throttle.io_serviced", "8:0 Read 4\n8:0 Write 5\nTotal 9\n");
	put(dir, "blkio.throttle.io_service_bytes", "8:0 Read 4096\nTotal 4096\n");
	const Cgroup cgroup = {.dir = {[CG_CPU] = dir,
	                               [CG_CPUACCT] = dir,
	                               [CG_MEMORY] = dir,
	                               [CG_BLKIO] = dir,
	                               [CG_PIDS] = dir}};
	autopb Io__Containerd__Cgroups__V1__Metrics *m =
	        stat_group(&cgroup, &io__containerd__cgroups__v1__metrics__descriptor);
	g_assert_cmpuint(m->pids->limit, ==, 0); // what v1 says for max
	g_assert_cmpuint(m->cpu->usage->user, ==, 100000000);
	g_assert_cmpuint(m->cpu->usage->kernel, ==, 200000000);
	g_assert_cmpuint(m->cpu->usage->total, ==, 123456);
	g_assert_cmpuint(m->cpu->usage->n_per_cpu, ==, 2);
	g_assert_cmpuint(m->cpu->usage->per_cpu[1], ==, 23356);
	g_assert_cmpuint(m->cpu->throttling->throttled_time, ==, 3);
	g_assert_cmpuint(m->memory->pg_pg_in, ==, 3);
	g_assert_cmpuint(m->memory->hierarchical_swap_limit, ==, 4);
	g_assert_cmpuint(m->memory->usage->limit, ==, 10);
	g_assert_cmpuint(m->memory->swap->limit, ==, 0); // no swap accounting here
	g_assert_cmpuint(m->memory_oom_control->oom_kill, ==, 6);
	g_assert_cmpuint(m->blkio->n_io_serviced_recursive, ==, 2);
	g_assert_cmpstr(m->blkio->io_serviced_recursive[1]->op, ==, "Write");
	g_assert_cmpuint(m->blkio->io_service_bytes_recursive[0]->value, ==, 4096);
	g_assert_null(m->rdma);
	tree_remove(dir, NULL);
}

/* A group that is gone: everything empty, no error. */
static void test_gone(void)
{
	const Cgroup v2 = {.unified = true, .path = (char *)"/nonexistent"};
	autopb Io__Containerd__Cgroups__V2__Metrics *m =
	        stat_group(&v2, &io__containerd__cgroups__v2__metrics__descriptor);
	g_assert_cmpuint(m->pids->current, ==, 0);
	g_assert_null(m->memory_events);
	const Cgroup v1 = {.dir = {[CG_MEMORY] = (char *)"/nonexistent"}};
	autopb Io__Containerd__Cgroups__V1__Metrics *n =
	        stat_group(&v1, &io__containerd__cgroups__v1__metrics__descriptor);
	g_assert_null(n->memory);
	g_assert_nonnull(n->cpu->usage);
}

static void test_path_is_ours(void)
{
	g_assert_true(cgroup_path_is_ours("/default/c1", "c1"));
	g_assert_true(cgroup_path_is_ours("/kubepods/pod1/cri-containerd-abc", "abc"));
	g_assert_true(cgroup_path_is_ours("/default/x/../c1/", "c1"));
	g_assert_false(cgroup_path_is_ours("/default/other", "c1"));
	g_assert_false(cgroup_path_is_ours("/c1/other", "c1"));
	g_assert_false(cgroup_path_is_ours("/", "c1"));
	g_assert_false(cgroup_path_is_ours("/c1/..", "c1"));
	g_assert_false(cgroup_path_is_ours("system.slice:docker:c1", "c1"));
	g_assert_false(cgroup_path_is_ours("/default/c1", ""));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/cgroup/path-is-ours", test_path_is_ours);
	g_test_add_func("/cgroup/v2", test_v2);
	g_test_add_func("/cgroup/v1", test_v1);
	g_test_add_func("/cgroup/gone", test_gone);
	return g_test_run();
}
