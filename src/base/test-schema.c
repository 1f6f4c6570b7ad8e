// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/schema.h"
#include "base/time.h"
#include "base/util.h"
#include <string.h>

#define END                                                                                                  \
	{                                                                                                    \
		.name = NULL                                                                                 \
	}

static const ConfigKey inner[] = {
        {"endpoint", CONFIG_STRINGS},
        {"weight", CONFIG_FLOAT},
        END,
};

static char *made(void)
{
	return g_strdup("7");
}

static const ConfigKey keys[] = {
        {"name", CONFIG_STRING, "'anon'"},
        {"enabled", CONFIG_BOOL, "true"},
        {"count", CONFIG_INT, .make_value = made},
        {"ratio", CONFIG_FLOAT, "0.5"},
        {"wait", CONFIG_DURATION, "'90s'"},
        {"dirs", CONFIG_STRINGS, "['/a', '/b']"},
        {"labels", CONFIG_STRING_MAP, "{x = '1'}"},
        {"headers", CONFIG_STRINGS_MAP},
        {"sub", CONFIG_TABLE, .keys = inner},
        {"maybe", CONFIG_TABLE, .keys = inner, .optional = true},
        {"mirrors", CONFIG_TABLE_MAP, "{a = {weight = 2}}", .keys = inner},
        {"list", CONFIG_TABLES, .keys = inner, .omit_empty = true},
        {"options", CONFIG_ANY_MAP, "{n = {a = 1, b = 2}}"},
        {"legacy", CONFIG_TABLE, .keys = inner, .omit_empty = true},
        END,
};

static TomlValue *parse(const char *doc)
{
	g_autoptr(GError) error = NULL;
	TomlValue *v = toml_parse(doc, strlen(doc), "f.toml", &error);

	g_assert_no_error(error);
	return v;
}

static void collect(const TomlValue *where, const char *key, const char *nearest, void *data)
{
	g_autofree char *place = toml_where(where);

	g_string_append_printf(data, "%s %s -> %s\n", place, key, str_or(nearest, "-"));
}

static TomlValue *decode(const char *doc, GString *warnings)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(TomlValue) table = parse(doc);
	TomlValue *view = schema_decode(keys, table, "", warnings != NULL ? collect : NULL, warnings, &error);

	g_assert_no_error(error);
	return view;
}

static void test_defaults(void)
{
	g_autoptr(TomlValue) view = decode("", NULL);
	g_auto(GStrv) dirs = conf_strings(view, "dirs");
	g_autoptr(GHashTable) labels = conf_string_map(view, "labels");
	g_autoptr(GHashTable) none = conf_string_map(view, "headers");

	g_assert_cmpstr(conf_string(view, "name"), ==, "anon");
	g_assert_true(conf_bool(view, "enabled"));
	g_assert_cmpint(conf_int(view, "count"), ==, 7);
	g_assert_cmpfloat(conf_float(view, "ratio"), ==, 0.5);
	g_assert_cmpint(conf_duration(view, "wait"), ==, 90 * NS_PER_SEC);
	g_assert_cmpstr(conf_string(view, "wait"), ==, "1m30s");
	g_assert_cmpstr(dirs[1], ==, "/b");
	g_assert_cmpstr(strmap_get(labels, "x"), ==, "1");
	g_assert_cmpuint(g_hash_table_size(none), ==, 0);
	g_assert_cmpfloat(conf_float(view, "sub.weight"), ==, 0);
	g_assert_null(conf_table(view, "maybe"));
	g_assert_null(conf_table(view, "maybe.weight"));
	g_assert_cmpfloat(conf_float(view, "mirrors.a.weight"), ==, 2);
	g_assert_null(toml_file(conf_table(view, "mirrors.a")));
}

