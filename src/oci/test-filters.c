// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "oci/filters.h"
#include <string.h>

typedef struct {
	const char *name, *other;
	const char *labels[5]; // key, value...
} Thing;

static const Thing things[] = {
        {"foo", NULL, {"foo", "true"}},
        {"bar", NULL, {NULL}},
        {"foo", NULL, {"foo", "present", "more complex label", "present"}},
        {"bar", NULL, {"bar", "true"}},
        {"fooer", NULL, {"more complex label with \\ and \"", "present"}},
        {"fooer", NULL, {"more complex label with \\ and \".post", "present"}},
        {"baz", "too complex, yo", {NULL}},
        {"bazo", "abc", {NULL}},
        {"compound", NULL, {"foo", "omg_asdf.asdf-qwer"}},
};

static const char *thing_field(const char *const *path, size_t n, bool *present, void *data)
{
	const Thing *thing = data;
	const char *value = NULL;
	if (strcmp(path[0], "name") == 0) {
		value = thing->name;
	} else if (strcmp(path[0], "other") == 0) {
		value = thing->other;
	} else if (strcmp(path[0], "labels") == 0) {
		g_autoptr(GHashTable) labels = strmap_new();
		for (const char *const *l = thing->labels; *l != NULL; l += 2)
			g_hash_table_insert(labels, g_strdup(l[0]), g_strdup(l[1]));
		static char copy[100];
		value = filter_map_field(labels, path + 1, n - 1, present);
		g_strlcpy(copy, str_or(value, ""), sizeof(copy));
		return copy;
	}
	*present = value != NULL;
	return value;
}

/* The things that match, as "0 2 8". */
static char *matching(const Filter *f)
{
	GString *out = g_string_new(NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(things); i++)
		if (filter_match(f, thing_field, (void *)&things[i]))
			g_string_append_printf(out, "%s%zu", out->len > 0 ? " " : "", i);
	return g_string_free(out, FALSE);
}

static void test_match(void)
{
	static const char *const cases[][2] = {
	        {"", "0 1 2 3 4 5 6 7 8"},
	        {"name", "0 1 2 3 4 5 6 7 8"},
	        {"labels.foo", "0 2 8"},
	        {"labels.foo,name", "0 2 8"},
	        {"labels.foo==true", "0"},
	        {"labels.foo==omg_asdf.asdf-qwer", "8"},
	        {"name==bar", "1 3"},
	        {"name!=bar", "0 2 4 5 6 7 8"},
	        {"name==bar,labels.bar", "3"},
	        {"other==\"too complex, yo\"", "6"},
	        {"other~=[abc]+,name!=foo", "6 7"},
	        {"other~=/[abc]+/,name!=foo", "6 7"},
	        {"other~=/[abc]{1,2}/,name!=foo", "6 7"},
	        {"other~=/[abc]{0,1}\"\\//,name!=foo", ""},
	        {"name==bar,labels.bar==true", "3"},
	        {"name==bar,labels.bar==wrong", ""},
	        {"name==foo,labels.\"more complex label\"", "2"},
	        {"labels.\"more complex label with \\\\ and \\\"\"==present", "4"},
	        {"labels.\"more complex label with \\\\ and \\\"\".post==present", "5"},
	        {"none", ""},
	        {"none!=x", "0 1 2 3 4 5 6 7 8"},
	        {"none==\"\"", ""},
	        {"name ~= ^b, other", "6 7"},
	        {"name~=|^ba[rz]$|", "1 3 6"},
	        {"name~=(", ""}, // is logged, matches nothing
	        {"name~=(?i)^FOO$", "0 2"},
	        {"name~=\"^\\x66oo$\"", "0 2"},
	        {"name==\"\\u0066oo\"", "0 2"},
	        {"name==\"\\146oo\"", "0 2"},
	        {"name==foo,name==bar", ""},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(Filter) f = filter_parse(cases[i][0], &error);
		g_assert_no_error(error);
		g_autofree char *got = matching(f);
		g_assert_cmpstr(got, ==, cases[i][1]);
	}
}

