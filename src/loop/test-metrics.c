// SPDX-License-Identifier: Apache-2.0
#include "loop/metrics.h"
#include <math.h>
#include <pthread.h>

static MetricTimer timer;
static MetricCounter counter;

static void collect_a(MetricWriter *w, void *data)
{
	metric_family(w, "z_total", "The last\nof \\all", METRIC_COUNTER);
	metric_sample(w, (double)metric_counter_get(&counter), NULL);
	metric_family(w, "a_bytes", "The \"first\"", METRIC_GAUGE);
	metric_sample(w, 0.1, "b", "2", "a", "x\"y\\z\n", NULL);
	metric_family(w, "empty", "Nobody sees it", METRIC_GAUGE);
}

static void collect_b(MetricWriter *w, void *data)
{
	metric_family(w, "a_bytes", "The \"first\"", METRIC_GAUGE);
	metric_sample(w, 18446744073709551615.0, "a", data, NULL);
	metric_sample(w, INFINITY, NULL);
}

static void test_text(void)
{
	static char label[] = "b";
	unsigned a = metrics_add(collect_a, NULL), b = metrics_add(collect_b, label);
	g_autoptr(GString) out = g_string_new(NULL);

	metric_counter_add(&counter, 41);
	metric_counter_add(&counter, 1);
	metrics_write(out);
	g_assert_cmpstr(out->str, ==,
	                "# HELP a_bytes The \"first\"\n# TYPE a_bytes gauge\n"
	                "a_bytes{a=\"x\\\"y\\\\z\\n\",b=\"2\"} 0.1\n"
	                "a_bytes{a=\"b\"} 1.8446744073709552e+19\n"
	                "a_bytes +Inf\n"
	                "# HELP z_total The last\\nof \\\\all\n# TYPE z_total counter\nz_total 42\n");
	metrics_remove(a);
	g_string_truncate(out, 0);
	metrics_write(out);
	g_assert_null(g_strstr_len(out->str, -1, "z_total"));
	metrics_remove(b);
	metrics_remove(b);
	g_string_truncate(out, 0);
	metrics_write(out);
	g_assert_cmpstr(out->str, ==, "");
}

static void collect_timer(MetricWriter *w, void *data)
{
	const char *const labels[] = {"status", "ok", NULL};

	metric_family(w, "t_seconds", "Times", METRIC_HISTOGRAM);
	metric_timer_write(w, &timer, labels);
}

static void test_timer(void)
{
	unsigned id = metrics_add(collect_timer, NULL);
	g_autoptr(GString) out = g_string_new(NULL);

	metric_timer_observe(&timer, 5000000); // a bound belongs to its bucket
	metric_timer_observe(&timer, 5000001);
	metric_timer_observe(&timer, INT64_C(20000000000));
	g_assert_cmpuint(metric_timer_count(&timer), ==, 3);
	metrics_write(out);
	g_assert_nonnull(g_strstr_len(out->str, -1, "t_seconds_bucket{le=\"0.005\",status=\"ok\"} 1\n"));
	g_assert_nonnull(g_strstr_len(out->str, -1, "t_seconds_bucket{le=\"0.01\",status=\"ok\"} 2\n"));
	g_assert_nonnull(g_strstr_len(out->str, -1, "t_seconds_bucket{le=\"10\",status=\"ok\"} 2\n"));
	g_assert_nonnull(g_strstr_len(out->str, -1, "t_seconds_bucket{le=\"+Inf\",status=\"ok\"} 3\n"));
	g_assert_nonnull(g_strstr_len(out->str, -1, "t_seconds_sum{status=\"ok\"} 20.010000001\n"));
	g_assert_nonnull(g_strstr_len(out->str, -1, "t_seconds_count{status=\"ok\"} 3\n"));
	metrics_remove(id);
}

/* Collectors that come and go while others ask. */
static int stop;

static void *ask(void *data)
{
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		g_autoptr(GString) out = g_string_new(NULL);

		metrics_write(out);
	}
	return NULL;
}

static void read_number(MetricWriter *w, void *data)
{
	metric_family(w, "n", "A number", METRIC_GAUGE);
	metric_sample(w, *(int *)data, NULL);
}

static void test_threads(void)
{
	pthread_t threads[3];

	for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
		g_assert_cmpint(pthread_create(&threads[i], NULL, ask, NULL), ==, 0);
	for (int i = 0; i < 500; i++) {
		int *number = g_new(int, 1);
		*number = i;
		unsigned id = metrics_add(read_number, number);
		metrics_remove(id);
		g_free(number); // nobody reads it any more
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
		pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/metrics/text", test_text);
	g_test_add_func("/metrics/timer", test_timer);
	g_test_add_func("/metrics/threads", test_threads);
	return g_test_run();
}
