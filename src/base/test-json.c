// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/json.h"
#include "base/util.h"
#include <string.h>

static JsonObject *parse(const char *text)
{
	g_autoptr(GError) error = NULL;
	JsonObject *o = json_parse(text, strlen(text), 0, &error);
	g_assert_no_error(error);
	return o;
}

static void check_same(const char *text, const char *expected)
{
	g_autoptr(JsonObject) o = parse(text);
	g_autofree char *got = json_to_text(o);
	g_assert_cmpstr(got, ==, expected);
}

static void test_accepts(void)
{
	check_same(" {} \r\n\t", "{}");
	check_same("[ ]", "[]");
	check_same("{\"b\":1, \"a\" : [true,false,null,-0.5e3,\"x\"]}",
	           "{\"b\":1,\"a\":[true,false,null,-0.5e3,\"x\"]}");
	check_same("[18446744073709551615,-9223372036854775808,9223372036854775807]",
	           "[18446744073709551615,-9223372036854775808,9223372036854775807]");
	check_same("[18446744073709551616,1e2,-0]", "[18446744073709551616,1e2,0]");
	check_same("\"a/b \\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"", "\"a/b \\\"\\\\/\\b\\f\\n\\r\\té\"");
	check_same("\"\\ud83d\\ude42\"", "\"🙂\"");
	check_same("\"\\ud83d \\ude42 \\ud83d\\n\"", "\"\xef\xbf\xbd \xef\xbf\xbd \xef\xbf\xbd\\n\"");
	check_same("\"\\ud83d\\ud83d\\ude42\"", "\"\xef\xbf\xbd🙂\"");
	check_same("7", "7");
	check_same("{\"\":{\"\":{}}}", "{\"\":{\"\":{}}}");
}

static void check_bad(const char *text, size_t len, const char *message)
{
	g_autoptr(GError) error = NULL;
	g_assert_null(json_parse(text, len, 0, &error));
	g_assert_cmpstr(error->message, ==, message);
	g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
}

static void test_refuses(void)
{
#define BAD(text, message) check_bad(text, sizeof(text) - 1, "json: " message ": invalid argument")
	BAD("", "line 1: unexpected end");
	BAD("  \n ", "line 2: unexpected end");
	BAD("{", "line 1: expected a string");
	BAD("{\"a\":1,}", "line 1: expected a string");
	BAD("[1,]", "line 1: invalid value");
	BAD("{\"a\"\n\n1}", "line 3: expected ':'");
	BAD("{\"a\":1 \"b\":2}", "line 1: expected ',' or '}'");
	BAD("[1 2]", "line 1: expected ',' or ']'");
	BAD("{\"a\":1,\n\"b\":{\"c\":1},\"a\":2}", "line 2: key \"a\" stands twice");
	BAD("{\"a\":null,\"a\":2}", "line 1: key \"a\" stands twice");
	BAD("{\"\\u0061\":1,\"a\":2}", "line 1: key \"a\" stands twice");
	BAD("{} {}", "line 1: text after the document");
	BAD("{}\0", "line 1: text after the document");
	BAD("nul", "line 1: invalid value");
	BAD("null", "line 1: document is null");
	BAD("'a'", "line 1: invalid value");
	BAD("// c\n{}", "line 1: invalid value");
	BAD("NaN", "line 1: invalid value");
	BAD("-", "line 1: invalid value");
	BAD("+1", "line 1: invalid value");
	BAD("01", "line 1: invalid value");
	BAD("1.", "line 1: invalid number");
	BAD("1e", "line 1: invalid number");
	BAD("1e999", "line 1: number out of range");
	BAD("0x10", "line 1: text after the document");
	BAD("\"a", "line 1: unexpected end in string");
	BAD("\"a\nb\"", "line 1: control character in string");
	BAD("\"a\0b\"", "line 1: control character in string");
	BAD("\"\\u0000\"", "line 1: invalid escape in string");
	BAD("\"\\x41\"", "line 1: invalid escape in string");
	BAD("\"\\", "line 1: invalid escape in string");
	BAD("\"\\u12", "line 1: invalid escape in string");
	BAD("\"\xff\"", "line 1: invalid UTF-8 in string");
	BAD("\"\xed\xa0\x80\"", "line 1: invalid UTF-8 in string");
	BAD("\xef\xbb\xbf{}", "line 1: invalid value"); // a byte order mark
}

static void test_bounds(void)
{
	GString *deep = g_string_new(NULL);
	for (int i = 0; i < JSON_MAX_DEPTH; i++)
		g_string_append_c(deep, '[');
	for (int i = 0; i < JSON_MAX_DEPTH; i++)
		g_string_append_c(deep, ']');
	g_autoptr(JsonObject) fits = parse(deep->str);
	g_assert_nonnull(fits);
	g_string_prepend_c(deep, '[');
	check_bad(deep->str, deep->len, "json: line 1: nested deeper than 64 levels: invalid argument");
	g_string_free(deep, TRUE);

	g_autofree char *open = g_strnfill(100000, '[');
	check_bad(open, 100000, "json: line 1: nested deeper than 64 levels: invalid argument");

	g_autoptr(GError) error = NULL;
	g_assert_null(json_parse("[1,2]", 5, 4, &error));
	g_assert_cmpstr(error->message, ==,
	                "json: document of 5 bytes is over the limit of 4: invalid argument");
}