static void test_errors(void)
{
#define PE "filters: parse error: "
	static const char *const cases[][2] = {
	        {"labels.|foo|==omg_asdf.asdf-qwer",
	         PE "[labels. >|||< foo|==omg_asdf.asdf-qwer]: invalid quote encountered"},
	        {"labels.?\"more complex label with \\\\ and \\\"\".post==present",
	         PE "[labels. >|?|< \"more complex label with \\\\ and \\\"\".post==present]: expected field "
	            "or quoted"},
	        {"name==foo,", PE "[name==foo,]: expected field or quoted"},
	        {"labels.", PE "[labels.]: expected field or quoted"},
	        {"image~=,id?=?fbaq", PE "[image~= >|,|< id?=?fbaq]: expected value or quoted"},
	        {"labels.ns/key==value", PE "[labels.ns >|/|< key==value]: quoted literal not terminated"},
	        {"labels.key==/value", PE "[labels.key== >|/|< value]: quoted literal not terminated"},
	        {"foo=bar", PE "[foo >|=|< bar]: unsupported operator \"=\""},
	        {"foo===bar", PE "[foo >|=|< ==bar]: unsupported operator \"===\""},
	        {"foo bar", PE "[foo  >|b|< ar]: expected an operator (\"==\"|\"!=\"|\"~=\")"},
	        {"foo==bar baz", PE "[foo==bar >| |< baz]: unexpected input:  "},
	        {"foo==|bar|", PE "[foo== >|||< bar|]: invalid quote encountered"},
	        {"foo==", PE "[foo==]: expected value or quoted"},
	        {"foo==\"\\g\"", PE "[foo== >|\"|< \\g\"]: illegal escape sequence"},
	        {"foo==\"\\xaz\"", PE "[foo== >|\"|< \\xaz\"]: illegal numeric escape sequence"},
	        {"foo==\"\\400\"", PE "[foo== >|\"|< \\400\"]: unquoting failed: quote syntax error"},
	        {"foo==\"\\UFFFFFFFF\"",
	         PE "[foo== >|\"|< \\UFFFFFFFF\"]: unquoting failed: quote syntax error"},
	        {"foo==\"a\nb\"", PE "[foo== >|\"|< a\nb\"]: quoted literal not terminated"},
	        {".foo", PE "[ >|.|< foo]: expected field or quoted"},
	        {",", PE "[ >|,|< ]: expected field or quoted"},
	        {" ", PE "[ ]: expected field or quoted"},
	        {"foo\xff", PE "[foo >|\xff|< ]: rune error"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_null(filter_parse(cases[i][0], &error));
		g_assert_cmpstr(error->message, ==, cases[i][1]);
		g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
	}
}

static void test_all(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Filter) none = filter_parse_all(NULL, &error),
	                  empty = filter_parse_all((const char *[]){NULL}, &error);
	g_assert_true(filter_is_always(none));
	g_assert_true(filter_is_always(empty));
	g_autoptr(Filter) either =
	        filter_parse_all((const char *[]){"name==baz", "labels.bar", NULL}, &error);
	g_autofree char *got = matching(either);
	g_assert_cmpstr(got, ==, "3 6");
	g_assert_false(filter_is_always(either));
	g_autoptr(Filter) with_empty = filter_parse_all((const char *[]){"name==baz", "", NULL}, &error);
	g_assert_true(filter_is_always(with_empty));
	g_assert_null(filter_parse_all((const char *[]){"name", "name=x", NULL}, &error));
	g_assert_cmpstr(error->message, ==,
	                "filters: parse error: [name >|=|< x]: unsupported operator \"=\": invalid argument");
	g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
}

static const char *constant_field(const char *const *path, size_t n, bool *present, void *data)
{
	*present = true;
	return data;
}

static bool regex_matches(const char *regex, const char *value)
{
	g_autofree char *text = g_strdup_printf("f~=%s", regex);
	g_autoptr(Filter) f = filter_parse(text, NULL);
	g_assert_nonnull(f);
	return filter_match(f, constant_field, (void *)value);
}

static void test_regex(void)
{
	g_assert_true(regex_matches("^a.c$", "abc"));
	g_assert_false(regex_matches("^a.c$", "abc\n"));
	g_assert_true(regex_matches("\"^\\\\p{Greek}+$\"", "αβγ"));
	g_assert_true(regex_matches("(?P<x>a|b)c", "bc"));
	g_assert_true(regex_matches("(?:a)(?s).", "a\n"));
	g_assert_true(regex_matches("\"[]a]\"", "]"));
	g_assert_true(regex_matches("/\\\\Q(*a\\\\E/", "(*a"));
	// what Go does not have
	unsigned before = log_count_warnings();
	g_assert_false(regex_matches("(?=a)", "a"));
	g_assert_false(regex_matches("(?!b)", "a"));
	g_assert_false(regex_matches("|(?<=a)b|", "ab"));
	g_assert_false(regex_matches("/(a)\\\\1/", "aa"));
	g_assert_false(regex_matches("|(*ACCEPT)a|", "a"));
	g_assert_false(regex_matches("a++", "a"));
	g_assert_false(regex_matches("|(?R)|", "a"));
	g_assert_false(regex_matches("|\\\\K|", "a"));
	g_assert_cmpuint(log_count_warnings(), ==, before + 8);
	g_assert_false(regex_matches("a", "a\xff"));
}

static void test_regex_bounded(void)
{
	// would take for ever with backtracking that has no bound
	g_autofree char *value = g_strnfill(40, 'a');
	value[39] = 'b';
	int64_t start = time_mono();
	g_assert_false(regex_matches("|^(a+)+$|", value));
	g_assert_false(regex_matches("/^(a|a)*$/", value));
	g_assert_false(regex_matches("|^(([a-z])+.)+[A-Z]([a-z])+$|", value));
	g_assert_cmpint(time_mono() - start, <, 5 * NS_PER_SEC);
	g_autofree char *long_regex = g_strnfill(5000, 'a');
	g_assert_false(regex_matches(long_regex, value));
}

static void test_bounds(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *big = g_strnfill(70000, 'a');
	g_assert_null(filter_parse(big, &error));
	g_assert_cmpstr(error->message, ==, "filters: filter of 70000 bytes is over the limit of 65536");
	g_clear_error(&error);
	GString *path = g_string_new("a");
	for (int i = 0; i < 300; i++)
		g_string_append(path, ".a");
	g_assert_null(filter_parse(path->str, &error));
	g_assert_nonnull(strstr(error->message, "more than 256 fields"));
	g_string_free(path, TRUE);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/filters/match", test_match);
	g_test_add_func("/filters/errors", test_errors);
	g_test_add_func("/filters/all", test_all);
	g_test_add_func("/filters/regex", test_regex);
	g_test_add_func("/filters/regex-bounded", test_regex_bounded);
	g_test_add_func("/filters/bounds", test_bounds);
	return g_test_run();
}
