// SPDX-License-Identifier: Apache-2.0
#include "base/inflight.h"
#include "base/json.h"
#include <pthread.h>
#include <string.h>

static void test_table(void)
{
	Inflight a = {0}, b = {0}, c = {0};
	inflight_end(&a); // never begun
	inflight_begin(&a, "/x/A", "ns");
	inflight_begin(&b, "/x/B", NULL);
	inflight_begin(&c, "job", "other");
	inflight_object(&a, "c1");
	inflight_stage("nobody"); // works for none
	g_assert_null(inflight_enter(&b));
	inflight_stage("step %d", 2);
	inflight_child(4711);
	g_assert_true(inflight_enter(NULL) == &b);
	g_autofree char *text = inflight_json();
	g_autoptr(JsonObject) list = json_parse(text, strlen(text), 0, NULL);
	g_assert_cmpint(json_object_array_length(list), ==, 3);
	JsonObject *first = json_object_array_get_idx(list, 0), *second = json_object_array_get_idx(list, 1);
	g_assert_cmpstr(json_get_string(first, "method"), ==, "/x/A");
	g_assert_cmpstr(json_get_string(first, "namespace"), ==, "ns");
	g_assert_cmpstr(json_get_string(first, "object"), ==, "c1");
	g_assert_cmpstr(json_get_string(first, "stage"), ==, "");
	g_assert_cmpstr(json_get_string(second, "stage"), ==, "step 2");
	g_assert_cmpstr(json_get_string(second, "namespace"), ==, "");
	int64_t child = 0;
	g_assert_true(json_get_int64(second, "child", &child));
	g_assert_cmpint(child, ==, 4711);

	inflight_end(&b); // from the middle
	inflight_end(&b);
	inflight_end(&c);
	g_autoptr(GPtrArray) rows = inflight_rows();
	g_assert_cmpuint(rows->len, ==, 1);
	g_assert_cmpstr(((InflightRow *)rows->pdata[0])->what, ==, "/x/A");
	inflight_end(&a);
}

static void test_long_text(void)
{
	Inflight a;
	inflight_begin(&a, "x", "y");
	g_autofree char *text = g_strnfill(1000, 'o');
	inflight_object(&a, text);
	inflight_enter(&a);
	inflight_stage("%s", text);
	g_autoptr(GPtrArray) rows = inflight_rows();
	const InflightRow *r = rows->pdata[0];
	g_assert_cmpuint(strlen(r->object), ==, INFLIGHT_TEXT - 1);
	g_assert_cmpuint(strlen(r->stage), ==, INFLIGHT_TEXT - 1);
	inflight_end(&a);
	inflight_stage("a thread that works for an entry that is gone works for none");
}

static void *work(void *data)
{
	for (int i = 0; i < 2000; i++) {
		Inflight f;
		inflight_begin(&f, "thread", data);
		inflight_enter(&f);
		inflight_stage("step %d", i);
		inflight_object(&f, "x");
		inflight_child(i);
		inflight_end(&f);
	}
	return NULL;
}

static void test_threads(void)
{
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, work, (void *)"ns");
	for (int i = 0; i < 200; i++) {
		g_autoptr(GPtrArray) rows = inflight_rows();
		g_assert_cmpuint(rows->len, <=, 4);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	g_autofree char *text = inflight_json();
	g_assert_cmpstr(text, ==, "[]");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/inflight/table", test_table);
	g_test_add_func("/inflight/long-text", test_long_text);
	g_test_add_func("/inflight/threads", test_threads);
	return g_test_run();
}
