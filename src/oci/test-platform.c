// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/util.h"
#include "oci/platform.h"
#include <string.h>

static void parse(const char *s, Platform *ret)
{
	g_autoptr(GError) error = NULL;
	platform_parse(s, ret, &error);
	g_assert_no_error(error);
}

static void test_parse(void)
{
	static const char *const cases[][3] = {
	        // specifier, all of it formatted, os version
	        {"linux/arm64/foo", "linux/arm64/foo", NULL},
	        {"linux/aarch64", "linux/arm64", NULL},
	        {"linux/arm64", "linux/arm64", NULL},
	        {"linux/arm64/v8", "linux/arm64/v8", NULL},
	        {"linux/arm64/v8.1", "linux/arm64/v8.1", NULL},
	        {"linux/arm64/v9", "linux/arm64/v9", NULL},
	        {"linux/arm/v7", "linux/arm/v7", NULL},
	        {"linux/arm", "linux/arm", NULL},
	        {"linux/armhf", "linux/arm", NULL},
	        {"linux/armel", "linux/arm/v6", NULL},
	        {"linux/arm/6", "linux/arm/v6", NULL},
	        {"linux/x86_64", "linux/amd64", NULL},
	        {"linux/x86-64", "linux/amd64", NULL},
	        {"linux/amd64/v1", "linux/amd64", NULL},
	        {"linux/amd64/v3", "linux/amd64/v3", NULL},
	        {"linux/i386", "linux/386", NULL},
	        {"Linux/Amd64", "linux/amd64", NULL},
	        {"macos/arm64", "darwin/arm64", NULL},
	        {"windows", "windows/amd64", NULL},
	        {"windows(10.0.17763)", "windows(10.0.17763)/amd64", "10.0.17763"},
	        {"windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64", "10.0.17763"},
	        {"windows(10.0.17763+win32k)/amd64", "windows(10.0.17763+win32k)/amd64", "10.0.17763"},
	        {"linux(+gpu+b)/amd64", "linux(+b+gpu)/amd64", NULL},
	        {"linux(a%2Bb)/amd64", "linux(a%2Bb)/amd64", "a+b"},
	        {"linux()/amd64", "linux/amd64", NULL},
	        {"s390x", "linux/s390x", NULL},
	        {"arm64", "linux/arm64", NULL},
	        {"aarch64", "linux/arm64", NULL},
	        {"armhf", "linux/arm", NULL},
	        {"unknown/who", "unknown/who", NULL},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_auto(Platform) p = {0};
#ifndef __x86_64__
		if (strchr(cases[i][0], '/') == NULL && strncmp(cases[i][0], "windows", 7) == 0)
			continue;
#endif
		parse(cases[i][0], &p);
		g_autofree char *all = platform_format_all(&p);
		g_assert_cmpstr(all, ==, cases[i][1]);
		g_assert_cmpstr(p.os_version, ==, cases[i][2]);
	}
}

static void test_parse_bad(void)
{
	static const char *const cases[][2] = {
	        {"", "\"\" is an invalid OS component of \"\": OSAndVersion specifier component must match "
	             "\"^([A-Za-z0-9_-]+)(?:\\\\(([A-Za-z0-9_.%-]*)((?:\\\\+[A-Za-z0-9_.%-]+)*)\\\\))?$\": "
	             "invalid "
	             "argument"},
	        {"*", "\"*\": wildcards not yet supported: invalid argument"},
	        {"linux/*", "\"linux/*\": wildcards not yet supported: invalid argument"},
	        {"noone", "\"noone\": unknown operating system or architecture: invalid argument"},
	        {"linux/",
	         "\"\" is an invalid component of \"linux/\": platform specifier component must match "
	         "\"^[A-Za-z0-9_.-]+$\": invalid argument"},
	        {"linux/a b",
	         "\"a b\" is an invalid component of \"linux/a b\": platform specifier component must match "
	         "\"^[A-Za-z0-9_.-]+$\": invalid argument"},
	        {"linux/arm/v7/x", "\"linux/arm/v7/x\": cannot parse platform specifier: invalid argument"},
	        {"linux(%zz)/arm",
	         "\"linux(%zz)/arm\" has an invalid OS version \"%zz\": invalid URL escape \"%zz\""},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_auto(Platform) p = {0};
		g_autoptr(GError) error = NULL;
		g_assert_false(platform_parse(cases[i][0], &p, &error));
		g_assert_cmpstr(error->message, ==, cases[i][1]);
	}
	static const char *const more[] = {"linux(",     "linux)", "linux(a", "linux(a)b/x",
	                                   "linux(+)/x", "a.b/x",  "/",       "linux//x"};
	for (size_t i = 0; i < G_N_ELEMENTS(more); i++) {
		g_auto(Platform) p = {0};
		g_assert_false(platform_parse(more[i], &p, NULL));
	}
	g_autoptr(GError) error = NULL;
	g_assert_null(platforms_parse((const char *[]){"linux/amd64", "x", NULL}, &error));
	g_assert_cmpstr(
	        error->message, ==,
	        "invalid platform x: \"x\": unknown operating system or architecture: invalid argument");
	g_autoptr(GPtrArray) two = platforms_parse((const char *[]){"linux/amd64", "arm64", NULL}, NULL);
	g_assert_cmpuint(two->len, ==, 2);
}

