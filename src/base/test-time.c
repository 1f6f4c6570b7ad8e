// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/time.h"

static void check_format(TimeNs t, const char *text)
{
	g_autofree char *s = time_format_rfc3339(t);
	g_assert_cmpstr(s, ==, text);
	TimeNs back;
	g_autoptr(GError) error = NULL;
	g_assert_true(time_parse_rfc3339(text, &back, &error));
	g_assert_cmpint(back, ==, t);
}

static void test_rfc3339(void)
{
	check_format(0, "1970-01-01T00:00:00Z");
	check_format(1, "1970-01-01T00:00:00.000000001Z");
	check_format(INT64_C(1767366245) * NS_PER_SEC + 100000000, "2026-01-02T15:04:05.1Z");
	check_format(INT64_C(1709210096) * NS_PER_SEC, "2024-02-29T12:34:56Z");
	check_format(-1, "1969-12-31T23:59:59.999999999Z");
	check_format(-NS_PER_SEC, "1969-12-31T23:59:59Z");
	check_format(INT64_C(-2208988800) * NS_PER_SEC, "1900-01-01T00:00:00Z");
	check_format(INT64_MAX, "2262-04-11T23:47:16.854775807Z");
}

static void test_rfc3339_offset(void)
{
	TimeNs t;
	g_assert_true(time_parse_rfc3339("2026-01-02T17:04:05.25+02:00", &t, NULL));
	g_assert_cmpint(t, ==, INT64_C(1767366245) * NS_PER_SEC + 250000000);
	g_assert_true(time_parse_rfc3339("2026-01-01T23:34:05-15:30", &t, NULL));
	g_assert_cmpint(t, ==, INT64_C(1767366245) * NS_PER_SEC);
}

static void test_rfc3339_bad(void)
{
	static const char *const bad[] = {
	        "",
	        "2026-01-02",
	        "2026-01-02T15:04:05",
	        "2026-01-02 15:04:05Z",
	        "2026-01-02T15:04:05.Z",
	        "2026-01-02T15:04:05.1234567890Z",
	        "2026-01-02T15:04:05Zx",
	        "2026-01-02T15:04:05+2:00",
	        "2026-13-02T15:04:05Z",
	        "2026-02-29T15:04:05Z",
	        "2026-01-00T15:04:05Z",
	        "2026-01-02T24:04:05Z",
	        "2026-01-02T15:60:05Z",
	        "2026-01-02T15:04:60Z",
	        "-026-01-02T15:04:05Z",
	        "0001-01-01T00:00:00Z", // Go's zero time does not fit
	        "9999-01-01T00:00:00Z",
	};
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		TimeNs t = 5;
		g_autoptr(GError) error = NULL;
		g_assert_false(time_parse_rfc3339(bad[i], &t, &error));
		g_assert_cmpint(t, ==, 5);
		g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
	}
}

static void check_duration(const char *text, int64_t ns, const char *formatted)
{
	int64_t got;
	g_autoptr(GError) error = NULL;
	g_assert_true(duration_parse(text, &got, &error));
	g_assert_cmpint(got, ==, ns);
	g_autofree char *s = duration_format(ns);
	g_assert_cmpstr(s, ==, formatted);
}

#define S NS_PER_SEC

static void test_duration(void)
{
	check_duration("0", 0, "0s");
	check_duration("5s", 5 * S, "5s");
	check_duration("30s", 30 * S, "30s");
	check_duration("1478s", 1478 * S, "24m38s");
	check_duration("-5s", -5 * S, "-5s");
	check_duration("+5s", 5 * S, "5s");
	check_duration("-0", 0, "0s");
	check_duration("5.0s", 5 * S, "5s");
	check_duration("5.6s", 5 * S + 600 * NS_PER_MS, "5.6s");
	check_duration("5.s", 5 * S, "5s");
	check_duration(".5s", 500 * NS_PER_MS, "500ms");
	check_duration("1.004s", S + 4 * NS_PER_MS, "1.004s");
	check_duration("10ns", 10, "10ns");
	check_duration("11us", 11000, "11µs");
	check_duration("12µs", 12000, "12µs");
	check_duration("12μs", 12000, "12µs");
	check_duration("13ms", 13 * NS_PER_MS, "13ms");
	check_duration("1.5ms", 1500000, "1.5ms");
	check_duration("15m", 900 * S, "15m0s");
	check_duration("16h", 16 * 3600 * S, "16h0m0s");
	check_duration("3h30m", 12600 * S, "3h30m0s");
	check_duration("10.5s4m", 250 * S + 500 * NS_PER_MS, "4m10.5s");
	check_duration("-2m3.4s", -(123 * S + 400 * NS_PER_MS), "-2m3.4s");
	check_duration("1h2m3s4ms5us6ns", 3723 * S + 4005006, "1h2m3.004005006s");
	check_duration("52763797000ns", 52763797000, "52.763797s");
	check_duration("0.3333333333333333333h", 1200 * S, "20m0s");
	check_duration("9007199254740993ns", INT64_C(9007199254740993), "2501h59m59.254740993s");
	check_duration("9223372036854775807ns", INT64_MAX, "2562047h47m16.854775807s");
	check_duration("-9223372036854775808ns", INT64_MIN, "-2562047h47m16.854775808s");
	check_duration("0.100000000000000000000h", 360 * S, "6m0s");
	check_duration("0.830103483285477580700h", INT64_C(2988372539827), "49m48.372539827s");
}

static void check_bad_duration(const char *text, const char *message)
{
	int64_t got = 5;
	g_autoptr(GError) error = NULL;
	g_assert_false(duration_parse(text, &got, &error));
	g_assert_cmpint(got, ==, 5);
	g_assert_cmpstr(error->message, ==, message);
}

static void test_duration_bad(void)
{
	check_bad_duration("", "time: invalid duration \"\"");
	check_bad_duration("3", "time: missing unit in duration \"3\"");
	check_bad_duration("-", "time: invalid duration \"-\"");
	check_bad_duration("s", "time: invalid duration \"s\"");
	check_bad_duration(".", "time: invalid duration \".\"");
	check_bad_duration("-.", "time: invalid duration \"-.\"");
	check_bad_duration(".s", "time: invalid duration \".s\"");
	check_bad_duration("+.s", "time: invalid duration \"+.s\"");
	check_bad_duration("1d", "time: unknown unit \"d\" in duration \"1d\"");
	check_bad_duration("3000000h", "time: invalid duration \"3000000h\"");
	check_bad_duration("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\"");
	check_bad_duration("9223372036854ms775us808ns",
	                   "time: invalid duration \"9223372036854ms775us808ns\"");
	check_bad_duration("-9223372036854775809ns", "time: invalid duration \"-9223372036854775809ns\"");
}

static void test_clocks(void)
{
	g_assert_cmpint(time_now(), >, INT64_C(1700000000) * NS_PER_SEC);
	int64_t a = time_mono(), b = time_mono();
	g_assert_cmpint(a, <=, b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/time/rfc3339", test_rfc3339);
	g_test_add_func("/time/rfc3339-offset", test_rfc3339_offset);
	g_test_add_func("/time/rfc3339-bad", test_rfc3339_bad);
	g_test_add_func("/time/duration", test_duration);
	g_test_add_func("/time/duration-bad", test_duration_bad);
	g_test_add_func("/time/clocks", test_clocks);
	return g_test_run();
}
