// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "daemon/flags.h"
#include <string.h>

typedef struct {
	const char *config, *level;
	bool given, version;
	int index;
} Parsed;

static bool parse(const char *line, Parsed *p, char ***ret_argv, GError **error)
{
	const Flag flags[] = {
	        {"config", "c", "Path", &p->config, &p->given},
	        {"log-level", "l", "Level", &p->level, NULL},
	        {"version", "v", "Version", NULL, &p->version},
	};

	*p = (Parsed){.index = 1};
	*ret_argv = g_strsplit(line, " ", -1);
	return flags_parse(flags, G_N_ELEMENTS(flags), (int)g_strv_length(*ret_argv), *ret_argv, &p->index,
	                   error);
}

static void test_valid(void)
{
	static const struct {
		const char *line, *config, *level;
		bool given, version;
		int index;
	} cases[] = {
	        {"x", NULL, NULL, false, false, 1},
	        {"x --config /a", "/a", NULL, true, false, 3},
	        {"x -config /a", "/a", NULL, true, false, 3},
	        {"x -c=/a -l debug config dump", "/a", "debug", true, false, 4},
	        {"x --config=a=b", "a=b", NULL, true, false, 2},
	        {"x -v", NULL, NULL, false, true, 2},
	        {"x --version=false", NULL, NULL, false, false, 2},
	        {"x -- -v", NULL, NULL, false, false, 2},
	        {"x config -c a", NULL, NULL, false, false, 1},
	        {"x -c -v", "-v", NULL, true, false, 3},
	        {"x -", NULL, NULL, false, false, 1},
	        {"x -c= -v", "", NULL, true, true, 3},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_auto(GStrv) argv = NULL;
		Parsed p;

		parse(cases[i].line, &p, &argv, &error);
		g_assert_no_error(error);
		g_assert_cmpstr(p.config, ==, cases[i].config);
		g_assert_cmpstr(p.level, ==, cases[i].level);
		g_assert_true(p.given == cases[i].given);
		g_assert_true(p.version == cases[i].version);
		g_assert_cmpint(p.index, ==, cases[i].index);
	}
}

static void test_invalid(void)
{
	static const char *const cases[][2] = {
	        {"x --foo", "flag provided but not defined: -foo"},
	        {"x -foo=1", "flag provided but not defined: -foo"},
	        {"x -c", "flag needs an argument: -c"},
	        {"x ---c a", "bad flag syntax: ---c"},
	        {"x -=a", "bad flag syntax: -=a"},
	        {"x -v=maybe", "invalid boolean value \"maybe\" for -v: parse error"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_auto(GStrv) argv = NULL;
		Parsed p;

		g_assert_false(parse(cases[i][0], &p, &argv, &error));
		g_assert_cmpstr(error->message, ==, cases[i][1]);
	}
}

static void test_usage(void)
{
	g_autoptr(GString) text = g_string_new(NULL);
	const char *value;
	bool set;
	const Flag flags[] = {{"config", "c", "Path", &value, NULL},
	                      {"root", NULL, "Root", &value, NULL},
	                      {"version", "v", "Version", NULL, &set}};

	flags_usage(flags, G_N_ELEMENTS(flags), text);
	g_assert_cmpstr(text->str, ==,
	                "   --config value, -c value  Path\n"
	                "   --root value              Root\n"
	                "   --version, -v             Version\n");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/flags/valid", test_valid);
	g_test_add_func("/flags/invalid", test_invalid);
	g_test_add_func("/flags/usage", test_usage);
	return g_test_run();
}
