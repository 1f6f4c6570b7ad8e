// SPDX-License-Identifier: Apache-2.0
#include "base/util.h"
#include <fcntl.h>

static void test_parse_u64(void)
{
	static const char *const bad[] = {
	        "",   " 1", "1 ", "+1", "-1", "0x1", "1a", "18446744073709551616", "99999999999999999999999",
	        "\n", "1\n"};
	uint64_t u = 7;
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_false(parse_u64(bad[i], &u));
	g_assert_false(parse_u64(NULL, &u));
	g_assert_cmpuint(u, ==, 7);
	g_assert_true(parse_u64("18446744073709551615", &u));
	g_assert_cmpuint(u, ==, UINT64_MAX);
	g_assert_true(parse_u64("007", &u));
	g_assert_cmpuint(u, ==, 7);
}

static void test_parse_i64(void)
{
	static const char *const bad[] = {
	        "", "-", "+", "--1", "+-1", "9223372036854775808", "-9223372036854775809"};
	int64_t n = 7;
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_false(parse_i64(bad[i], &n));
	g_assert_cmpint(n, ==, 7);
	g_assert_true(parse_i64("-9223372036854775808", &n));
	g_assert_cmpint(n, ==, INT64_MIN);
	g_assert_true(parse_i64("9223372036854775807", &n));
	g_assert_cmpint(n, ==, INT64_MAX);
	g_assert_true(parse_i64("-0", &n));
	g_assert_cmpint(n, ==, 0);
}

static void test_strmap(void)
{
	g_autoptr(GHashTable) a = strmap_new();
	g_autoptr(GHashTable) empty = strmap_copy(NULL);
	g_assert_true(strmap_equal(NULL, empty));
	g_assert_true(strmap_equal(a, NULL));
	strmap_set(a, "b", "2");
	strmap_set(a, "a", "1");
	strmap_set(a, "a", "0");
	g_autoptr(GHashTable) b = strmap_copy(a);
	g_assert_true(strmap_equal(a, b));
	strmap_set(b, "a", "x");
	g_assert_false(strmap_equal(a, b));
	g_assert_false(strmap_equal(a, empty));
	g_hash_table_remove(b, "a");
	strmap_set(b, "c", "0");
	g_assert_false(strmap_equal(a, b));
	g_assert_cmpstr(strmap_get(a, "a"), ==, "0");
	g_assert_null(strmap_get(a, "x"));
	g_assert_null(strmap_get(NULL, "x"));

	g_autoptr(GPtrArray) keys = strmap_sorted_keys(a);
	g_assert_cmpuint(keys->len, ==, 2);
	g_assert_cmpstr(keys->pdata[0], ==, "a");
	g_assert_cmpstr(keys->pdata[1], ==, "b");
	g_autoptr(GPtrArray) none = strmap_sorted_keys(NULL);
	g_assert_cmpuint(none->len, ==, 0);
}

static void test_any(void)
{
	g_auto(Any) any = {.type_url = g_strdup("t"), .value = g_bytes_new("v", 1)};
	g_auto(Any) copy = {0};
	g_assert_false(any_is_set(&copy));
	any_copy(&copy, &any);
	any_clear(&any);
	g_assert_false(any_is_set(&any));
	g_assert_true(any_is_set(&copy));
	g_assert_cmpstr(copy.type_url, ==, "t");
	g_assert_cmpuint(g_bytes_get_size(copy.value), ==, 1);
	any_copy(&any, &(Any){.type_url = (char *)"only"});
	g_assert_null(any.value);
}

static void test_fd(void)
{
	int number;
	{
		autofd fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		number = fd;
		g_assert_cmpint(fcntl(number, F_GETFD), ==, FD_CLOEXEC);
	}
	g_assert_cmpint(fcntl(number, F_GETFD), ==, -1);

	autofd fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int stolen = fd_steal(&fd);
	g_assert_cmpint(fd, ==, -1);
	errno = EDOM;
	fd_close(&stolen);
	g_assert_cmpint(stolen, ==, -1);
	g_assert_cmpint(errno, ==, EDOM);
	fd_close(&stolen);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/util/parse-u64", test_parse_u64);
	g_test_add_func("/util/parse-i64", test_parse_i64);
	g_test_add_func("/util/strmap", test_strmap);
	g_test_add_func("/util/any", test_any);
	g_test_add_func("/util/fd", test_fd);
	return g_test_run();
}
