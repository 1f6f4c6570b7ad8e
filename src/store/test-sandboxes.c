// SPDX-License-Identifier: Apache-2.0

/* The cases of upstream's core/metadata/sandbox_test.go. */

#include "store/sandboxes.h"
#include "store/test-env.h"

static void set_any(Any *any, const char *type, const char *value)
{
	any_clear(any);
	any->type_url = g_strdup(type);
	any->value = g_bytes_new(value, strlen(value));
}

static void add_extension(Sandbox *s, const char *name, const char *type, const char *value)
{
	Any *any = g_new0(Any, 1);
	set_any(any, type, value);
	g_hash_table_insert(s->extensions, g_strdup(name), any);
}

static Sandbox *make(const char *id, const char *label)
{
	Sandbox *s = sandbox_new();
	s->id = g_strdup(id);
	strmap_set(s->labels, "test", label);
	set_any(&s->spec, "1", "abc");
	add_extension(s, "ext", "url/1", "123");
	s->runtime_name = g_strdup("test");
	set_any(&s->runtime_options, "url/3", "456");
	s->sandboxer = g_strdup("test-sandboxer");
	return s;
}

static void assert_any(const Any *a, const char *type, const char *value)
{
	g_autoptr(GBytes) bytes = g_bytes_new(value, strlen(value));
	g_assert_cmpstr(a->type_url, ==, type);
	g_assert_true(g_bytes_equal(a->value, bytes));
}

static void assert_sandbox(const Sandbox *s, const char *id, const char *label)
{
	g_assert_cmpstr(s->id, ==, id);
	g_assert_cmpstr(strmap_get(s->labels, "test"), ==, label);
	assert_any(&s->spec, "1", "abc");
	assert_any(&s->runtime_options, "url/3", "456");
	g_assert_cmpuint(g_hash_table_size(s->extensions), ==, 1);
	assert_any(g_hash_table_lookup(s->extensions, "ext"), "url/1", "123");
	g_assert_cmpstr(s->runtime_name, ==, "test");
	g_assert_cmpstr(s->sandboxer, ==, "test-sandboxer");
}

static void test_create(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(Sandbox) in = make("1", "one");
	g_autoptr(Sandbox) created = sandboxes_create(env->db, &env->ctx, in, &error);
	g_assert_no_error(error);
	g_assert_cmpint(created->created_at, ==, created->updated_at);
	g_autoptr(Sandbox) out = sandboxes_get(env->db, &env->ctx, "1", &error);
	assert_sandbox(out, "1", "one");
	g_assert_cmpint(out->created_at, ==, created->created_at);

	g_assert_null(sandboxes_create(env->db, &env->ctx, in, &error));
	assert_error(error, CTRD_ERR_ALREADY_EXISTS,
	             "write error: sandbox bucket \"1\" already exists: already exists");
	g_autoptr(Sandbox) bad = make("a b", "");
	g_assert_null(sandboxes_create(env->db, &env->ctx, bad, &error));
	assert_error(error, CTRD_ERR_INVALID_ARGUMENT,
	             "failed to validate sandbox: invalid sandbox ID: identifier \"a b\" must match "
	             "^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$: invalid argument");
	g_assert_null(sandboxes_get(env->db, &env->ctx, "invalid_id", &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "bucket \"invalid_id\" not found: not found");
}

static void test_update(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(Sandbox) in = make("2", "existing");
	g_autoptr(Sandbox) created = sandboxes_create(env->db, &env->ctx, in, &error);
	g_autoptr(Sandbox) change = sandbox_new();
	change->id = g_strdup("2");
	strmap_set(change->labels, "test", "new");
	set_any(&change->spec, "2", "cba");
	add_extension(change, "ext1", "url1", "12");
	g_autoptr(Sandbox) out =
	        sandboxes_update(env->db, &env->ctx, change,
	                         (const char *[]){"labels.test", "extensions.ext1", "spec", NULL}, &error);
	g_assert_no_error(error);
	g_autoptr(Sandbox) got = sandboxes_get(env->db, &env->ctx, "2", &error);
	const Sandbox *both[] = {out, got};
	for (int i = 0; i < 2; i++) {
		g_assert_cmpstr(strmap_get(both[i]->labels, "test"), ==, "new");
		assert_any(&both[i]->spec, "2", "cba");
		g_assert_cmpuint(g_hash_table_size(both[i]->extensions), ==, 2);
		assert_any(g_hash_table_lookup(both[i]->extensions, "ext1"), "url1", "12");
		assert_any(g_hash_table_lookup(both[i]->extensions, "ext"), "url/1", "123");
		g_assert_cmpstr(both[i]->runtime_name, ==, "test");
		g_assert_cmpstr(both[i]->sandboxer, ==, "test-sandboxer");
		g_assert_cmpint(both[i]->created_at, ==, created->created_at);
		g_assert_cmpint(both[i]->updated_at, >, created->updated_at);
	}
	g_assert_null(sandboxes_update(env->db, &env->ctx, change, NULL, &error));
	assert_error(error, CTRD_ERR_INVALID_ARGUMENT,
	             "sandbox.Runtime.Name field is immutable: invalid argument");
	g_assert_null(
	        sandboxes_update(env->db, &env->ctx, change, (const char *[]){"sandboxer", NULL}, &error));
	assert_error(error, CTRD_ERR_INVALID_ARGUMENT,
	             "cannot update \"sandboxer\" field on sandbox \"2\": invalid argument");
}

static void test_list(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(Sandbox) one = make("1", "one"), two = make("2", "two");
	g_autoptr(Sandbox) created = sandboxes_create(env->db, &env->ctx, one, &error);
	g_assert_nonnull(created);
	g_autoptr(Sandbox) created2 = sandboxes_create(env->db, &env->ctx, two, &error);
	g_assert_nonnull(created2);
	g_autoptr(GPtrArray) all = sandboxes_list(env->db, &env->ctx, NULL, &error);
	g_assert_cmpuint(all->len, ==, 2);
	assert_sandbox(all->pdata[0], "1", "one");
	assert_sandbox(all->pdata[1], "2", "two");
	g_autoptr(GPtrArray) by_id =
	        sandboxes_list(env->db, &env->ctx, (const char *[]){"id==1", NULL}, &error);
	g_assert_cmpuint(by_id->len, ==, 1);
	g_autoptr(GPtrArray) by_label =
	        sandboxes_list(env->db, &env->ctx, (const char *[]){"labels.test==two", NULL}, &error);
	g_assert_cmpuint(by_label->len, ==, 1);
	assert_sandbox(by_label->pdata[0], "2", "two");
	g_assert_true(sandboxes_delete(env->db, &env->ctx, "2", &error));
	g_assert_false(sandboxes_delete(env->db, &env->ctx, "2", &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "failed to delete sandbox \"2\": not found");
	g_assert_null(sandboxes_get(env->db, &env->ctx, "2", &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "bucket \"2\" not found: not found");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/sandboxes/create", test_create);
	g_test_add_func("/sandboxes/update", test_update);
	g_test_add_func("/sandboxes/list", test_list);
	return g_test_run();
}
