// SPDX-License-Identifier: Apache-2.0
#include "store/namespaces.h"
#include "store/test-env.h"

static void test_create(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(GHashTable) labels = test_labels("a", "1", "empty", "", NULL);
	g_assert_true(namespaces_create(env->db, &env->ctx, "one", labels, &error));
	g_assert_no_error(error);
	g_assert_false(namespaces_create(env->db, &env->ctx, "one", NULL, &error));
	assert_error(error, CTRD_ERR_ALREADY_EXISTS, "namespace \"one\": already exists");
	g_assert_false(namespaces_create(env->db, &env->ctx, "", NULL, &error));
	assert_error(error, CTRD_ERR_INVALID_ARGUMENT, "identifier must not be empty: invalid argument");
	g_assert_false(namespaces_create(env->db, &env->ctx, "a/b", NULL, &error));
	g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
	g_clear_error(&error);

	g_autofree char *big = g_strnfill(4096, 'x');
	g_autoptr(GHashTable) too_big = test_labels("k", big, NULL);
	g_assert_false(namespaces_create(env->db, &env->ctx, "two", too_big, &error));
	assert_error(error, CTRD_ERR_INVALID_ARGUMENT,
	             "namespace.Labels: label key and value length (4097 bytes) greater than maximum size "
	             "(4096 bytes), key: k: invalid argument");

	g_autoptr(Namespace) ns = namespaces_get(env->db, &env->ctx, "one", &error);
	g_assert_cmpstr(ns->name, ==, "one");
	assert_strmap(ns->labels, test_labels("a", "1", NULL));
	// as upstream: what does not exist has no labels
	g_autoptr(Namespace) none = namespaces_get(env->db, &env->ctx, "none", &error);
	g_assert_cmpuint(g_hash_table_size(none->labels), ==, 0);

	g_assert_cmpuint(env->events->len, ==, 1);
	g_assert_cmpstr(env->events->pdata[0], ==, "8 one one");
}

static void test_update(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(GHashTable) labels = test_labels("a", "1", "b", "2", NULL);
	g_assert_true(namespaces_create(env->db, &env->ctx, "one", labels, &error));

	// one label by mask; the rest of what is given does not count
	g_autoptr(GHashTable) change = test_labels("a", "changed", "b", "ignored", NULL);
	g_autoptr(Namespace) ns = NULL;
	g_assert_true(namespaces_update(env->db, &env->ctx, "one", change,
	                                (const char *const[]){"labels.a", NULL}, &ns, &error));
	assert_strmap(ns->labels, test_labels("a", "changed", "b", "2", NULL));
	g_clear_pointer(&ns, namespace_free);
	// missing by mask: removed
	g_assert_true(namespaces_update(env->db, &env->ctx, "one", NULL,
	                                (const char *const[]){"labels.b", NULL}, &ns, &error));
	assert_strmap(ns->labels, test_labels("a", "changed", NULL));
	g_clear_pointer(&ns, namespace_free);
	// all
	g_autoptr(GHashTable) all = test_labels("c", "3", NULL);
	g_assert_true(namespaces_update(env->db, &env->ctx, "one", all, NULL, NULL, &error));
	ns = namespaces_get(env->db, &env->ctx, "one", &error);
	assert_strmap(ns->labels, test_labels("c", "3", NULL));

	g_assert_false(namespaces_update(env->db, &env->ctx, "one", all, (const char *const[]){"name", NULL},
	                                 NULL, &error));
	assert_error(error, CTRD_ERR_INVALID_ARGUMENT, "cannot update \"name\" field");
	// a label makes the namespace
	g_assert_true(namespaces_update(env->db, &env->ctx, "new", all, NULL, NULL, &error));
	g_autoptr(GPtrArray) list = namespaces_list(env->db, &env->ctx, &error);
	g_assert_cmpuint(list->len, ==, 2);
	g_assert_cmpstr(((Namespace *)list->pdata[0])->name, ==, "new");
	g_assert_cmpstr(((Namespace *)list->pdata[1])->name, ==, "one");
	assert_strmap(((Namespace *)list->pdata[1])->labels, test_labels("c", "3", NULL));

	g_autofree char *label = namespaces_label(env->db, "one", "c");
	g_assert_cmpstr(label, ==, "3");
	g_assert_null(namespaces_label(env->db, "one", "d"));
	g_assert_null(namespaces_label(env->db, "none", "c"));
}

static bool fill(MetaTx *tx, void *data, GError **error)
{
	return meta_run(tx, error,
	                "INSERT INTO container(ns, name, image, runtime, snapshotter, snapshot_key, sandbox,"
	                " created, updated) VALUES ('full', 'c1', '', 'rt', '', '', '', 1, 1)",
	                "") &&
	       meta_run(tx, error,
	                "INSERT INTO snapshot(snapshotter, ns, key, kind, created, updated) VALUES"
	                " ('testss', 'full', 'key', 2, 1, 1), ('another', 'full', 'key', 2, 1, 1)",
	                "");
}

static void test_delete(void)
{
	g_autoptr(TestEnv) env = test_env_new(NULL);
	g_autoptr(GError) error = NULL;
	g_assert_true(namespaces_create(env->db, &env->ctx, "empty", NULL, &error));
	g_assert_true(namespaces_delete(env->db, &env->ctx, "empty", &error));
	g_assert_false(namespaces_delete(env->db, &env->ctx, "empty", &error));
	assert_error(error, CTRD_ERR_NOT_FOUND, "namespace \"empty\": not found");

	g_assert_true(meta_update(env->db, fill, NULL, &error)); // makes the namespace
	g_assert_false(namespaces_delete(env->db, &env->ctx, "full", &error));
	assert_error(
	        error, CTRD_ERR_FAILED_PRECONDITION,
	        "namespace \"full\" must be empty, but it still has containers, snapshots on \"another\" "
	        "snapshotter, snapshots on \"testss\" snapshotter: failed precondition");
	g_autoptr(GPtrArray) list = namespaces_list(env->db, &env->ctx, &error);
	g_assert_cmpuint(list->len, ==, 1);
	g_assert_cmpstr(env->events->pdata[1], ==, "10 empty empty");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/namespaces/create", test_create);
	g_test_add_func("/namespaces/update", test_update);
	g_test_add_func("/namespaces/delete", test_delete);
	return g_test_run();
}
