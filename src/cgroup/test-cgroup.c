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

/* ---- entering a group: a fake tree, whose new groups have no files and thus take nobody ---- */

typedef struct {
	char *dir;
	GPtrArray *hierarchies;
} Tree;

static void tree_setup(Tree *t, const void *data)
{
	t->dir = g_dir_make_tmp("cgroup-XXXXXX", NULL);
	t->hierarchies = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(t->hierarchies, path_join(t->dir, "cpuset"));
	g_ptr_array_add(t->hierarchies, path_join(t->dir, "memory"));
	for (guint i = 0; i < t->hierarchies->len; i++)
		g_assert_true(dir_make_all(t->hierarchies->pdata[i], 0700, NULL));
	put(t->hierarchies->pdata[0], "cpuset.cpus", "0-3\n");
	put(t->hierarchies->pdata[0], "cpuset.mems", "0\n");
}

static void tree_teardown(Tree *t, const void *data)
{
	g_ptr_array_unref(t->hierarchies);
	g_assert_true(tree_remove(t->dir, NULL));
	g_free(t->dir);
}

/* A group that is there before the test. */
static void add_group(const Tree *t, const char *path)
{
	g_autofree char *dir = path_join(t->dir, path);
	g_assert_true(dir_make_all(dir, 0700, NULL));
	put(dir, "cgroup.procs", "");
}

static void assert_text(const Tree *t, const char *path, const char *expected)
{
	g_autofree char *file = path_join(t->dir, path);
	g_autofree char *text = NULL;
	g_assert_true(file_read(file, 4096, &text, NULL, NULL));
	g_assert_cmpstr(text, ==, expected);
}

static void assert_missing(const Tree *t, const char *path)
{
	g_autofree char *file = path_join(t->dir, path);
	g_assert_false(path_exists(file));
}

static void assert_refused(const Tree *t, const char *path, const char *expected)
{
	g_autoptr(GError) error = NULL;
	g_assert_false(cg_enter_hierarchies(t->hierarchies, path, &error));
	g_autoptr(GString) text = g_string_new(error->message);
	g_string_replace(text, t->dir, "TREE", 0);
	g_assert_cmpstr(text->str, ==, expected);
}

/* As upstream: joined where it is, and made nowhere. */
static void test_enter_existing(Tree *t, const void *data)
{
	g_autoptr(GError) error = NULL;
	add_group(t, "memory/a/b");
	g_assert_true(cg_enter_hierarchies(t->hierarchies, "/a/b", &error));
	assert_text(t, "memory/a/b/cgroup.procs", "0");
	assert_missing(t, "cpuset/a");
}

static void test_enter_cannot_make(Tree *t, const void *data)
{
	put(t->hierarchies->pdata[1], "a", "a file"); // a directory is made in the first, none here
	assert_refused(t, "/a/b", "mkdir TREE/memory/a/b: not a directory");
	assert_missing(t, "cpuset/a");
	assert_text(t, "memory/a", "a file");
}

static void test_enter_cannot_join(Tree *t, const void *data)
{
	add_group(t, "memory/a");
	assert_refused(t, "/a/b/c", "open TREE/cpuset/a/b/c/cgroup.procs: no such file or directory");
	assert_missing(t, "cpuset/a");
	assert_missing(t, "memory/a/b");
}

/* An empty cpuset on the way takes nobody. */
static void test_enter_fills_cpuset(Tree *t, const void *data)
{
	g_autofree char *group = path_join(t->hierarchies->pdata[0], "a");
	add_group(t, "cpuset/a");
	put(group, "cpuset.cpus", "\n");
	put(group, "cpuset.mems", "1\n");
	assert_refused(t, "/a/b", "open TREE/cpuset/a/b/cgroup.procs: no such file or directory");
	assert_text(t, "cpuset/a/cpuset.cpus", "0-3");
	assert_text(t, "cpuset/a/cpuset.mems", "1\n");
}

static void test_enter_without_hierarchies(Tree *t, const void *data)
{
	g_ptr_array_set_size(t->hierarchies, 0);
	assert_refused(t, "/a", "cgroups: cgroup mountpoint does not exist");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/cgroup/path-is-ours", test_path_is_ours);
	g_test_add_func("/cgroup/v2", test_v2);
	g_test_add_func("/cgroup/v1", test_v1);
	g_test_add_func("/cgroup/gone", test_gone);
#define ADD(name, fn) g_test_add("/cgroup/enter-" name, Tree, NULL, tree_setup, fn, tree_teardown)
	ADD("existing", test_enter_existing);
	ADD("cannot-make", test_enter_cannot_make);
	ADD("cannot-join", test_enter_cannot_join);
	ADD("fills-cpuset", test_enter_fills_cpuset);
	ADD("without-hierarchies", test_enter_without_hierarchies);
	return g_test_run();
}
