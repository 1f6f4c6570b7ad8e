// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/time.h"
#include "services/restart.h"

static GHashTable *labels(const char *policy, const char *count, const char *stopped)
{
	GHashTable *l = strmap_new();

	if (policy != NULL)
		strmap_set(l, RESTART_POLICY, policy);
	if (count != NULL)
		strmap_set(l, RESTART_COUNT, count);
	if (stopped != NULL)
		strmap_set(l, RESTART_EXPLICITLY_STOPPED, stopped);
	return l;
}

/* upstream: core/runtime/restart/restart_test.go, TestRestartPolicyReconcile, and what it leaves out. */
static void test_wanted(void)
{
	static const struct {
		const char *policy, *count, *stopped;
		uint32_t exit_status;
		bool wanted;
		const char *error;
	} cases[] = {
	        {NULL, NULL, NULL, 0, true, NULL},
	        {"", NULL, NULL, 1, true, NULL},
	        {"always", NULL, "true", 0, true, NULL},
	        {"no", NULL, NULL, 1, false, NULL},
	        {"on-failure", NULL, NULL, 0, false, NULL},
	        {"on-failure", NULL, NULL, 1, true, NULL},
	        {"on-failure", "1000", NULL, 1, true, NULL},
	        {"on-failure:2", NULL, NULL, 1, true, NULL},
	        {"on-failure:2", "1", NULL, 1, true, NULL},
	        {"on-failure:2", "2", NULL, 1, false, NULL},
	        {"on-failure:2", "1", NULL, 0, false, NULL},
	        {"on-failure:2:3", "2", NULL, 1, false, NULL},
	        {"on-failure:2", "x", NULL, 1, false, "strconv.Atoi: parsing \"x\": invalid syntax"},
	        {"on-failure:x", NULL, NULL, 1, false, "invalid max retry count: x"},
	        {"unless-stopped", NULL, NULL, 0, true, NULL},
	        {"unless-stopped", NULL, "false", 0, true, NULL},
	        {"unless-stopped", NULL, "nonsense", 0, true, NULL},
	        {"unless-stopped", NULL, "true", 0, false, NULL},
	        {"unless-stopped", NULL, "1", 0, false, NULL},
	        {"always:3", NULL, NULL, 0, false, "restart policy \"always\" not support max retry count"},
	        {":3", NULL, NULL, 0, false, "restart policy \"\" not support max retry count"},
	        {"sometimes:3", NULL, NULL, 0, false, "restart policy \"sometimes:3\" not supported"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GHashTable) l = labels(cases[i].policy, cases[i].count, cases[i].stopped);
		g_autoptr(GError) error = NULL;

		g_test_message("case %zu", i);
		g_assert_true(restart_is_wanted(l, cases[i].exit_status, &error) == cases[i].wanted);
		g_assert_cmpstr(error != NULL ? error->message : NULL, ==, cases[i].error);
	}
}

static void test_delay(void)
{
	const int64_t s = NS_PER_SEC;

	g_assert_cmpint(restart_delay(0, 10 * s), ==, 0);
	g_assert_cmpint(restart_delay(2, 10 * s), ==, 0);
	g_assert_cmpint(restart_delay(3, 10 * s), ==, 20 * s);
	g_assert_cmpint(restart_delay(4, 10 * s), ==, 40 * s);
	g_assert_cmpint(restart_delay(7, 10 * s), ==, 300 * s);
	g_assert_cmpint(restart_delay(4000000000u, 10 * s), ==, 300 * s);
	g_assert_cmpint(restart_delay(5, 1000 * s), ==, 1000 * s); // never sooner than the interval
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/restart/wanted", test_wanted);
	g_test_add_func("/restart/delay", test_delay);
	return g_test_run();
}