static void test_decode(void)
{
	g_autoptr(TomlValue) view = decode("NAME = 'x'\nratio = 2\nwait = 0\ndirs = ['/c']\nlabels.y = '2'\n"
	                                   "headers.h = ['1', '2']\nsub.endpoint = ['e']\nmaybe = {}\n"
	                                   "list = [{weight = 1}, {}]\noptions.n.b = 3\noptions.c = 'free'\n"
	                                   "[mirrors.a]\nendpoint = ['m']\n[mirrors.b]\n",
	                                   NULL);
	g_auto(GStrv) dirs = conf_strings(view, "dirs");

	g_assert_cmpstr(conf_string(view, "name"), ==, "x");
	g_assert_cmpfloat(conf_float(view, "ratio"), ==, 2);
	g_assert_cmpint(conf_duration(view, "wait"), ==, 0);
	// lists replace, maps and tables add
	g_assert_cmpuint(g_strv_length(dirs), ==, 1);
	g_assert_cmpstr(conf_string(view, "labels.x"), ==, "1");
	g_assert_cmpstr(conf_string(view, "labels.y"), ==, "2");
	g_assert_cmpfloat(conf_float(view, "maybe.weight"), ==, 0);
	g_assert_cmpfloat(conf_float(view, "mirrors.a.weight"), ==, 2);
	g_assert_cmpuint(toml_size(conf_table(view, "mirrors.a.endpoint")), ==, 1);
	g_assert_cmpfloat(conf_float(view, "mirrors.b.weight"), ==, 0);
	g_assert_cmpuint(toml_size(conf_table(view, "list")), ==, 2);
	g_assert_cmpfloat(conf_float(toml_at(conf_table(view, "list"), 0), "weight"), ==, 1);
	g_assert_cmpint(conf_int(view, "options.n.a"), ==, 1);
	g_assert_cmpint(conf_int(view, "options.n.b"), ==, 3);
	g_autofree char *where = toml_where(conf_table(view, "mirrors.a.endpoint"));
	g_assert_cmpstr(where, ==, "f.toml:13");

	g_autoptr(TomlValue) cased = decode("[labels]\na = '1'\n[Labels]\nb = '2'\n[mirrors.m]\nweight = 1\n"
	                                    "[MIRRORS.m]\nendpoint = ['e']\n",
	                                    NULL);
	g_assert_cmpstr(conf_string(cased, "labels.a"), ==, "1");
	g_assert_cmpstr(conf_string(cased, "labels.b"), ==, "2");
	g_assert_cmpfloat(conf_float(cased, "mirrors.m.weight"), ==, 1);
	g_assert_cmpuint(toml_size(conf_table(cased, "mirrors.m.endpoint")), ==, 1);
}

static void test_unknown(void)
{
	g_autoptr(GString) warnings = g_string_new(NULL);
	g_autoptr(TomlValue) view = decode("nmae = 'x'\nzzzzzz = 1\n[sub]\nendpoints = ['x']\n"
	                                   "[mirrors.q]\nweigth = 1\n[options]\nanything = 1\n",
	                                   warnings);

	g_assert_cmpstr(warnings->str, ==,
	                "f.toml:1 nmae -> name\n"
	                "f.toml:2 zzzzzz -> -\n"
	                "f.toml:4 sub.endpoints -> endpoint\n"
	                "f.toml:6 mirrors.q.weigth -> weight\n");
	g_assert_cmpstr(conf_string(view, "name"), ==, "anon");
}

