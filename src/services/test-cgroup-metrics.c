// SPDX-License-Identifier: Apache-2.0

/* What is written of metrics that the cgroup readers make of files as the kernel writes them. */

#include "base/fs.h"
#include "cgroup/cgroup-private.h"
#include "services/cgroup-metrics.h"
#include <string.h>

typedef struct {
	const char *type;
	uint8_t *data;
	size_t len;
} Packed;

static void put(const char *dir, const char *name, const char *text)
{
	g_autofree char *path = path_join(dir, name);

	g_assert_true(file_write_atomic(path, text, strlen(text), 0600, false, NULL));
}

static void collect(MetricWriter *writer, void *data)
{
	const Packed *p = data;

	cgroup_metrics_write(writer, "c1", "k8s.io", p->type, p->data, p->len);
}

static char *text_of(Packed *p)
{
	unsigned id = metrics_add(collect, p);
	GString *out = g_string_new(NULL);

	metrics_write(out);
	metrics_remove(id);
	return g_string_free(out, FALSE);
}

static char *text_of_group(const Cgroup *cgroup)
{
	g_autoptr(Arena) arena = arena_new();
	Packed p;

	g_assert_true(cgroup_stat(cgroup, arena, &p.type, &p.data, &p.len, NULL));
	return text_of(&p);
}

static void assert_line(const char *text, const char *line)
{
	g_autofree char *whole = g_strdup_printf("\n%s\n", line);

	if (strstr(text, whole) == NULL)
		g_error("no line %s in:\n%s", line, text);
}

#define LABELS "container_id=\"c1\",namespace=\"k8s.io\""

static void test_v2(void)
{
	g_autofree char *dir = g_dir_make_tmp("cgroup-metrics-XXXXXX", NULL);
	const Cgroup cgroup = {.unified = true, .path = dir};

	put(dir, "pids.current", "3\n");
	put(dir, "pids.max", "max\n");
	put(dir, "cpu.stat",
	    "usage_usec 100\nuser_usec 60\nsystem_usec 40\nnr_periods 7\nthrottled_usec 9\n");
	put(dir, "memory.stat", "anon 4096\nfile 8192\nthp_collapse_alloc 1\npgscan 5\n");
	put(dir, "memory.current", "12288\n");
	put(dir, "memory.max", "65536\n");
	put(dir, "memory.events", "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\n");
	put(dir, "io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n259:1 rbytes=5\n");
	g_autofree char *text = text_of_group(&cgroup);
	assert_line(text, "# TYPE container_cpu_usage_usec_microseconds gauge");
	assert_line(text, "container_cpu_usage_usec_microseconds{" LABELS "} 100");
	assert_line(text, "container_cpu_nr_periods_total{" LABELS "} 7");
	assert_line(text, "container_cpu_throttled_usec_microseconds{" LABELS "} 9");
	assert_line(text, "container_memory_usage_bytes{" LABELS "} 12288");
	assert_line(text, "container_memory_usage_limit_bytes{" LABELS "} 65536");
	assert_line(text, "container_memory_anon_bytes{" LABELS "} 4096");
	assert_line(text, "container_memory_pgscan_bytes{" LABELS "} 5");
	assert_line(text, "container_memory_thp_collapse_alloc_bytes{" LABELS "} 1");
	assert_line(text, "container_memory_oom_total{" LABELS "} 3");
	assert_line(text, "container_pids_current{" LABELS "} 3");
	assert_line(text, "container_pids_limit{" LABELS "} 1.8446744073709552e+19");
	assert_line(text, "container_io_rbytes_bytes{container_id=\"c1\",major=\"8\",minor=\"0\",namespace="
	                  "\"k8s.io\"} 1");
	assert_line(text, "container_io_wios_total{container_id=\"c1\",major=\"8\",minor=\"0\",namespace="
	                  "\"k8s.io\"} 4");
	assert_line(text, "container_io_rbytes_bytes{container_id=\"c1\",major=\"259\",minor=\"1\",namespace="
	                  "\"k8s.io\"} 5");
	tree_remove(dir, NULL);
}