static void test_getters(void)
{
	g_autoptr(JsonObject) o =
	        parse("{\"s\":\"x\",\"i\":5,\"big\":9223372036854775808,\"d\":5.0,\"b\":true,\"n\":null,"
	              "\"o\":{\"k\":\"v\"},\"a\":[\"p\",\"q\"],\"mixed\":[\"p\",1]}");
	int64_t i = 0;
	bool b = false;
	g_assert_cmpstr(json_get_string(o, "s"), ==, "x");
	g_assert_null(json_get_string(o, "i"));
	g_assert_null(json_get_string(o, "none"));
	g_assert_null(json_get_string(NULL, "s"));
	g_assert_true(json_get_int64(o, "i", &i));
	g_assert_cmpint(i, ==, 5);
	g_assert_false(json_get_int64(o, "s", &i));
	g_assert_false(json_get_int64(o, "d", &i));
	g_assert_false(json_get_int64(o, "big", &i));
	g_assert_false(json_get_int64(o, "b", &i));
	g_assert_true(json_get_bool(o, "b", &b));
	g_assert_true(b);
	g_assert_false(json_get_bool(o, "i", &b));
	g_assert_nonnull(json_get_object(o, "o"));
	g_assert_null(json_get_object(o, "a"));
	g_assert_nonnull(json_get_array(o, "a"));
	g_assert_null(json_get(o, "n"));
	g_assert_null(json_get(json_get(o, "a"), "p"));
}

static void test_containers(void)
{
	g_autoptr(JsonObject) o =
	        parse("{\"a\":[\"p\",\"q\"],\"mixed\":[\"p\",1],\"holes\":[null],\"s\":\"x\",\"n\":null,"
	              "\"m\":{\"k\":\"v\"},\"badmap\":{\"k\":null}}");
	g_autoptr(GError) error = NULL;
	{
		g_auto(GStrv) strv = NULL;
		g_assert_true(json_get_strv(o, "a", &strv, &error));
		g_assert_cmpstr(strv[0], ==, "p");
		g_assert_cmpstr(strv[1], ==, "q");
		g_assert_null(strv[2]);
	}
	char **strv = NULL;
	g_assert_true(json_get_strv(o, "none", &strv, &error));
	g_assert_null(strv);
	g_assert_true(json_get_strv(o, "n", &strv, &error));
	g_assert_false(json_get_strv(o, "s", &strv, &error));
	g_assert_cmpstr(error->message, ==, "json: \"s\" is not an array: invalid argument");
	g_clear_error(&error);
	g_assert_false(json_get_strv(o, "mixed", &strv, &error));
	g_assert_cmpstr(error->message, ==, "json: \"mixed\" holds what is no string: invalid argument");
	g_clear_error(&error);
	g_assert_false(json_get_strv(o, "holes", &strv, &error));
	g_clear_error(&error);

	g_autoptr(GHashTable) map = NULL;
	g_assert_true(json_get_strmap(o, "m", &map, &error));
	g_assert_cmpstr(strmap_get(map, "k"), ==, "v");
	g_autoptr(GHashTable) empty = NULL;
	g_assert_true(json_get_strmap(o, "none", &empty, &error));
	g_assert_cmpuint(g_hash_table_size(empty), ==, 0);
	GHashTable *bad = NULL;
	g_assert_false(json_get_strmap(o, "a", &bad, &error));
	g_assert_cmpstr(error->message, ==, "json: \"a\" is not an object: invalid argument");
	g_clear_error(&error);
	g_assert_false(json_get_strmap(o, "badmap", &bad, &error));
	g_assert_cmpstr(error->message, ==, "json: \"badmap\" holds what is no string: invalid argument");
}

static void test_write(void)
{
	g_autoptr(JsonObject) o = json_object_new_object();
	json_set_string(o, "z", "a/b\"");
	json_set_string(o, "absent", NULL);
	json_set_int64(o, "n", -1);
	json_set(o, "a", json_object_new_array());
	json_object_array_add(json_get(o, "a"), json_object_new_int64(1));
	json_object_array_add(json_get(o, "a"), json_object_new_object());
	json_set(o, "e", json_object_new_array());
	g_autofree char *text = json_to_text(o), *pretty = json_to_text_pretty(o);
	g_assert_cmpstr(text, ==, "{\"z\":\"a/b\\\"\",\"n\":-1,\"a\":[1,{}],\"e\":[]}");
	g_assert_cmpstr(
	        pretty, ==,
	        "{\n    \"z\": \"a/b\\\"\",\n    \"n\": -1,\n    \"a\": [\n        1,\n        {}\n    ],\n"
	        "    \"e\": []\n}");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/json/accepts", test_accepts);
	g_test_add_func("/json/refuses", test_refuses);
	g_test_add_func("/json/bounds", test_bounds);
	g_test_add_func("/json/getters", test_getters);
	g_test_add_func("/json/containers", test_containers);
	g_test_add_func("/json/write", test_write);
	return g_test_run();
}