static void test_types(void)
{
	static const char *const cases[][2] = {
	        {"name = 1", "f.toml:1: \"name\" must be a string, not an integer"},
	        {"name = true", "f.toml:1: \"name\" must be a string, not a boolean"},
	        {"\nenabled = 'true'", "f.toml:2: \"enabled\" must be a boolean, not a string"},
	        {"count = 1.0", "f.toml:1: \"count\" must be an integer, not a float"},
	        {"ratio = '1'", "f.toml:1: \"ratio\" must be a float, not a string"},
	        {"wait = 5", "f.toml:1: \"wait\" must be a duration such as \"1m30s\", not an integer"},
	        {"wait = '5'", "f.toml:1: \"wait\": time: missing unit in duration \"5\""},
	        {"dirs = '/a'", "f.toml:1: \"dirs\" must be an array of strings, not a string"},
	        {"dirs = [\n'/a',\n1]", "f.toml:3: \"dirs\" must be a string, not an integer"},
	        {"labels = ['a']", "f.toml:1: \"labels\" must be a table, not an array"},
	        {"labels.a = 1", "f.toml:1: \"labels.a\" must be a string, not an integer"},
	        {"headers.a = 'x'", "f.toml:1: \"headers.a\" must be an array of strings, not a string"},
	        {"sub = 1", "f.toml:1: \"sub\" must be a table, not an integer"},
	        {"[sub]\nweight = []", "f.toml:2: \"sub.weight\" must be a float, not an array"},
	        {"mirrors.a = 1", "f.toml:1: \"mirrors.a\" must be a table, not an integer"},
	        {"[mirrors.a]\nendpoint = {}",
	         "f.toml:2: \"mirrors.a.endpoint\" must be an array of strings, not a table"},
	        {"list = {}", "f.toml:1: \"list\" must be an array of tables, not a table"},
	        {"list = [1]", "f.toml:1: \"list\" must be a table, not an integer"},
	        {"options = 1979-05-27", "f.toml:1: \"options\" must be a table, not a date"},
	        {"name = \"a\\u0000b\"", "f.toml:1: \"name\" must not contain a NUL character"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(TomlValue) table = parse(cases[i][0]);

		g_assert_null(schema_decode(keys, table, "", NULL, NULL, &error));
		g_assert_cmpstr(error->message, ==, cases[i][1]);
		g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
	}
}

static void test_write(void)
{
	g_autoptr(TomlValue) view =
	        decode("headers = {b = ['1'], a = []}\nmirrors = {}\nlabels = {z = '1', b = '2'}\n"
	               "options = {z = 1, n = {aa = [{y = 1, x = 2}, 1]}}\nmaybe = {}\n",
	               NULL);
	g_autoptr(GString) text = g_string_new(NULL);

	schema_prepare_write(keys, view);
	toml_write(text, view);
	g_assert_cmpstr(text->str, ==,
	                "name = 'anon'\n"
	                "enabled = true\n"
	                "count = 7\n"
	                "ratio = 0.5\n"
	                "wait = '1m30s'\n"
	                "dirs = ['/a', '/b']\n"
	                "\n"
	                "[labels]\n"
	                "  b = '2'\n"
	                "  x = '1'\n"
	                "  z = '1'\n"
	                "\n"
	                "[headers]\n"
	                "  a = []\n"
	                "  b = ['1']\n"
	                "\n"
	                "[sub]\n"
	                "  endpoint = []\n"
	                "  weight = 0.0\n"
	                "\n"
	                "[maybe]\n"
	                "  endpoint = []\n"
	                "  weight = 0.0\n"
	                "\n"
	                "[mirrors]\n"
	                "  [mirrors.a]\n"
	                "    endpoint = []\n"
	                "    weight = 2.0\n"
	                "\n"
	                "[options]\n"
	                "  z = 1\n"
	                "\n"
	                "  [options.n]\n"
	                "    a = 1\n"
	                "    aa = [{x = 2, y = 1}, 1]\n"
	                "    b = 2\n");
}

static void test_nearest(void)
{
	static const char *const words[] = {"address", "uid", "gid", "max_recv_message_size"};

	g_assert_cmpstr(nearest_word(words, 4, "adress"), ==, "address");
	g_assert_cmpstr(nearest_word(words, 4, "ADDRESSES"), ==, "address");
	g_assert_cmpstr(nearest_word(words, 4, "uidd"), ==, "uid");
	g_assert_cmpstr(nearest_word(words, 4, "max_receive_message_size"), ==, "max_recv_message_size");
	g_assert_null(nearest_word(words, 4, "root"));
	g_autofree char *huge = g_strnfill(100000, 'a');
	g_assert_null(nearest_word(words, 4, huge));
	g_assert_null(nearest_word(words, 0, "x"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/schema/defaults", test_defaults);
	g_test_add_func("/schema/decode", test_decode);
	g_test_add_func("/schema/unknown", test_unknown);
	g_test_add_func("/schema/types", test_types);
	g_test_add_func("/schema/write", test_write);
	g_test_add_func("/schema/nearest", test_nearest);
	return g_test_run();
}