static void test_v1(void)
{
	g_autofree char *dir = g_dir_make_tmp("cgroup-metrics-XXXXXX", NULL);
	const Cgroup cgroup = {.dir = {[CG_CPU] = dir,
	                               [CG_CPUACCT] = dir,
	                               [CG_MEMORY] = dir,
	                               [CG_BLKIO] = dir,
	                               [CG_PIDS] = dir}};

	put(dir, "pids.current", "3\n");
	put(dir, "pids.max", "10\n");
	put(dir, "cpuacct.stat", "user 10\nsystem 20\n");
	put(dir, "cpuacct.usage", "123456\n");
	put(dir, "cpuacct.usage_percpu", "100 23356 \n");
	put(dir, "cpu.stat", "nr_periods 1\nnr_throttled 2\nthrottled_time 3\n");
	put(dir, "memory.stat", "cache 1\nrss 2\npgpgin 3\ntotal_unevictable 5\n");
	put(dir, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 6\n");
	put(dir, "memory.usage_in_bytes", "7\n");
	put(dir, "memory.limit_in_bytes", "10\n");
	put(dir, "memory.max_usage_in_bytes", "8\n");
	put(dir, "memory.failcnt", "9\n");
	put(dir, "blkio.throttle.io_serviced", "8:0 Read 4\n8:0 Write 5\nTotal 9\n");
	g_autofree char *text = text_of_group(&cgroup);
	assert_line(text, "container_cpu_total_nanoseconds{" LABELS "} 123456");
	assert_line(text, "container_cpu_user_nanoseconds{" LABELS "} 100000000");
	assert_line(text, "container_cpu_throttled_time_nanoseconds{" LABELS "} 3");
	assert_line(
	        text,
	        "container_per_cpu_nanoseconds{container_id=\"c1\",cpu=\"1\",namespace=\"k8s.io\"} 23356");
	assert_line(text, "container_memory_pgpgin_bytes{" LABELS "} 3");
	assert_line(text, "container_memory_total_unevictable_bytes{" LABELS "} 5");
	assert_line(text, "container_memory_usage_usage_bytes{" LABELS "} 7");
	assert_line(text, "container_memory_usage_max_bytes{" LABELS "} 8");
	assert_line(text, "container_memory_usage_failcnt_total{" LABELS "} 9");
	assert_line(text, "container_memory_oom_total{" LABELS "} 6");
	assert_line(text, "container_pids_limit{" LABELS "} 10");
	assert_line(text,
	            "container_blkio_io_serviced_recursive_total{container_id=\"c1\",device=\"\",major=\"8\","
	            "minor=\"0\",namespace=\"k8s.io\",op=\"Write\"} 5");
	g_assert_null(strstr(text, "container_rdma"));
	tree_remove(dir, NULL);
}

/* What a shim may answer: another type, garbage, an empty message. */
static void test_hostile(void)
{
	uint8_t garbage[] = {0xff, 0xff, 0xff, 0xff, 0x0f};
	Packed all[] = {
	        {"io.containerd.cgroups.v1.Metrics", garbage, sizeof(garbage)},
	        {"io.containerd.cgroups.v2.Metrics", garbage, sizeof(garbage)},
	        {"io.containerd.cgroups.v2.Metrics", garbage, 0},
	        {"io.containerd.cgroups.v1.Metrics", garbage, 0},
	        {"", garbage, 0},
	        {"some.runtimes.Stats", garbage, sizeof(garbage)},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
		g_autofree char *text = text_of(&all[i]);

		g_assert_cmpstr(text, ==, "");
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/cgroup-metrics/v2", test_v2);
	g_test_add_func("/cgroup-metrics/v1", test_v1);
	g_test_add_func("/cgroup-metrics/hostile", test_hostile);
	return g_test_run();
}