static PlatformMatcher *only(const char *s)
{
	g_auto(Platform) p = {0};
	parse(s, &p);
	return platform_matcher_only(&p);
}

static bool matches(const PlatformMatcher *m, const char *s)
{
	g_auto(Platform) p = {0};
	parse(s, &p);
	return platform_matches(m, &p);
}

static bool less(const PlatformMatcher *m, const char *a, const char *b)
{
	g_auto(Platform) pa = {0}, pb = {0};
	parse(a, &pa);
	parse(b, &pb);
	return platform_less(m, &pa, &pb);
}

static void test_only(void)
{
	static const struct {
		const char *platform;
		const char *match[12], *other[10];
	} cases[] = {
	        {"linux/amd64",
	         {"linux/amd64", "linux/amd64/v1", "linux/386"},
	         {"linux/amd64/v2", "linux/arm64", "windows/amd64"}},
	        {"linux/amd64/v3",
	         {"linux/amd64", "linux/amd64/v1", "linux/amd64/v2", "linux/amd64/v3", "linux/386"},
	         {"linux/amd64/v4"}},
	        {"linux/arm/v7",
	         {"linux/arm", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"},
	         {"linux/arm/v8", "linux/arm/v4", "linux/arm64"}},
	        {"linux/arm/v5", {"linux/arm/v5"}, {"linux/arm/v4", "linux/arm/v6"}},
	        {"linux/arm64",
	         {"linux/arm64", "linux/arm64/v8", "linux/arm/v8", "linux/arm", "linux/arm/v7",
	          "linux/arm/v6", "linux/arm/v5"},
	         {"linux/arm64/v8.1", "linux/arm64/v9", "linux/amd64", "linux/arm/v4", "linux/arm/v9"}},
	        {"linux/arm64/v8.2",
	         {"linux/arm64/v8.2", "linux/arm64/v8.1", "linux/arm64", "linux/arm/v7"},
	         {"linux/arm64/v8.3", "linux/arm64/v9"}},
	        {"linux/arm64/v9.1",
	         {"linux/arm64/v9.1", "linux/arm64/v9", "linux/arm64/v8.6", "linux/arm64", "linux/arm/v8"},
	         {"linux/arm64/v9.2", "linux/arm64/v8.7"}},
	        {"linux/arm64/v9.7", {"linux/arm64/v9.7", "linux/arm64/v8.9"}, {"linux/arm64/v9.8"}},
	        {"linux/arm64/v9.8", {NULL}, {"linux/arm64/v9.8", "linux/arm64"}},
	        {"linux/386", {"linux/386"}, {"linux/amd64"}},
	        {"linux/s390x", {"linux/s390x"}, {"linux/s390"}},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(PlatformMatcher) m = only(cases[i].platform);
		for (const char *const *s = cases[i].match; *s != NULL; s++)
			g_assert_true(matches(m, *s));
		for (const char *const *s = cases[i].other; *s != NULL; s++)
			g_assert_false(matches(m, *s));
	}
}

static void test_order(void)
{
	g_autoptr(PlatformMatcher) m = only("linux/arm64/v9");
	static const char *const best_first[] = {"linux/arm64/v9", "linux/arm64/v8.5", "linux/arm64/v8.1",
	                                         "linux/arm64",    "linux/arm/v8",     "linux/arm/v7",
	                                         "linux/arm/v6",   "linux/arm/v5",     "linux/amd64"};
	for (size_t i = 0; i < G_N_ELEMENTS(best_first); i++)
		for (size_t j = 0; j < G_N_ELEMENTS(best_first); j++)
			g_assert_cmpint(less(m, best_first[i], best_first[j]), ==, i < j);

	g_autoptr(GPtrArray) list =
	        platforms_parse((const char *[]){"linux/arm64", "linux/amd64", NULL}, NULL);
	g_autoptr(PlatformMatcher) ordered = platform_matcher_ordered(list);
	PlatformMatcher *any = platform_matcher_any(list);
	g_autoptr(PlatformMatcher) all = platform_matcher_all();
	g_assert_true(less(ordered, "linux/arm64", "linux/amd64"));
	g_assert_false(less(ordered, "linux/amd64", "linux/arm64"));
	g_assert_false(matches(ordered, "linux/386")); // exactly these
	g_assert_false(less(any, "linux/arm64", "linux/amd64"));
	g_assert_false(less(any, "linux/amd64", "linux/arm64"));
	g_assert_true(less(any, "linux/amd64", "linux/386"));
	g_assert_false(less(any, "linux/386", "linux/amd64"));
	g_assert_true(matches(all, "plan9/mips"));
	g_assert_false(less(all, "plan9/mips", "linux/amd64"));
	platform_matcher_free(any);
}

static void test_features(void)
{
	g_autoptr(PlatformMatcher) m = only("linux(+a+b)/amd64");
	g_assert_true(matches(m, "linux/amd64"));
	g_assert_true(matches(m, "linux(+b)/amd64"));
	g_assert_true(matches(m, "linux(+b+a+a)/amd64"));
	g_assert_false(matches(m, "linux(+c)/amd64"));
	g_assert_true(less(m, "linux(+a+b)/amd64", "linux(+a)/amd64"));
	g_assert_true(less(m, "linux(+a)/amd64", "linux/amd64"));
	g_assert_false(less(m, "linux/amd64", "linux(+a)/amd64"));
	// what matches only without its features
	g_assert_true(less(m, "linux(+c)/amd64", "linux(+c)/arm64"));
}

static void test_windows(void)
{
	g_autoptr(PlatformMatcher) old = only("windows(10.0.17763)/amd64");
	PlatformMatcher *new = only("windows(10.0.26100)/amd64"), *any = only("windows/amd64");
	g_assert_true(matches(old, "windows(10.0.17763.1)/amd64"));
	g_assert_false(matches(old, "windows(10.0.20348)/amd64"));
	g_assert_true(matches(old, "windows/amd64"));
	g_assert_true(matches(new, "windows(10.0.20348)/amd64"));
	g_assert_false(matches(new, "windows(10.0.17763)/amd64"));
	g_assert_false(matches(new, "windows(10.0.26200)/amd64"));
	g_assert_true(matches(any, "windows(10.0.17763+win32k)/amd64"));
	platform_matcher_free(new);
	platform_matcher_free(any);
}

static void test_strict_and_default(void)
{
	g_auto(Platform) v7 = {0}, host = {0};
	parse("linux/arm/v7", &v7);
	g_autoptr(PlatformMatcher) strict = platform_matcher_only_strict(&v7);
	PlatformMatcher *host_matcher = platform_matcher_default();
	g_assert_true(matches(strict, "linux/arm"));
	g_assert_false(matches(strict, "linux/arm/v6"));
	platform_default(&host);
	g_assert_cmpstr(host.os, ==, "linux");
	g_assert_true(platform_matches(host_matcher, &host));
	// an empty platform is this machine's system, of no architecture
	g_assert_false(platform_matches(host_matcher, &(Platform){0}));
	platform_matcher_free(host_matcher);
	g_autofree char *unknown = platform_format(&(Platform){0});
	g_assert_cmpstr(unknown, ==, "unknown");
}

static void test_json(void)
{
	const char *text = "{\"architecture\":\"arm\",\"os\":\"linux\",\"os.version\":\"1\",\"os.features\":["
	                   "\"b\",\"a\"],"
	                   "\"variant\":\"v7\"}";
	g_autoptr(JsonObject) o = json_parse(text, strlen(text), 0, NULL);
	g_auto(Platform) p = {0}, copy = {0};
	g_assert_true(platform_from_json(o, &p, NULL));
	g_autoptr(JsonObject) back = platform_to_json(&p);
	g_autofree char *again = json_to_text(back);
	g_assert_cmpstr(again, ==, text);
	platform_copy(&copy, &p);
	g_assert_true(platform_equal(&p, &copy));
	g_clear_pointer(&copy.variant, g_free);
	g_assert_false(platform_equal(&p, &copy));
	g_assert_false(platform_equal(&p, &(Platform){0}));

	g_autoptr(GError) error = NULL;
	g_autoptr(JsonObject) bad = json_parse("{\"os\":1}", 8, 0, NULL);
	g_auto(Platform) none = {0};
	g_assert_false(platform_from_json(bad, &none, &error));
	g_assert_cmpstr(error->message, ==, "platform: \"os\" is not a string: invalid argument");
}

static void test_os(void)
{
	g_auto(Platform) amd64 = {0}, arm64 = {0}, windows = {0}, erofs = {0};
	g_assert_true(platform_parse("linux/amd64", &amd64, NULL) &&
	              platform_parse("linux/arm64", &arm64, NULL) &&
	              platform_parse("windows/amd64", &windows, NULL) &&
	              platform_parse("linux(+erofs)/amd64", &erofs, NULL));
	g_autoptr(PlatformMatcher) m = platform_matcher_os(&amd64);
	g_assert_true(platform_matches(m, &amd64));
	g_assert_true(platform_matches(m, &arm64));
	g_assert_false(platform_matches(m, &windows));
	g_assert_false(platform_matches(m, &erofs));
	g_assert_true(platform_less(m, &amd64, &arm64));
	g_assert_false(platform_less(m, &arm64, &amd64));
	g_assert_true(platform_less(m, &arm64, &windows));
	g_assert_false(platform_less(m, &windows, &arm64));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/platform/parse", test_parse);
	g_test_add_func("/platform/parse-bad", test_parse_bad);
	g_test_add_func("/platform/only", test_only);
	g_test_add_func("/platform/order", test_order);
	g_test_add_func("/platform/features", test_features);
	g_test_add_func("/platform/windows", test_windows);
	g_test_add_func("/platform/strict-and-default", test_strict_and_default);
	g_test_add_func("/platform/os", test_os);
	g_test_add_func("/platform/json", test_json);
	return g_test_run();
}
