// SPDX-License-Identifier: Apache-2.0
/* The small parsers: what is read is written as something that reads the same. */
#include "base/digest.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/identifiers.h"
#include "base/time.h"
#include "base/util.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_times(const char *s)
{
	int64_t ns, again;
	if (duration_parse(s, &ns, NULL)) {
		g_autofree char *text = duration_format(ns);
		g_assert_true(duration_parse(text, &again, NULL));
		g_assert_cmpint(again, ==, ns);
	}
	if (time_parse_rfc3339(s, &ns, NULL)) {
		g_autofree char *text = time_format_rfc3339(ns);
		g_assert_true(time_parse_rfc3339(text, &again, NULL));
		g_assert_cmpint(again, ==, ns);
	}
}

static void check_paths(const char *s)
{
	g_autofree char *clean = path_clean(s), *twice = path_clean(clean);
	g_assert_cmpstr(clean, ==, twice);
	g_assert_cmpint(*clean == '/', ==, *s == '/');
	g_assert_null(strstr(clean, "//"));
	// ".." only at the front, and never behind "/"
	g_assert_null(*clean == '/' ? strstr(clean, "/../") : NULL);
}

static void check_numbers(const char *s)
{
	int64_t i;
	uint64_t u;
	if (parse_i64(s, &i) && parse_u64(s, &u))
		g_assert_cmpuint((uint64_t)i, ==, u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *s = g_strndup((const char *)data, size), *quoted = go_quote(s);
	g_assert_true(g_utf8_validate(quoted, -1, NULL));
	g_assert_true(g_utf8_validate(Q(s), -1, NULL));
	g_assert_cmpuint(strlen(Q(s)), <=, strlen(quoted) + 3);
	check_times(s);
	check_paths(s);
	check_numbers(s);
	identifier_validate(s, NULL);
	digest_validate(s, NULL);
	return 0;
}
